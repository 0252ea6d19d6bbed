"""Which parameters explain the scores of a sweep.

The functions are pure; draws depend on a seed alone.

Shapes: T trials, F features, B bootstraps, P parameters.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sweeps.results.design import same
from sweeps.results.metric import Floats, Ints
from sweeps.space.domains import Categorical, Numeric
from sweeps.space.parameters import Space
from trainer.seeds import derive

FEWEST_TRIALS = 15
LEAST_EXPLAINED = 0.1
BOOTSTRAPS = 20
TREES = 64  # of the forest whose share of explained differences is told; as in Optuna
TREES_OF_BOOTSTRAP = 32


@dataclasses.dataclass(frozen=True)
class Share:
    """How much of what a forest explains is due to one parameter; the shares sum to 1.

    Attributes:
        low, high: 5 % and 95 % of the shares in bootstraps.
    """

    parameter: str
    value: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Importance:
    """The shares of all parameters, or why there are none.

    Attributes:
        shares: the largest first; empty if the parameters do not explain the scores.
        explained: R² of the forest on trials that it was not fitted on; None if it was not fitted.
        trials: number of trials with a finished fold.
    """

    shares: tuple[Share, ...]
    explained: float | None
    trials: int

    @property
    def sentence(self) -> str:
        """What to know before the shares are read, or why there are none."""
        if self.explained is None:
            return (
                f"too few trials with a finished fold ({self.trials}) to say which parameters "
                f"matter; {FEWEST_TRIALS} are needed"
            )
        if not self.shares:
            predicted = f"{100 * max(self.explained, 0):.0f} %"
            return (
                f"the parameters do not explain the scores: a forest predicts {predicted} of the "
                "differences between trials it has not seen"
            )
        return f"they explain {100 * self.explained:.0f} % of the differences between trials"


def importance(
    space: Space, values: Sequence[Mapping[str, Any]], scores_T: Floats, *, seed: int
) -> Importance:
    """Return how much each parameter matters: the mean decrease in impurity of a random forest.

    Args:
        values: for each trial the values of its parameters by name.
        scores_T: the fold-adjusted scores of the trials.

    Source: Louppe et al. 2013, "Understanding variable importances in forests of randomized trees";
        the forest is the one of Optuna's `MeanDecreaseImpurityImportanceEvaluator`, which leaves
        out conditional parameters and does not tell R².
    """
    features_TF, parameter_F, names = _features(space, values)
    count = len(scores_T)
    if count < FEWEST_TRIALS:
        return Importance((), None, count)
    if not names or np.ptp(scores_T) == 0:
        return Importance((), 0.0, count)
    explained = _explained(features_TF, scores_T, seed=derive(seed, "explained"))
    if explained < LEAST_EXPLAINED:
        return Importance((), explained, count)
    share_BP = np.array(
        [
            _shares(features_TF, scores_T, parameter_F, seed=derive(seed, "bootstrap", number))
            for number in range(BOOTSTRAPS)
        ]
    )
    low_P, high_P = np.quantile(share_BP, (0.05, 0.95), axis=0)
    shares = [
        Share(name, float(value), float(low), float(high))
        for name, value, low, high in zip(names, share_BP.mean(axis=0), low_P, high_P, strict=True)
    ]
    shares.sort(key=lambda share: -share.value)
    return Importance(tuple(shares), explained, count)


def _features(space: Space, values: Sequence[Mapping[str, Any]]) -> tuple[Floats, Ints, list[str]]:
    """Return the features of each trial, the parameter of each feature, and the parameters.

    A number is a feature, each value of a choice is a feature. Trees depend on the order of numbers
    alone, so a log scale changes nothing. A trial without the parameter is below all others.
    """
    columns: list[Floats] = []
    owners: list[int] = []
    names: list[str] = []
    for parameter in space.varying():
        own = [of_trial.get(parameter.name) for of_trial in values]
        domain = parameter.domain
        if isinstance(domain, Categorical):
            features = [[float(same(value, seen)) for value in own] for seen in domain.values]
        else:
            assert isinstance(domain, Numeric)
            numbers = [float(value) for value in own if value is not None]
            least = min(numbers, default=0.0) - 1
            features = [[least if value is None else float(value) for value in own]]
        differing = [np.array(feature) for feature in features if len(set(feature)) > 1]
        if differing:
            columns += differing
            owners += [len(names)] * len(differing)
            names.append(parameter.name)
    features_TF = np.column_stack(columns) if columns else np.zeros((len(values), 0))
    return features_TF, np.array(owners, dtype=np.int64), names


def _explained(features_TF: Floats, scores_T: Floats, *, seed: int) -> float:
    """R² of the forest's predictions for trials by the trees that did not see them."""
    forest = _forest(TREES, seed=seed, oob_score=True).fit(features_TF, scores_T)
    return float(forest.oob_score_)


def _shares(features_TF: Floats, scores_T: Floats, parameter_F: Ints, *, seed: int) -> Floats:
    """The share of each parameter in a bootstrap of the trials."""
    count = len(scores_T)
    drawn_T = np.random.default_rng(seed).integers(count, size=count)
    forest = _forest(TREES_OF_BOOTSTRAP, seed=seed).fit(features_TF[drawn_T], scores_T[drawn_T])
    importance_F: Floats = forest.feature_importances_
    return np.bincount(parameter_F, weights=importance_F).astype(np.float64)


def _forest(trees: int, *, seed: int, **more: Any) -> Any:
    from sklearn.ensemble import RandomForestRegressor  # the import takes 1.3 s

    return RandomForestRegressor(trees, random_state=seed % 2**32, **more)
