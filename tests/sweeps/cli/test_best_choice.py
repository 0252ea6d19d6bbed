"""The ensemble of a sweep, and what `sweeps best` says of it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sweeps.paths import SweepFiles
from sweeps.running.messages import Outcome
from sweeps.study.stored_sweep import StoredSweep
from tests.sweeps.cli.conftest import Ended
from trainer.data.folds import Folds
from trainer.training.oof import OOF

Recorded = Callable[..., StoredSweep]
BOTH = """\
curve: 2 completed, 0 pruned, 0 failed
all  optimizer=sgd
trial   valid/f1 ± std     OOF         on new data (95 %)  worst fold  time  is best  lr
    0  0.9500 ± 0.0500  0.9500  0.9318 (0.8457 to 1.0000)      0.9000  30 s      91%  0.003
    1  0.8500 ± 0.0000  0.8498  0.8709 (0.7694 to 0.9724)      0.8500  30 s       9%  0.1

one trial  trial 0: OOF 0.9500, on new images 0.9318 (95 %: 0.8457 to 1.0000)
           that is one of its fold models; `sweeps predict` averages all of them, \
which is usually better, so the lower end is a floor
           being the best of 2 completed trials flatters it by 0.0182
           not told apart from trial 1
ensemble   1.00 trial 0
           OOF 0.9500, on new images 0.9505 (95 %: 0.8645 to 1.0000); \
classes by the rule for macro-F1
           +0.0000 ± 0.0000 against the best trial: shipped, \
