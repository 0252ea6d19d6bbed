"""The folds of all trials as a heat map, which the Optuna dashboard shows as the sweep's own plot.

The functions are pure.
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from optuna.trial import FrozenTrial

from sweeps.study.records import fold_scores
from trainer.metrics import Goal

MOST_TRIALS = 400  # the newest ones; the browser reads the plot again with each refresh
DIGITS = 4  # significant ones of a score


def fold_map(trials: Sequence[FrozenTrial], *, metric: str, goal: Goal) -> str | None:
    """Return the heat map as a figure of plotly, in JSON; None if no fold is finished.

    A trial that was stopped early has a gap at the folds that it never ran. The colours end at the
    quantiles 5 % and 95 % of the scores, because one trial that learned nothing would make all
    others look alike.
    """
    scored = [trial for trial in trials if fold_scores(trial)][-MOST_TRIALS:]
    if not scored:
        return None
    scores = [fold_scores(trial) for trial in scored]
    k = max(map(len, scores))
    low, high = np.quantile(np.concatenate([np.array(each) for each in scores]), (0.05, 0.95))
    rows = [
        [_rounded(each[fold]) if fold < len(each) else None for each in scores] for fold in range(k)
    ]
    data: dict[str, Any] = {
        "type": "heatmap",
        "x": [str(trial.number) for trial in scored],
        "y": [f"fold {fold + 1}" for fold in range(k)],
        "z": rows,
        "zmin": float(low),
        "zmax": float(high),
        "colorscale": "Viridis",
        "reversescale": goal is Goal.MINIMIZE,
        "colorbar": {"title": {"text": metric}},
        "hovertemplate": "trial %{x}, %{y}: %{z}<extra></extra>",
    }
    layout = {
        "title": {"text": f"{metric} of each fold (bright: better; a gap: never ran)"},
        # numbers of trials are names here: between two of them lies nothing
        "xaxis": {"title": {"text": "trial"}, "type": "category"},
        "yaxis": {"type": "category", "autorange": "reversed"},
    }
    return json.dumps({"data": [data], "layout": layout}, allow_nan=False)


def _rounded(score: float) -> float:
    return float(f"{score:.{DIGITS}g}")
