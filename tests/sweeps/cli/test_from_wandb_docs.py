"""docs/from-wandb.md: its example runs, and its table is that of the code."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps.space.synonyms import NAMES
from tests.sweeps.cli.conftest import Ended

GUIDE = Path(__file__).parents[3] / "docs" / "from-wandb.md"


@pytest.mark.usefixtures("two_cores")
def test_the_example_is_written_as_shown_and_passes_the_check(
    sweeps: Callable[..., Ended], space: Callable[..., Path]
):
    space()  # for its photos
    theirs, ours = re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(), flags=re.DOTALL)
    Path("theirs.yaml").write_text(theirs)
    first = sweeps("check", "theirs.yaml")
    assert first.code == 2
    assert "train.py is not called" in first.err.splitlines()[1]
    assert sweeps("check", "theirs.yaml", "--space-only").code == 0
    assert sweeps("check", "theirs.yaml", "--fix").out == ours
    Path("space.yaml").write_text(ours)
    small = [
        "data.source=photos/train.csv",
        "parameters.backbone={value: test_resnet}",
        "parameters.weights={value: none}",
    ]
    checked = sweeps("check", "space.yaml", *(part for s in small for part in ("--set", s)))
    assert checked.code == 0, checked.err
    assert checked.out.startswith("sweep      pets-first-try: maximize valid/accuracy")


def test_the_table_has_the_names_of_the_code():
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", GUIDE.read_text(), flags=re.MULTILINE))
    written = {
        ours: ", ".join(f"`{name}`" for name in others.split()) for ours, others in NAMES.items()
    }
    assert rows == written