because it is not worse by more than one standard error
evidence   as much as 3 images of equal weight, of 60 images
"""
MORE = "parameters.lr={values: [0.003, 0.1, 0.00003, 0.01, 0.02]}"
STEPS = [
    "reading the out-of-fold predictions of 2 trials ...",
    "estimating the best of 2 trials ...",
    "choosing the members of the ensemble ...",
    "estimating the ensemble: choosing it again without the images that it predicts ...",
]
ALONE = "alone      sweeps export curve --trial 0 > trial.yaml"


def folds_of(name: str = "curve") -> Folds:
    return SweepFiles.of(Path("runs"), name).folds()


def foreign(path: str, **changes: np.ndarray) -> Path:
    """Predictions made elsewhere that are always right, and sure."""
    folds = folds_of()
    eye = np.full((3, 3), 0.05, np.float32) + 0.85 * np.eye(3, dtype=np.float32)
    arrays = {
        "ids": np.array(folds.manifest.paths),
        "probs": eye[folds.manifest.labels_N],
        **changes,
    }
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return Path(path)


def test_it_says_what_to_expect_and_keeps_it(sweeps: Callable[..., Ended], recorded: Recorded):
    recorded([0, 1, 2], [3, 3, 3])
    first = sweeps("best")
    assert (first.code, first.out) == (0, BOTH)
    assert first.err.splitlines() == [*STEPS, ALONE]
    assert sweeps("best") == Ended(0, BOTH, f"{ALONE}\n")  # from the file beside the sweep
    oof = Path("runs/curve/trial-0001/fold-0") / OOF
    shutil.copyfile(oof, "copy.npz")
    oof.unlink()
    shutil.copyfile("copy.npz", oof)  # whatever changes a file makes it compute again
    assert sweeps("best").err.splitlines() == [*STEPS, ALONE]


def test_stopped_trials_show_that_the_complete_ones_were_lucky(
    sweeps: Callable[..., Ended], recorded: Recorded
):
    # the last two scores of each complete trial are worse than the first, which let it go on
    recorded([0, 2, 2], [1, 4, 3], [2, 1, 3], name="alone")
    stopped = Outcome("stopped", (0.85,))
    recorded([0, 2, 2], [1, 4, 3], [2, 1, 3], stopped, stopped, name="raced", settings=(MORE,))
    alone, raced = (json.loads(sweeps("best", name, "--json").out) for name in ("alone", "raced"))
    assert len(raced["trials"]) == 3
    assert raced["choice"]["estimate"] < alone["choice"]["estimate"] - 0.005


def test_a_choice_that_cannot_be_kept_or_read_is_computed_again(
    sweeps: Callable[..., Ended], recorded: Recorded
):
    recorded([0, 1, 2], [3, 3, 3])
    choices = Path("runs/curve/choices")
    choices.write_text("no folder")
    assert sweeps("best").out == BOTH
    choices.unlink()
    assert sweeps("best").out == BOTH
    (kept,) = choices.iterdir()
    kept.write_text("{}")
    assert sweeps("best").err.splitlines() == [*STEPS, ALONE]


def test_only_the_latest_choices_are_kept(
    sweeps: Callable[..., Ended], recorded: Recorded, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("sweeps.results.choice.KEPT", 2)
    recorded([0, 1, 2], [3, 3, 3])
    for members in (1, 2, 3):
        assert sweeps("best", "--max-members", members).code == 0
    assert len(list(Path("runs/curve/choices").iterdir())) == 2


def test_json_names_members_estimates_and_evidence(
    sweeps: Callable[..., Ended], recorded: Recorded
):
    recorded([0, 1, 2], [3, 3, 3])
    found = json.loads(sweeps("best", "--json").out)
    ensemble, choice = found["ensemble"], found["choice"]
    assert ensemble["members"] == [
        {"trial": 0, "weight": 1.0, "sweep": "curve", "name": "curve/trial-0000"}
    ]
    assert ensemble["estimate"] == pytest.approx(0.9513, abs=1e-3)
    assert ensemble["ci95"] == [pytest.approx(0.864, abs=1e-2), 1.0]
    assert (ensemble["ships"], ensemble["rule"]) == (True, "f1")
    assert (choice["trial"], choice["rule"], choice["images"]) == (0, "best", 60)
    chances = [trial["chance"] for trial in found["trials"]]
    assert sum(chances) == pytest.approx(1)


def test_a_damaged_trial_is_left_out_and_named(sweeps: Callable[..., Ended], recorded: Recorded):
    recorded([0, 1, 2], [3, 3, 3])
    directory = Path.cwd() / "runs/curve/trial-0000"
    (directory / "fold-1/oof.npz").write_bytes(b"PK damaged")
    ended = sweeps("best")
    assert ended.code == 0
    assert "ensemble   1.00 trial 1\n" in ended.out
    assert (
        f"           trial 0 of curve is left out: {directory}/fold-1/oof.npz: not readable "
        "out-of-fold probabilities"
    ) in ended.out
    shutil.rmtree("runs/curve/trial-0001")
    ended = sweeps("best")
    assert (ended.code, ended.out) == (2, "")
    assert (
        "error: no complete trial has readable files:\n  trial 0 of curve is left out" in ended.err
    )


def test_one_completed_trial_is_an_ensemble_of_one(
    sweeps: Callable[..., Ended], recorded: Recorded
):
    recorded([0, 1, 2], Outcome("failed", reason="out of luck"))
    ended = sweeps("best")
    assert ended.code == 0
    assert "ensemble   1.00 trial 0\n" in ended.out


def test_members_of_another_sweep_over_the_same_folds(
    sweeps: Callable[..., Ended], recorded: Recorded
):
    recorded([3, 3, 3], name="older")
    recorded([0, 1, 2], [2, 3, 3], name="newer")
    ended = sweeps("best", "newer", "--from", "older")
    assert ended.code == 0
    assert "one trial  trial 0 of newer: OOF 0.9500" in ended.out
    found = json.loads(sweeps("best", "newer", "--from", "older", "--json").out)
    assert found["choice"]["images"] == 60
    assert len(found["trials"]) == 2
    Path("older.yaml").write_text("name: older\n")
    by_file = json.loads(sweeps("best", "newer", "--from", "older.yaml", "--json").out)
    assert by_file["ensemble"] == found["ensemble"]
    assert sweeps("best", "newer", "--from", "nobody").err.startswith(
        "error: no sweep 'nobody' in this storage."
    )


def test_a_sweep_with_other_folds_is_refused(sweeps: Callable[..., Ended], recorded: Recorded):
    recorded([3, 3, 3], name="older", settings=("folds.seed=5",))
    recorded([0, 1, 2], name="newer")
    ended = sweeps("best", "newer", "--from", "older")
    assert (ended.code, ended.out) == (2, "")
    assert f"error: --from older: its folds ({folds_of('older').hash}) are not" in ended.err
    assert "Only sweeps with the same data and folds can be mixed" in ended.err


def test_predictions_made_elsewhere_can_be_members(
    sweeps: Callable[..., Ended], recorded: Recorded
):
    recorded([4, 4, 4], [3, 3, 3])
    foreign("notebook.npz", folds=folds_of().fold_N, folds_hash=np.array(folds_of().hash))
    ended = sweeps("best", "--from", "notebook.npz")
    assert ended.code == 0
    assert "notebook.npz: OOF 1.0000" in ended.out
    assert " notebook.npz" in ended.out.split("ensemble")[1].splitlines()[0]
    member = json.loads(sweeps("best", "--from", "notebook.npz", "--json").out)["ensemble"][
        "members"
    ][0]
    assert (member["trial"], member["sweep"], member["name"]) == (None, None, "notebook.npz")


def test_foreign_predictions_are_matched_by_path_or_file_name_and_class_name(
    sweeps: Callable[..., Ended], recorded: Recorded
):
    recorded([4, 4, 4], [3, 3, 3])
    manifest = folds_of().manifest
    turned = list(reversed(manifest.classes))
    plain = np.load(foreign("plain.npz"))["probs"]
    foreign(
        "other.npz",
        ids=np.array([Path(path).stem for path in reversed(manifest.paths)]),
        probs=plain[::-1, ::-1],
        classes=np.array(turned),
    )
    scores = [
        json.loads(sweeps("best", "--from", name, "--json").out)["ensemble"]["oof_score"]
        for name in ("plain.npz", "other.npz")
    ]
    assert scores[0] == scores[1] == 1.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"probs": None}, "no array probs"),
        ({"ids": np.array(["a"] * 60)}, "59 of its ids occur twice"),
        (
            {"ids": np.array([f"{n}.jpg" for n in range(100, 160)])},
            "60 of 60 images of the folds have no",
        ),
        ({"probs": np.ones((60, 3), np.float32)}, "probs are no probabilities: row 0 sums to 3"),
        ({"probs": np.ones((59, 3), np.float32)}, "one row per id (60), got float32 of shape (59"),
        ({"probs": np.eye(2, dtype=np.float32)[[0] * 60]}, "It has 2 "),
        (
            {"classes": np.array(["x", "y", "z"])},
            "its classes are not those of the sweep. It has 3",
        ),
        ({"folds_hash": np.array("0123")}, "predicted with other folds than the sweep's"),
        ({"folds": np.arange(60) % 3}, "predicted with other folds than the sweep's"),
        ({"folds": np.arange(3)}, "folds must have one number per id"),
    ],
    ids=lambda value: None if isinstance(value, dict) else value[:20],
)
def test_foreign_predictions_that_do_not_fit_are_refused(
    sweeps: Callable[..., Ended],
    recorded: Recorded,
    changes: dict[str, np.ndarray],
    message: str,
):
    recorded([4, 4, 4])
    foreign("bad.npz", **changes)
    ended = sweeps("best", "--from", "bad.npz")
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err


def test_a_foreign_file_that_is_none_is_refused(sweeps: Callable[..., Ended], recorded: Recorded):
    recorded([4, 4, 4])
    assert sweeps("best", "--from", "gone.npz") == Ended(
        2, "", "error: --from gone.npz: no such file\n"
    )
    Path("text.npz").write_text("hello")
    assert sweeps("best", "--from", "text.npz").err.startswith(
        "error: --from text.npz: not an .npz file of predictions"
    )
    Path("deeper").mkdir()
    shutil.copyfile("text.npz", "deeper/text.npz")
    assert sweeps("best", "--from", "text.npz", "--from", "deeper/text.npz").err == (
        "error: --from: two files are called text.npz. Rename one of them\n"
    )


def test_a_users_metric_is_estimated_too(
    sweeps: Callable[..., Ended], recorded: Recorded, home: Path
):
    (home / "mine.py").write_text(
        "def right(probs, labels, classes):\n    return float((probs.argmax(1) == labels).mean())\n"
    )
    recorded([0, 1, 2], [3, 3, 3], settings=("metric={name: mine.py:right, goal: maximize}",))
    ended = sweeps("best")
    assert ended.code == 0, ended.err
    assert "one trial  trial 0: OOF 0.9500, on new images 0.95" in ended.out
    # the mean of all trials is worse than the better of two
    assert "worse by more than one standard error, so the best trial is shipped alone" in ended.out
