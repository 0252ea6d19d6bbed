"""docs/parameters.md: every field once, as `python -m trainer.parameters` writes it."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from trainer import user_code
from trainer.config import SECTIONS, TrainConfig
from trainer.parameters import page

DOCUMENT = Path(__file__).parents[2] / "docs" / "parameters.md"
ROWS = re.findall(r"^\| `(\w+)` \| (.*) \| (.*) \| (.*) \|$", page(), flags=re.MULTILINE)


def row(name: str) -> tuple[str, str, str]:
    """Values, default and meaning of a field."""
    (found,) = [rest for field, *rest in ROWS if field == name]
    return tuple(found)


def test_the_document_is_what_the_command_writes():
    assert DOCUMENT.read_text() == page(), "run: python -m trainer.parameters > docs/parameters.md"


def test_as_a_command_it_prints_the_page():
    done = subprocess.run(
        [sys.executable, "-m", "trainer.parameters"], capture_output=True, text=True, check=True
    )
    assert done.stdout == page()


def test_every_field_stands_there_once():
    names = [name for name, *_ in ROWS]
    assert len(names) == len(set(names))
    assert set(names) == set(TrainConfig.model_fields)


def test_every_section_has_its_title_and_its_own_fields():
    titles = re.findall(r"^## (.*)$", page(), flags=re.MULTILINE)
    assert titles == [*(section.__doc__ for section in SECTIONS), "Your own functions"]
    after = page().split("\n## ")[1:-1]
    for section, text in zip(SECTIONS, after, strict=True):
        assert re.findall(r"^\| `(\w+)`", text, flags=re.MULTILINE) == list(section.__annotations__)


@pytest.mark.parametrize("name", TrainConfig.model_fields)
def test_every_field_says_what_it_means_in_a_sentence(name):
    description = TrainConfig.model_fields[name].description
    assert description
    assert description.rstrip().endswith(".")
    assert description in row(name)[2].replace("\\|", "|")


def test_no_cell_is_empty_and_no_row_has_other_cells():
    assert all(cell.strip() for cells in ROWS for cell in cells)
    tables = [line for line in page().splitlines() if line.startswith("| `")]
    assert len(tables) == len(ROWS)
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 5 for line in tables)


@pytest.mark.parametrize(
    ("name", "values", "default"),
    [
        ("lr", "number, > 0 and ≤ 10", "`0.001`"),
        ("batch_size", "whole number, ≥ 1 and ≤ 65536", "`32`"),
        ("base_lr", "number, > 0 and ≤ 10", "`null`"),
        ("nesterov", "true, false", "`true`"),
        ("heads", "`joint`, `separate`", "`joint`"),
        ("resize", "whole number or text", "`224`"),
        ("step_epochs", "whole number, ≥ 1 and ≤ 10000", "`null`"),
        ("second_lr", "number, > 0 and ≤ 10", "`1e-7`"),
        ("metric", "FILE.py:FUNCTION", "`null`"),
        ("backbone", "text", "`resnet18`"),
        ("milestones", "list of numbers", "`[]`"),
    ],
)
def test_values_and_defaults_are_as_a_user_writes_them(name, values, default):
    assert row(name)[:2] == (values, default)


def test_a_source_follows_the_meaning():
    assert row("focal_gamma")[2].endswith(" *Lin et al. 2017.*")
    assert "*" not in row("epochs")[2]


def test_a_loss_is_named_or_the_users_own():
    values = row("loss")[0]
    assert values.endswith(" or FILE.py:FUNCTION")
    assert "`mixture`" in values


def test_the_users_own_functions_are_explained_with_an_example():
    text = page().split("\n## ")[-1]
    for field in ("metric", "loss", "backbone"):
        assert f'"""{field}: ' in text
    assert inspect.cleandoc(user_code.__doc__) in text
