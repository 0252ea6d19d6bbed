"""By how much the values of a parameter differ, in the terminal."""

import json
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from optuna.trial import TrialState, create_trial

from sweeps.running.messages import Outcome
from sweeps.study.records import FOLD_SCORES
from sweeps.study.stored_sweep import StoredSweep
from tests.sweeps.cli.conftest import Ended

Recorded = Callable[..., StoredSweep]
EASE_K = (0.03, 0.0, -0.03)
WORTH = {"sgd": 0.0, "adamw": 0.1, "adam": 0.1}
LRS = (0.003, 0.1, 0.00003)


def fill(sweep: StoredSweep, *, lrs: Sequence[float] = LRS) -> None:
    """Trials of the nine points; adam and adamw are 0.1 better, and most stop after a fold."""
    rng = np.random.default_rng(0)
    for number in range(45):
        optimizer = list(WORTH)[number % 3]
        folds = 3 if number % 5 == 0 else 1
        noise_K = 0.01 * rng.normal(size=3)
        scores = [0.7 + WORTH[optimizer] + EASE_K[k] + float(noise_K[k]) for k in range(folds)]
        complete = folds == 3
        sweep.add(
            create_trial(
                state=TrialState.COMPLETE if complete else TrialState.PRUNED,
                value=sum(scores) / 3 if complete else None,
                params={"optimizer": optimizer, "lr": lrs[int(rng.integers(len(lrs)))]},
                distributions=sweep.trials()[0].distributions,
                user_attrs={FOLD_SCORES: scores},
            )
        )


def test_differences_are_printed_with_intervals_and_a_verdict(
    sweeps: Callable[..., Ended], recorded: Recorded
):
    fill(recorded(Outcome("failed", reason="out of luck")))
    expected = (
        "curve: optimizer in 45 trials with a finished fold, 9 of them completed\n"
        "better  worse  trials  by, valid/f1                95 %\n"
        "adam    sgd    15, 15        0.0997  +0.0922 to +0.1072  clear\n"
        "adamw   sgd    15, 15        0.0978  +0.0899 to +0.1057  clear\n"
        "adam    adamw  15, 15        0.0020  -0.0046 to +0.0085  no difference seen\n"
        "averages over what was sampled of the other parameters; clear: no chance among all 6 "
        "pairs of the sweep\n"
    )
    assert sweeps("compare", "optimizer") == Ended(0, expected, "")
    assert sweeps("compare", "optimizer", "curve.yaml") == Ended(0, expected, "")


def test_json_has_the_same_numbers(sweeps: Callable[..., Ended], recorded: Recorded):
    fill(recorded(Outcome("failed", reason="out of luck")))
    ended = sweeps("compare", "optimizer", "--json")
    assert (ended.code, ended.err) == (0, "")
    found = json.loads(ended.out)
    first = found["differences"][0]
    assert first == {
        "parameter": "optimizer",
        "better": "adam",
        "worse": "sgd",
        "trials": [15, 15],
        "gain": pytest.approx(0.0997, abs=1e-4),
        "low": pytest.approx(0.0922, abs=1e-4),
        "high": pytest.approx(0.1072, abs=1e-4),
        "p": pytest.approx(0, abs=1e-9),
        "clear": True,
    }
    assert {key: value for key, value in found.items() if key != "differences"} == {
        "sweep": "curve",
        "metric": "valid/f1",
        "goal": "maximize",
        "parameter": "optimizer",
        "trials": 45,
        "completed": 9,
        "pairs_of_all_parameters": 6,
        "unsaid": [],
        "too_few": None,
    }


def test_too_few_trials_are_said_to_be_too_few(sweeps: Callable[..., Ended], recorded: Recorded):
    recorded([0, 1, 2], [3, 3, 3], Outcome("stopped", (0.1,)))
    assert sweeps("compare", "lr") == Ended(
        0,
        "curve: lr in 3 trials with a finished fold, 2 of them completed\n"
        "3 trials with a finished fold are too few to estimate the parameter at once; 11 are "
        "needed\n",
        "",
    )


def test_a_parameter_that_no_two_trials_differ_in_is_said_to_be_the_same(
    sweeps: Callable[..., Ended], recorded: Recorded
):
    fill(recorded(Outcome("failed", reason="out of luck")), lrs=(0.1,))
    assert sweeps("compare", "lr") == Ended(
        0,
        "curve: lr in 45 trials with a finished fold, 9 of them completed\n"
        "all trials have the same lr\n",
        "",
    )


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        (
            "optimiser",
            "'optimiser' is not a parameter of sweep 'curve'. Did you mean 'optimizer'? It varies "
            "optimizer, lr",
        ),
        ("swep", "'swep' is not a parameter of sweep 'curve'. It varies optimizer, lr"),
        (
            "epochs",
            "epochs is always 2 in sweep 'curve', so there is nothing to compare. It varies "
            "optimizer, lr",
        ),
        (
            "lr",
            "sweep 'curve' has no trial with a finished fold yet. `sweeps status` shows how it "
            "goes",
        ),
    ],
)
def test_what_cannot_be_compared_is_an_error(
    sweeps: Callable[..., Ended], recorded: Recorded, parameter: str, message: str
):
    recorded(Outcome("failed", reason="out of luck"), Outcome("stopped"))
    assert sweeps("compare", parameter) == Ended(2, "", f"error: {message}\n")


def test_an_unknown_sweep_is_an_error(sweeps: Callable[..., Ended], recorded: Recorded):
    recorded([0, 1, 2])
    assert sweeps("compare", "lr", "curv") == Ended(
        2,
        "",
        "error: no sweep 'curv' in this storage. Did you mean 'curve'? `sweeps list` shows them\n",
    )
