"""How good the choice of a sweep really is: honest estimates from out-of-fold predictions.

The best of many trials is partly the luckiest, so its score flatters it. The functions say what to
expect on new groups (persons, videos; images where the data have no groups). They are pure.

Shapes: N images, M trials, B resamples, K classes.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from sweeps.results.compared import compare
from sweeps.results.ensemble import (
    MAX_MEMBERS,
    Library,
    best_trials,
    calibrated,
    fit_ensemble,
    predict,
)
from sweeps.results.fold_evidence import FoldEvidence
from sweeps.results.metric import Floats, Ints, Metric, Predicted
from sweeps.results.resampling import Bootstrap, Interval, Scored, blocks
from trainer.metrics import Goal
from trainer.seeds import derive

ALIKE = 0.95  # the trials that cannot be told apart hold this much of the chance to be the best
PARTS = 5
REPEATS = 2
# Above this number of images, members are calibrated once and not within each part. In simulations
# this made the estimate of 3,000 images too high by 0.2 to 0.3 points.
CALIBRATED_ONCE = 10_000
CHOICE_PARTS = 10
CHOICE_CALLS = 1_000  # calls of a user's metric for its choice
COMPARED = 10  # trials whose chances are computed with a user's metric
FEW_GROUPS = 3
Bools = npt.NDArray[np.bool_]


@dataclasses.dataclass(frozen=True)
class SingleEstimate:
    """What to expect of the chosen trial on new groups.

    The expected score is that of one of its fold models. The average of its K fold models is better
    (by 1 to 3 points in simulations), so the interval's lower end is a floor for what `sweeps
    predict` uses.

    Attributes:
        chosen: the index of the trial in the library.
        shown: the score over all out-of-fold predictions of the chosen trial.
        interval: the honest estimate.
        chances: for each trial the chance to be the best.
        alike: the fewest trials that hold 95 % of the chance, the most likely first.
        expected: for each trial what it is expected to score; empty for a user's metric. Distances
            between trials shrink, and most for trials that hardly differ. Another trial may be
            expected to be a little better than the one whose score is the best: to choose it
            instead won nothing in simulations.
    """

    chosen: int
    shown: float
    interval: Interval
    chances: tuple[float, ...]
    alike: tuple[int, ...]
    expected: tuple[Interval, ...] = ()


@dataclasses.dataclass(frozen=True)
class EnsembleEstimate:
    """What to expect of the ensemble on new groups.

    Calibration, choice of members, weights and rule were repeated without the images that were
    then predicted.

    Attributes:
        interval: the honest estimate.
        gain: how much better the ensemble is than the best trial, both chosen without the images
            they predict; above 0 is better, whatever the metric's goal.
        gain_error: the standard error of the gain.
        rule_gain, rule_gain_error: what the decision rule adds to argmax, in the same way; 0 for a
            metric without a rule.
    """

    interval: Interval
    gain: float
    gain_error: float
    rule_gain: float
    rule_gain_error: float

    @property
    def ships(self) -> bool:
        """Whether to use the ensemble: yes unless it is worse by more than one standard error."""
        return self.gain >= -self.gain_error

    @property
    def rule_ships(self) -> bool:
        """Whether to use the rule: yes unless it is worse by more than one standard error."""
        return self.rule_gain >= -self.rule_gain_error


Choose = Callable[[Floats], Ints]


def estimate_single(
    library: Library,
    *,
    metric: Metric,
    seed: int,
    rule: str = "best",
    folds: FoldEvidence | None = None,
) -> SingleEstimate:
    """Estimate the score of the trial that a rule chooses from the library.

    The level is the mean score of all trials over the whole sample, corrected for its size by a
    bootstrap over groups and for the luck of the trials that the fold race let live. To it comes
    the *edge* that a trial is expected to have over this mean: its measured distance, shrunk by
    what the errors of the distances explain. For a user's metric, the choice is cross-validated.

    Args:
        rule: "best", or "one_se": the cheapest trial whose distance to the best trial is within one
            standard error of that distance.
        folds: what the fold scores of the sweep's trials say; None if they are not known.

    Source: the edge: Efron and Morris 1975, "Data analysis using Stein's estimator". The luck:
        Henderson 1975, see `fold_evidence`. `benchmarks/honesty.py` compares the result with the
        bootstrap of Tsamardinos, Greasidou, Borboudakis 2018 (BBC-CV).
    """
    order = best_trials(library, metric=metric, most=len(library))
    ranked = library.trials(order)
    estimate = (_by_bootstrap if metric.additive else _by_cross_validation)(
        ranked, metric=metric, seed=seed, rule=rule, folds=folds
    )
    rank_of = np.argsort(order).tolist()
    return dataclasses.replace(
        estimate,
        chosen=order[estimate.chosen],
        chances=tuple(estimate.chances[rank] for rank in rank_of),
        expected=tuple(estimate.expected[rank] for rank in rank_of if estimate.expected),
        alike=tuple(order[index] for index in estimate.alike),
    )


def estimate_ensemble(
    library: Library, *, metric: Metric, seed: int, max_members: int = MAX_MEMBERS
) -> EnsembleEstimate:
    """Estimate the score of the ensemble that `fit_ensemble` makes of the library.

    The groups are cut into PARTS parts, REPEATS times. An ensemble fitted on the other parts
    predicts each part; so does the trial that is best on the other parts.
    """
    bootstrap = Bootstrap(
        library.labels_N,
        library.groups_N,
        metric=metric,
        n_classes=library.probs[0].shape[1],
        seed=seed,
    )
    runs = [
        _nested(
            library, metric=metric, max_members=max_members, seed=derive(seed, "nested", repeat)
        )
        for repeat in range(REPEATS)
    ]
    ruled, plain, single = (
        [bootstrap.scored(predicted) for predicted in predictions]
        for predictions in zip(*runs, strict=True)
    )
    rule_gain, rule_error = _gain(ruled, plain, goal=metric.goal)
    with_rule = rule_gain >= -rule_error
    shipped = ruled if with_rule else plain
    gain, error = _gain(shipped, single, goal=metric.goal)
    evidence = bootstrap.evidence(*(run[0 if with_rule else 1] for run in runs))
    inside_B = np.mean([scored.inside_B for scored in shipped], axis=0)
    value = float(np.mean([scored.score - scored.lift for scored in shipped]))
    interval = bootstrap.interval(value, inside_B=inside_B, evidence=evidence)
    return EnsembleEstimate(interval, gain, error, rule_gain, rule_error)


def epoch_flattery(
    curves: Sequence[Sequence[Mapping[str, float]]],
    scored_epochs: Sequence[int],
    *,
    metric: str,
    goal: Goal,
) -> float | None:
    """Return how much the choice of the epoch on the folds that it scores flatters a trial.

    For each fold the epoch that is best on the other folds is taken instead; its score is not
    flattered. The difference of the means is the flattery, at least 0.

    Args:
        curves: for each fold the rows of its curve, one per epoch.
        scored_epochs: for each fold the epoch (from 1) that was chosen.

    Returns:
        The flattery in units of the metric; None with fewer than two folds.
    """
    if len(curves) < 2:
        return None
    length = min(map(len, curves))
    scores_KE = np.array([[row[metric] for row in curve[:length]] for curve in curves])
    chosen = float(
        np.mean([curve[e - 1][metric] for curve, e in zip(curves, scored_epochs, strict=True)])
    )
    others_KE = (scores_KE.sum(axis=0) - scores_KE) / (len(curves) - 1)
    epochs = (goal.sign * others_KE).argmax(axis=1)
    honest = float(scores_KE[np.arange(len(curves)), epochs].mean())
    return max(0.0, goal.sign * (chosen - honest))


def rare_classes(library: Library, *, n_classes: int, few: int = FEW_GROUPS) -> list[int]:
    """Return the classes with images of fewer than `few` groups: their scores are a guess."""
    groups_N = np.arange(len(library.labels_N)) if library.groups_N is None else library.groups_N
    pairs = np.unique(np.stack([library.labels_N, groups_N], axis=1), axis=0)
    groups_K = np.bincount(pairs[:, 0], minlength=n_classes)
    rare: list[int] = np.flatnonzero(groups_K < few).tolist()
    return rare


def _by_bootstrap(
    library: Library, *, metric: Metric, seed: int, rule: str, folds: FoldEvidence | None
) -> SingleEstimate:
    """See estimate_single; the library's trials are ordered, the best first."""
    bootstrap = _bootstrap(library, metric=metric, seed=seed)
    scored = [bootstrap.scored(predicted) for predicted in library.by_argmax]
    scores_M = np.array([one.score for one in scored])
    inside_BM = np.stack([one.inside_B for one in scored], axis=1)
    chosen = int(_choice(rule, inside_BM, library, goal=metric.goal)(scores_M[None])[0])
    lift = float(inside_BM.mean() - scores_M.mean())
    level = float(scores_M.mean()) - lift - _luck(folds)
    turn = metric.goal.sign
    compared = compare(turn * scores_M, turn * inside_BM, seed=seed, folds=folds)
    expected = tuple(
        bootstrap.interval(
            level + turn * edge,
            inside_B=one.inside_B,
            evidence=bootstrap.evidence(predicted),
        )
        for edge, one, predicted in zip(
            compared.edges_M.tolist(), scored, library.by_argmax, strict=True
        )
    )
    return SingleEstimate(
        chosen,
        float(scores_M[chosen]),
        expected[chosen],
        tuple(compared.chances_M.tolist()),
        _alike(compared.chances_M),
        expected,
    )


def _by_cross_validation(
    library: Library, *, metric: Metric, seed: int, rule: str, folds: FoldEvidence | None
) -> SingleEstimate:
    """See estimate_single; for a metric that has to be called for each set of images."""
    bootstrap = _bootstrap(library, metric=metric, seed=seed)
    scored = [bootstrap.scored(predicted) for predicted in library.by_argmax[:COMPARED]]
    inside_BM = np.stack([one.inside_B for one in scored], axis=1)
    scores_M = np.array([one.score for one in scored])
    choose = _choice(rule, inside_BM, library, goal=metric.goal)
    chosen = int(choose(scores_M[None])[0])
    repeats = max(1, min(5, CHOICE_CALLS // (len(scored) * CHOICE_PARTS)))
    values = []
    for repeat in range(repeats):
        part_N, parts = blocks(
            library.groups_N, len(library.labels_N), most=CHOICE_PARTS, seed=derive(seed, repeat)
        )
        pooled = np.empty_like(library.probs[0])
        for part in range(parts):
            rest = np.flatnonzero(part_N != part)
            of_rest = [
                metric.score(predicted.take(rest), library.labels_N[rest])
                for predicted in library.by_argmax[:COMPARED]
            ]
            best = int(choose(np.array(of_rest)[None])[0])
            pooled[part_N == part] = library.probs[best][part_N == part]
        values.append(metric.score(Predicted.by_argmax(pooled), library.labels_N))
    interval = bootstrap.interval(
        float(np.mean(values)) - scored[chosen].lift - _luck(folds),
        inside_B=inside_BM[:, chosen],
        evidence=bootstrap.evidence(library.by_argmax[chosen]),
    )
    turn = metric.goal.sign
    chances_M = np.zeros(len(library))
    chances_M[: len(scored)] = compare(
        turn * scores_M, turn * inside_BM, seed=seed, folds=folds
    ).chances_M
    return SingleEstimate(
        chosen, float(scores_M[chosen]), interval, tuple(chances_M.tolist()), _alike(chances_M)
    )


def _luck(folds: FoldEvidence | None) -> float:
    return 0.0 if folds is None else folds.luck


def _bootstrap(library: Library, *, metric: Metric, seed: int) -> Bootstrap:
    return Bootstrap(
        library.labels_N,
        library.groups_N,
        metric=metric,
        n_classes=library.probs[0].shape[1],
        seed=seed,
    )


def _choice(rule: str, inside_BM: Floats, library: Library, *, goal: Goal) -> Choose:
    """Return the function that chooses one trial for each row of scores (rows, M)."""
    if rule == "best":
        return functools.partial(_best, goal=goal)
    covariance_MM = np.atleast_2d(np.cov(inside_BM, rowvar=False))
    variance_M = np.diag(covariance_MM)
    error_MM = np.sqrt(
        np.maximum(variance_M[:, None] + variance_M[None, :] - 2 * covariance_MM, 0.0)
    )
    costs_M = np.array([library.cost(index) for index in range(inside_BM.shape[1])])

    def cheapest_within(scores_RM: Floats) -> Ints:
        turned_RM = np.nan_to_num(goal.sign * scores_RM, nan=-np.inf)
        best_R = turned_RM.argmax(axis=1)
        gap_RM = turned_RM[np.arange(len(best_R)), best_R][:, None] - turned_RM
        within_RM = gap_RM <= error_MM[best_R]
        index_R: Ints = np.where(within_RM, costs_M, np.inf).argmin(axis=1)
        return index_R

    return cheapest_within


def _best(scores_RM: Floats, *, goal: Goal) -> Ints:
    """Return the best trial of each row of scores (rows, M); NaN is never the best."""
    index_R: Ints = np.nan_to_num(goal.sign * scores_RM, nan=-np.inf).argmax(axis=1)
    return index_R


def _alike(chances_M: Floats) -> tuple[int, ...]:
    order = np.argsort(-chances_M, kind="stable")
    held = np.cumsum(chances_M[order])
    return tuple(order[: int(np.searchsorted(held, ALIKE - 1e-9)) + 1].tolist())


def _gain(better: Sequence[Scored], than: Sequence[Scored], *, goal: Goal) -> tuple[float, float]:
    """Return the mean paired difference of scores over the repeats, and its standard error."""
    differences = [
        (
            one.score - other.score - (one.lift - other.lift),
            one.inside_B - other.inside_B,
        )
        for one, other in zip(better, than, strict=True)
    ]
    inside_B = np.mean([inside for _, inside in differences], axis=0)
    gain = goal.sign * float(np.mean([difference for difference, _ in differences]))
    return gain, float(inside_B.std(ddof=1))


def _nested(
    library: Library, *, metric: Metric, max_members: int, seed: int
) -> tuple[Predicted, Predicted, Predicted]:
    """Predict each part by what is chosen on the other parts.

    Returns:
        The predictions of the ensemble with its rule, of the ensemble by argmax, and of the best
        trial.
    """
    once = calibrated(library) if len(library.labels_N) > CALIBRATED_ONCE else None
    part_N, parts = blocks(library.groups_N, len(library.labels_N), most=PARTS, seed=seed)
    mixed_NK = np.empty_like(library.probs[0])
    single_NK = np.empty_like(library.probs[0])
    class_N = np.empty(len(library.labels_N), dtype=np.int64)
    for part in range(parts):
        here = np.flatnonzero(part_N == part)
        rest = library.rows(np.flatnonzero(part_N != part))
        mixture = fit_ensemble(rest, metric=metric, max_members=max_members, calibrations=once)
        predicted = predict(library.rows(here), mixture)
        mixed_NK[here] = predicted.probs_NK
        class_N[here] = predicted.class_N
        best = best_trials(rest, metric=metric, most=1)[0]
        single_NK[here] = library.probs[best][here]
    return (
        Predicted(mixed_NK, class_N),
        Predicted.by_argmax(mixed_NK),
        Predicted.by_argmax(single_NK),
    )
