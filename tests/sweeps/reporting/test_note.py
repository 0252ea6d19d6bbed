"""The note of a sweep on the Optuna dashboard."""

from pathlib import Path

import pytest

from sweeps.reporting.note import note_of
from sweeps.space.spec import SweepSpec
from sweeps.space.spec_reader import read_spec
from tests.fakes import CURVE_SPACE


@pytest.fixture
def spec(tmp_path: Path) -> SweepSpec:
    path = tmp_path / "curve.yaml"
    path.write_text(CURVE_SPACE)
    return read_spec(path, settings=["description=Is a | sharper curve better?"])


def test_it_says_the_question_the_data_the_constants_and_how_to_go_on(spec: SweepSpec):
    note = note_of(spec, data="60 images, 3 classes", storage="sqlite:///runs/sweeps.db")
    assert note.startswith("# curve\nIs a | sharper curve better?\n\n**Question:** which ")
    assert (
        "gives the best `valid/f1` (maximize)? The score of a trial is the mean over 3 folds"
        in note
    )
    assert "`photos/train.csv`: 60 images, 3 classes." in note
    assert (
        f"a saw-tooth with a tooth for each fold. At one step all trials show the same fold (a "
        f"fold has {spec.max_epochs} steps)" in note
    )
    assert "| Always the same | |\n|---|---|\n" in note
    assert "`sweeps run curve.yaml` continues the sweep, `sweeps best curve`" in note
    assert "Storage: `sqlite:///runs/sweeps.db`" in note


def test_a_space_in_no_file_goes_on_where_it_came_from(spec: SweepSpec):
    note = note_of(spec.model_copy(update={"text": "{}"}), data="", storage="")
    assert "`foldsweep.run` continues the sweep, `sweeps best curve`" in note


def test_a_space_without_description_or_constants_has_no_empty_parts(spec: SweepSpec):
    space = spec.space
    varying = type(space)(space.varying())
    bare = spec.model_copy(update={"description": " ", "space": varying})
    note = note_of(bare, data="60 images", storage="sqlite:///runs/sweeps.db")
    assert note.startswith("# curve\n**Question:**")
    assert "Always the same" not in note
