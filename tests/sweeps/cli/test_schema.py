"""`sweeps schema`, and the line with which our files name the schema."""

import json
from collections.abc import Callable
from pathlib import Path

from sweeps.space.schema import FILE_NAME, HEADER, schema_text
from tests.sweeps.cli.conftest import Ended

Sweeps = Callable[..., Ended]


def test_it_is_printed(sweeps: Sweeps):
    ended = sweeps("schema")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == schema_text()
    assert json.loads(ended.out)["$schema"] == "http://json-schema.org/draft-07/schema#"


def test_it_is_written_to_a_file_in_a_new_folder(sweeps: Sweeps):
    assert sweeps("schema", "--out", "spaces/mine.json") == Ended(0, "", "")
    assert Path("spaces/mine.json").read_text() == schema_text()
    assert [path.name for path in Path("spaces").iterdir()] == ["mine.json"]


def test_a_folder_that_cannot_be_made(sweeps: Sweeps):
    Path("file").write_text("x")
    assert sweeps("schema", "--out", "file/mine.json") == Ended(
        2, "", "error: file: cannot be written (File exists). Choose another folder with --out\n"
    )
    ended = sweeps("schema", "--out", ".")
    assert ended == Ended(2, "", "error: --out .: it is a folder. Name a file in it\n")


def test_the_demo_writes_it_beside_its_search_space(sweeps: Sweeps):
    assert sweeps("demo", "digits").code == 0
    assert Path("search_spaces/digits.yaml").read_text().splitlines()[0] == HEADER
    assert Path("search_spaces", FILE_NAME).read_text() == schema_text()
