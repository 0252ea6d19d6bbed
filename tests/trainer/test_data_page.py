"""docs/data.md: the tables are those of today's options, and every example can be read."""

import dataclasses
import re
import textwrap
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from trainer.data.options import DataOptions, FoldOptions
from trainer.data.sources import read_table
from trainer.data_page import page
from trainer.errors import DataError

DOCUMENT = Path(__file__).parents[2] / "docs" / "data.md"
TEXT = DOCUMENT.read_text(encoding="utf-8")
# a title, the files, and the sections of a search space
EXAMPLE = re.compile(
    r"^### ([^\n]+)\n\n```text\n(.+?)```\n```yaml\n(.+?)```\n", re.DOTALL | re.MULTILINE
)


@dataclasses.dataclass(frozen=True)
class Example:
    """A layout: its files, where the indented lines below a file are its content, and the YAML."""

    title: str
    files: str
    text: str

    @property
    def images(self) -> int:
        return sum(line.endswith((".jpg", ".png")) for line in self.files.splitlines())

    def write(self) -> None:
        for entry in re.split(r"\n(?! )", self.files.rstrip()):
            head, _, content = entry.partition("\n")
            name, _, encoding = head.partition(" (")
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            text = textwrap.dedent(content)
            Path(name).write_bytes(text.encode(encoding.rstrip(")") or "utf-8"))

    @property
    def options(self) -> tuple[DataOptions, FoldOptions]:
        values = YAML(typ="safe", pure=True).load(self.text)
        return DataOptions(**values["data"]), FoldOptions(**values.get("folds", {}))


EXAMPLES = [Example(*found) for found in EXAMPLE.findall(TEXT)]


def test_the_tables_are_what_the_command_writes():
    assert page(TEXT) == TEXT, "run: python -m trainer.data_page docs/data.md"
    assert page(TEXT.replace("| `rare` |", "| `scarce` |")) == TEXT


def test_every_option_stands_there_once():
    names = re.findall(r"^\| `(\w+)` \|", TEXT, flags=re.MULTILINE)
    assert names == [*DataOptions.model_fields, *FoldOptions.model_fields]


def test_there_is_an_example_of_every_layout():
    assert len(EXAMPLES) == TEXT.count("```text")
    shown = {key for example in EXAMPLES for key in example.options[0].model_fields_set}
    columns = {"source", "valid", "folder", "layout", "exclude", "image", "suffix", "label"}
    assert shown == columns | {"class_columns", "group", "box", "box_format"}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.title)
def test_an_example_is_read_with_all_of_its_images(example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    example.write()
    data, folds = example.options
    table = read_table(data, fold_column=folds.column)
    assert table.missing == frozenset()
    assert all(table.root.joinpath(path).is_file() for path in table.paths)
    unread = 1 if data.exclude else 0
    assert len(set(table.paths)) == example.images - unread
    assert len(set(table.labels)) > 1
    assert (table.fixed_N is None) == (folds.column is None)


def test_the_message_about_images_elsewhere_is_that_of_the_example(tmp_path, monkeypatch):
    (example,) = (each for each in EXAMPLES if each.title == "Ids, and images in a folder")
    monkeypatch.chdir(tmp_path)
    example.write()
    with pytest.raises(DataError) as refused:
        read_table(DataOptions(source="data/train.csv", image="id_code", label="diagnosis"))
    (shown,) = re.findall(r"^```console\nerror: (.+?)\n```$", TEXT, re.DOTALL | re.MULTILINE)
    assert shown == str(refused.value).replace(str(tmp_path), "/home/kim")
