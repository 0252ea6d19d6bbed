"""Trials of a sweep, trained on all images."""

import json
from pathlib import Path

import pytest
import torch

from sweeps.errors import InputError
from sweeps.paths import TrialFiles
from sweeps.results.choice import choose
from sweeps.results.view import SweepView
from sweeps.running.attempt import Attempt
from sweeps.shipping.refit import (
    Refittable,
    Watch,
    directory_of,
    member_directories,
    refittable,
    run_refits,
)
from trainer.errors import DataError
from trainer.training.fit import Ended
from trainer.training.refit_result import RefitResult, read_refit, refit_models

IMAGES = 64
CPU = torch.device("cpu")


@pytest.fixture
def trial(people: Path) -> Refittable:
    """As if early stopping had chosen the second of three epochs."""
    directory = people / "people/trial-0000"
    change(directory / "config.json", patience=1)
    for fold in range(2):
        change(directory / f"fold-{fold}/result.json", scored_epoch=2)
    return refittable(directory)


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def refits(
    trial: Refittable, *numbers: int, with_holdout: bool = False, watch: Watch | None = None
) -> list[RefitResult | Ended]:
    return list(
        run_refits(
            trial,
            numbers=numbers,
            with_holdout=with_holdout,
            device=CPU,
            watch=watch or Watch(),
        )
    )


class TestWhatIsTrained:
    def test_the_epochs_are_those_that_score_the_folds(self, trial: Refittable):
        assert (trial.scored, trial.agreed.epochs, trial.planned) == ((2, 2), 2, 3)
        assert (trial.agreed.config.epochs, trial.agreed.config.patience) == (3, 0)
        assert (trial.name, trial.threads, trial.parts) == ("people/trial-0000", 1, 1)

    @pytest.mark.parametrize("with_holdout", [False, True])
    def test_models_of_all_images_lie_beside_the_folds(
        self, trial: Refittable, people: Path, with_holdout: bool
    ):
        done = refits(trial, 0, 1, with_holdout=with_holdout)
        results = [result for result in done if isinstance(result, RefitResult)]
        assert [result.images for result in results] == [IMAGES] * 2
        assert {result.identity["with_holdout"] for result in results} == {with_holdout}
        folders = [people / f"people/trial-0000/refit-{number}" for number in (0, 1)]
        assert refit_models(trial.files.directory) == folders
        assert sorted(path.name for path in folders[0].iterdir()) == [
            "attempt.json",
            "config.json",
            "curve.csv",
            "model.safetensors",
            "result.json",
        ]
        config = json.loads(TrialFiles(folders[0]).config.read_text())
        assert (config["patience"], config["epochs"]) == (0, 3)

    def test_every_epoch_is_told_with_the_number_of_its_model(self, trial: Refittable):
        told: list[tuple[int, int]] = []
        refits(trial, 3, 1, watch=Watch(lambda number, report: told.append((number, report.epoch))))
        assert told == [(3, 1), (3, 2), (1, 1), (1, 2)]


class TestInterruption:
    def test_no_other_model_begins_and_the_next_call_continues(self, trial: Refittable):
        watch = Watch()
        watch.tell = lambda number, report: watch.stop()
        assert refits(trial, 0, 1, watch=watch) == [Ended.INTERRUPTED]
        begun = trial.files.directory / "refit-0"
        assert (begun / "last.ckpt").is_file()
        assert refit_models(trial.files.directory) == []
        told: list[int] = []
        refits(trial, 0, 1, watch=Watch(lambda number, report: told.append(report.epoch)))
        assert told == [2, 1, 2]
        assert len(refit_models(trial.files.directory)) == 2

    def test_a_second_process_takes_a_model_over_and_the_first_one_stops(self, trial: Refittable):
        folder = trial.files.directory / "refit-0"
        watch = Watch(lambda *_: Attempt.begin(TrialFiles(folder), driver="refit") and None)
        with pytest.raises(
            InputError,
            match=r"refit-0: another process trains this model now, so this one stopped$",
        ):
            refits(trial, 0, watch=watch)
        assert read_refit(folder) is None


class TestWhatIsRefused:
    @pytest.mark.parametrize("number", [4, 17])
    def test_a_trial_without_a_score(self, view: SweepView, people: Path, number: int):
        with pytest.raises(InputError) as caught:
            directory_of(view, number, runs=people)
        assert str(caught.value) == (
            f"--trial {number}: not a completed trial of people, and only these have epochs that "
            "all folds agreed on. Completed are 0, 1, 2, 3"
        )

    def test_damaged_files_of_a_trial(self, people: Path):
        directory = people / "people/trial-0001"
        (directory / "fold-1/curve.csv").write_text("epoch\nfirst\n")
        with pytest.raises(DataError, match=r"trial-0001: the curve of a fold cannot be read \("):
            refittable(directory)
        (directory / "fold-1/result.json").unlink()
        with pytest.raises(DataError, match=r"fold-1/result\.json: missing"):
            refittable(directory)
        (directory / "config.json").write_text('{"lr": -1}')
        with pytest.raises(
            InputError, match=r"config\.json: not a readable configuration of a trial \(1 valid"
        ):
            refittable(directory)

    def test_images_that_are_gone(self, trial: Refittable, trained_sweep: Path):
        photo = next((trained_sweep / "photos").rglob("*.png"))
        content = photo.read_bytes()
        photo.unlink()
        try:
            with pytest.raises(DataError, match=photo.name):
                refits(trial, 0)
        finally:
            photo.write_bytes(content)
        assert not (trial.files.directory / "refit-0").exists()


def test_a_trial_can_be_named_and_so_can_what_the_sweep_ships(view: SweepView, people: Path):
    folder = people / "people"
    assert directory_of(view, 1, runs=people) == folder / "trial-0001"
    members = member_directories(choose(view, runs=people), runs=people)
    assert members
    assert set(members) <= {folder / f"trial-000{number}" for number in range(4)}
