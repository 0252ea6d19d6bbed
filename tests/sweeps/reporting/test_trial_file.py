"""One trial as a file that trains it again, to the bit."""

from pathlib import Path

import pytest

from sweeps.errors import InputError
from sweeps.paths import SweepFiles
from sweeps.reporting.trial_file import trial_file
from sweeps.results.view import SweepView, find_sweep
from sweeps.space.spec_reader import read_spec
from sweeps.study.storage import open_storage
from sweeps.sweep import RunOptions, run_sweep
from tests.sweeps.conftest import close
from trainer.__main__ import main
from trainer.training.oof import OOF
from trainer.training.result import WEIGHTS


@pytest.fixture
def view(people: Path) -> SweepView:
    storage = open_storage(f"sqlite:///{people}/sweeps.db")
    read = SweepView.read(find_sweep(storage, "people"))
    close(storage)
    return read


def test_the_trainer_and_a_sweep_of_it_train_the_same_bits(
    view: SweepView, people: Path, tmp_path: Path
) -> None:
    files = SweepFiles.of(people, "people")
    found = trial_file(view, files, 3)
    assert found.notes == ()
    path = tmp_path / "alone.yaml"
    path.write_text(found.text)
    options = ["--config", str(path), "--fold", "1", "--threads", "1", "--device", "cpu"]
    assert main([*options, "--out", str(tmp_path / "out")]) == 0
    spec = read_spec(path)
    assert spec.name == "people-trial-3"
    run_sweep(spec, RunOptions(runs=tmp_path / "again", address=None))
    sweep = SweepFiles.of(tmp_path / "again", spec.name)
    for name in (OOF, WEIGHTS):
        trained = (files.trial(3).fold(1) / name).read_bytes()
        assert (tmp_path / "out" / name).read_bytes() == trained
        assert (sweep.trial(0).fold(1) / name).read_bytes() == trained
    assert not (sweep.trial(1).directory).exists()


def test_the_file_says_what_it_is_and_how_it_is_used(view: SweepView, people: Path) -> None:
    text = trial_file(view, SweepFiles.of(people, "people"), 3).text
    score = f"{view.trials[3].values[0]:.4f}"
    assert text.splitlines()[:3] == [
        f"# trial 3 of sweep people: valid/f1 {score}",
        "# one fold:  python -m trainer --config THIS_FILE --fold 0 --threads 1",
        "# all folds: sweeps run THIS_FILE",
    ]
    assert "  lr: {value: 0.0003}" in text.splitlines()


def test_an_unknown_trial_is_named_with_those_that_exist(view: SweepView, people: Path) -> None:
    for number in (4, -1):
        with pytest.raises(
            InputError,
            match=rf"^trial {number}: sweep 'people' has no such trial, "
            "they are numbered 0 to 3$",
        ):
            trial_file(view, SweepFiles.of(people, "people"), number)
