"""What a trial is scored by: a metric of the user's own, one epoch that is common to all folds."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sweeps.running.messages import Assignment
from sweeps.running.trial import run_trial
from tests.sweeps.running.trial_runs import Listener, result, right

# --- the user's own metric


AGREEMENT = """
def agreement(probs_NK, labels_N, classes):
    return float((probs_NK.argmax(axis=1) == labels_N).mean()) + 10 * len(classes)
"""


@pytest.fixture
def own(assignment: Callable[..., Assignment]) -> Callable[..., Assignment]:
    """A trial that is scored by a function in the sweep's code folder."""

    def make(code: str = AGREEMENT, **values: Any) -> Assignment:
        given = assignment(metric="metric", **values)
        given = dataclasses.replace(
            given, values={**given.values, "metric": "my_task.py:agreement"}
        )
        (Path(given.sweep_directory) / "code").mkdir(exist_ok=True)
        (Path(given.sweep_directory) / "code" / "my_task.py").write_text(code)
        return given

    return make


class TestOwnMetric:
    def test_it_is_the_score_of_every_report_and_fold(self, own: Callable[..., Assignment]):
        given = own()
        listener = Listener()
        outcome = run_trial(given, listener)
        assert outcome.state == "completed"
        assert outcome.fold_scores == pytest.approx([30 + right(given, fold) for fold in range(2)])
        assert listener.reports[1].value == outcome.fold_scores[0]
        assert result(given, 0)["metrics"]["metric"] == outcome.fold_scores[0]
        assert result(given, 0)["metrics"]["accuracy"] == pytest.approx(outcome.fold_scores[0] - 30)
        # the folds have equally many images, so the mean over the folds is that over all images
        assert outcome.measured.oof == pytest.approx(np.mean(outcome.fold_scores))

    def test_a_metric_that_refuses_all_folds_together_leaves_their_scores(
        self, own: Callable[..., Assignment], caplog: pytest.LogCaptureFixture
    ):
        picky = (
            "def agreement(probs_NK, labels_N, classes):\n"
            "    assert len(labels_N) < 60, 'too many'\n    return 0.5\n"
        )
        outcome = run_trial(own(picky, epochs=1), Listener())
        assert (outcome.state, outcome.fold_scores) == ("completed", (0.5, 0.5))
        assert outcome.measured.oof is None
        assert caplog.messages[-1] == (
            "no score of all out-of-fold predictions together: "
            "my_task.py:agreement, line 2: AssertionError: too many"
        )

    def test_a_mistake_in_it_fails_the_trial_with_its_line(self, own: Callable[..., Assignment]):
        outcome = run_trial(own("def agreement(*_):\n    return [][1]\n"), Listener())
        assert (outcome.state, outcome.fold_scores) == ("failed", ())
        assert outcome.reason == "my_task.py:agreement, line 2: IndexError: list index out of range"

    def test_with_another_file_it_is_another_trial(self, own: Callable[..., Assignment]):
        first = run_trial(own(epochs=1), Listener())
        again = Listener()
        changed = run_trial(own(AGREEMENT.replace("10 *", "20 *"), epochs=1), again)
        assert again.steps == [1, 5]
        assert changed.fold_scores == pytest.approx([score + 30 for score in first.fold_scores])

    def test_a_file_that_is_not_there_fails_the_trial(self, own: Callable[..., Assignment]):
        given = own()
        file = Path(given.sweep_directory) / "code" / "my_task.py"
        file.unlink()
        assert (
            run_trial(given, Listener()).reason == f"my_task.py:agreement: there is no file {file}."
        )


# --- one common epoch


def curve(assignment: Assignment, fold: int, name: str) -> list[float]:
    path = assignment.files.directory / f"fold-{fold}" / "curve.csv"
    names = path.read_text().splitlines()[0].split(",")
    column = np.loadtxt(path, delimiter=",", skiprows=1, usecols=names.index(name), ndmin=1)
    return [float(value) for value in column]


COMMON = {"checkpoint": "best", "epochs": 4, "optimizer": "sgd", "lr": 0.05, "scheduler": "none"}


class TestCommonEpoch:
    """checkpoint: best."""

    def test_all_folds_are_scored_by_the_epoch_that_is_best_on_average(
        self, assignment: Callable[..., Assignment]
    ):
        given = assignment(**COMMON)
        outcome = run_trial(given, Listener())
        curves = [curve(given, fold, "f1") for fold in range(2)]
        epoch = int(np.argmax(np.mean(curves, axis=0)))
        assert outcome.fold_scores == tuple(values[epoch] for values in curves)
        for fold in range(2):
            found = result(given, fold)
            assert (found["scored_epoch"], found["epochs"], found["biased"]) == (
                epoch + 1,
                4,
                False,
            )
            assert found["metrics"]["f1"] == curves[fold][epoch]
            assert found["metrics"]["accuracy"] == pytest.approx(right(given, fold))
        assert sorted(path.name for path in Path(given.files.directory, "fold-0").iterdir()) == [
            "curve.csv", "model.safetensors", "oof.npz", "result.json",
        ]  # fmt: skip

    def test_the_goal_of_an_own_metric_decides_which_is_best(self, own: Callable[..., Assignment]):
        chosen = []
        for number, (goal, best) in enumerate((("maximize", np.argmax), ("minimize", np.argmin))):
            given = dataclasses.replace(own(metric_goal=goal, **COMMON), number=number)
            run_trial(given, Listener())
            mean = np.mean([curve(given, fold, "metric") for fold in range(2)], axis=0)
            assert (
                result(given, 0)["scored_epoch"]
                == result(given, 1)["scored_epoch"]
                == int(best(mean)) + 1
            )
            chosen.append(int(best(mean)))
        assert chosen[0] != chosen[1]

    def test_an_interrupted_trial_ends_the_same(self, assignment: Callable[..., Assignment]):
        given = assignment(**{**COMMON, "epochs": 2})
        assert run_trial(given, Listener(interrupt_at=3)).state == "interrupted"
        ended = run_trial(given, Listener())
        undisturbed = dataclasses.replace(given, number=4)
        assert run_trial(undisturbed, Listener()) == ended
        again = Listener()
        assert run_trial(dataclasses.replace(given, reported=6), again) == ended
        assert again.steps == [6]
