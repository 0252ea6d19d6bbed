"""The leaderboard."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from optuna.trial import create_trial

from sweeps.running.messages import Outcome
from sweeps.study.records import FOLD_SCORES, TAKEN_FROM
from sweeps.study.stored_sweep import StoredSweep
from tests.sweeps.cli.conftest import Ended

MIXED = (
    [0, 1, 2],
    [3, 3, 3],
    Outcome("stopped", (0.1,)),
    Outcome("failed", reason="out of luck"),
    None,
    [0, 1, 2],
)
TABLE = """\
curve: 3 completed, 1 pruned, 1 failed
trial   valid/f1 ± std     OOF  worst fold  optimizer  lr
    0  0.9500 ± 0.0500  0.9500      0.9000  sgd        0.003
    5  0.9500 ± 0.0500  0.9500      0.9000  adamw      3e-05
    1  0.8500 ± 0.0000  0.8498      0.8500  sgd        0.1
"""
ALONE = "alone      sweeps export curve --trial 0 > trial.yaml\n"
Recorded = Callable[..., StoredSweep]


def test_the_best_trials_come_first_and_a_tie_goes_to_the_older_one(
    sweeps: Callable[..., Ended], recorded: Recorded
):
    recorded(*MIXED)
    for arguments in ([], ["curve"], ["curve.yaml"], ["--topk", "3"]):
        assert sweeps("best", "--fast", *arguments) == Ended(0, TABLE, ALONE)
    assert sweeps("best", "--fast", "--topk", 2).out == "".join(
        TABLE.splitlines(keepends=True)[:-1]
    )


def test_a_loss_is_best_when_low_and_worst_when_high(
    sweeps: Callable[..., Ended], recorded: Recorded
):
    recorded([3, 2, 3], [1, 1, 1], settings=("metric={name: valid/loss, goal: minimize}",))
    # sure and wrong costs -log(1e-12) = 27.631; `recorded` scores folds by their share of right
    # images
    assert sweeps("best", "--fast").out == (
        "curve: 2 completed, 0 pruned, 0 failed\n"
        "all  optimizer=sgd\n"
        "trial  valid/loss ± std     OOF  worst fold  lr\n"
        "    0   0.8667 ± 0.0289  3.6841      0.9000  0.003\n"
        "    1   0.9500 ± 0.0000  1.3816      0.9500  0.1\n"
    )


def test_json_has_the_keys_of_the_design(sweeps: Callable[..., Ended], recorded: Recorded):
    stored = recorded(*MIXED)
    ended = sweeps("best", "--fast", "--json", "--topk", 1)
    assert (ended.code, ended.err) == (0, "")
    assert json.loads(ended.out) == {
        "sweep": "curve",
        "metric": "valid/f1",
        "goal": "maximize",
        "completed": 3,
        "pruned": 1,
        "failed": 1,
        "taken_over": 0,
        "history": 0,
        "trials": [
            {
                "number": 0,
                "score": pytest.approx(0.95),
                "fold_scores": [1.0, 0.95, 0.9],
                "std": pytest.approx(0.05),
                "oof_score": pytest.approx(0.95, abs=1e-3),
                "params": {"optimizer": "sgd", "lr": 0.003},
                "directory": "runs/curve/trial-0000",
                "taken_from": None,
                "seconds": None,
                "chance": None,
                "estimate": None,
                "ci95": None,
            }
        ],
        "ensemble": None,
        "choice": None,
    }
    assert stored.trials()[0].values == [json.loads(ended.out)["trials"][0]["score"]]


def test_trials_of_other_sweeps_are_marked_and_repeated_ones_counted(
    sweeps: Callable[..., Ended], recorded: Recorded
):
    stored = recorded([0, 1, 2], [3, 3, 3])
    for score, taken in (
        (1.0, {"sweep": "older", "trial": 7}),
        (0.95, {"sweep": "curve", "trial": 0, "repeats": 0}),
    ):
        stored.add(
            create_trial(
                value=score,
                params={"optimizer": "adam", "lr": 0.1},
                distributions=stored.trials()[0].distributions,
                user_attrs={FOLD_SCORES: [score] * 3, TAKEN_FROM: taken},
            )
        )
    assert sweeps("best", "--fast") == Ended(
        0,
        "curve: 3 completed, 0 pruned, 0 failed, 1 of them equal to earlier ones and not trained "
        "again, 1 from other sweeps\n"
        "trial  of sweep         valid/f1 ± std     OOF  worst fold  optimizer  lr\n"
        "    2  older, trial 7  1.0000 ± 0.0000       -      1.0000  adam       0.1\n"
        "    0  curve           0.9500 ± 0.0500  0.9500      0.9000  sgd        0.003\n"
        "    1  curve           0.8500 ± 0.0000  0.8498      0.8500  sgd        0.1\n",
        "alone      sweeps export curve --trial 2 > trial.yaml\n",
    )


def test_the_latest_sweep_is_meant_when_none_is_named(
    sweeps: Callable[..., Ended], recorded: Recorded
):
    recorded([0, 1, 2], name="older")
    recorded([0, 1, 2], name="newer")
    assert sweeps("best").out.startswith("newer: 1 completed")
    assert sweeps("best", "older").out.startswith("older: 1 completed")


def test_no_completed_trial_is_exit_code_1(sweeps: Callable[..., Ended], recorded: Recorded):
    recorded(Outcome("failed", reason="out of luck"), Outcome("stopped"))
    error = (
        "sweep 'curve' has no completed trial yet (1 pruned, 1 failed). "
        "`sweeps status` shows how it goes"
    )
    assert sweeps("best") == Ended(1, "", f"error: {error}\n")
    as_json = sweeps("best", "--json")
    assert (as_json.code, json.loads(as_json.out)["trials"]) == (0, [])


def test_places_come_from_options_or_the_environment(
    sweeps: Callable[..., Ended],
    recorded: Recorded,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
):
    recorded(*MIXED)
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert sweeps("best").code == 2
    elsewhere = ALONE.replace("0 >", "0 --runs ../runs >")
    assert sweeps("best", "--fast", "--runs", "../runs") == Ended(0, TABLE, elsewhere)
    monkeypatch.setenv("SWEEPS_RUNS", "../runs")
    assert sweeps("best", "--fast") == Ended(0, TABLE, ALONE)
    monkeypatch.setenv("SWEEPS_STORAGE", f"sqlite:///{tmp_path}/runs/sweeps.db")
    assert sweeps("best", "--fast") == Ended(0, TABLE, ALONE)
    assert sweeps("best", "--storage", "sqlite:///nowhere.db").code == 2


def test_pruned_and_failed_trials_are_listed_when_asked_for(
    sweeps: Callable[..., Ended], recorded: Recorded
):
    recorded(*MIXED)
    assert sweeps("best", "--fast", "--all", "--topk", 1).out == (
        f"{TABLE}\n"
        "trial  state   folds  reason       parameters\n"
        "    2  pruned      1  stopped      optimizer=sgd  lr=3e-05\n"
        "    3  failed      0  out of luck  optimizer=adamw  lr=0.003\n"
    )
    others = json.loads(sweeps("best", "--fast", "--all", "--json").out)["others"]
    assert [(other["number"], other["reason"]) for other in others] == [
        (2, "stopped"),
        (3, "out of luck"),
    ]


def test_csv_has_all_numbers_in_full(sweeps: Callable[..., Ended], recorded: Recorded):
    recorded([0, 1, 2], [3, 3, 3])
    assert sweeps("best", "--fast", "--csv").out == (
        "number,score,std,oof_score,estimate,low,high,chance,seconds,worst_fold,optimizer,lr\n"
        "0,0.9500000000000001,0.04999999999999999,0.9499999999999998,,,,,,0.9,sgd,0.003\n"
        "1,0.85,0.0,0.8498168498168498,,,,,,0.85,sgd,0.1\n"
    )
    assert sweeps("best", "--csv", "--json") == Ended(
        2, "", "error: --csv and --json are two forms of the same table: give one of them\n"
    )


def test_a_trial_whose_files_are_gone_is_named(sweeps: Callable[..., Ended], recorded: Recorded):
    recorded(*MIXED)
    Path("runs/curve/trial-0000/fold-1/oof.npz").unlink()
    path = Path.cwd() / "runs/curve/trial-0000/fold-1/oof.npz"
    ended = sweeps("best", "--fast")
    assert ended.code == 0
    assert "    0  0.9500 ± 0.0500       -      0.9000  sgd        0.003\n" in ended.out
    assert ended.err == (
        f"warning: trial 0: {path}: missing; the trial's folds are not complete\n{ALONE}"
    )
