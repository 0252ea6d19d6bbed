"""Choose the members of an ensemble and their weights from out-of-fold probabilities.

Every member is calibrated, weights are found by greedy selection on the log loss, the mixture is
calibrated again, and a rule that fits the metric decides. Greedy selection on the metric itself
follows its noise: `benchmarks/honesty.py` compares the two. The functions are pure.

Shapes: M trials, N images, K classes.
"""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sweeps.results.calibrating import Ints, calibrate, rows_of_whole_groups
from sweeps.results.deciding import NO_GROUPS_KAPPA, decision_for
from sweeps.results.metric import Metric, Predicted
from trainer.metrics import Labels, Probs
from trainer.prediction.calibration import Calibration
from trainer.prediction.mixture import Member, Mixture

MAX_MEMBERS = 5
MOST_CANDIDATES = 25  # trials that are calibrated and considered; they are the best by the metric
ROUNDS = 25  # values above 25 are reported to bring nothing
MOST_ROWS = 200_000  # images whose log loss is compared in each round
TIE = 1e-9


@dataclasses.dataclass(frozen=True, eq=False)
class Library:
    """The out-of-fold probabilities of M trials for the same N images.

    Attributes:
        names: the names of the trials, as `trainer.prediction.mixture.Member` has them.
        probs: for each trial the probabilities (N, K); rows sum to 1.
        groups_N: the group of each image as a number from 0; None without groups.
        columns: the label columns, see `sweeps.results.calibrating.calibrate`.
        costs: what each trial costs, in any unit. Of equally good trials the cheaper is chosen.
    """

    names: Sequence[str]
    probs: Sequence[Probs]
    labels_N: Labels
    groups_N: Ints | None = None
    columns: Sequence[Ints] = ()
    costs: Sequence[float] = ()

    def __len__(self) -> int:
        return len(self.names)

    @property
    def kappa(self) -> float:
        """The number of images in a group, for `sweeps.results.deciding.f1_decision`."""
        if self.groups_N is None:
            return NO_GROUPS_KAPPA
        return len(self.groups_N) / len(np.unique(self.groups_N))

    @functools.cached_property
    def by_argmax(self) -> list[Predicted]:
        """The predictions of each trial alone, as it is."""
        return [Predicted.by_argmax(probs_NK) for probs_NK in self.probs]

    def cost(self, index: int) -> float:
        """The cost of a trial; 0 if costs are not known."""
        return self.costs[index] if self.costs else 0.0

    def rows(self, rows: Ints) -> "Library":
        """Return the library of these images only."""
        return dataclasses.replace(
            self,
            probs=[probs_NK[rows] for probs_NK in self.probs],
            labels_N=self.labels_N[rows],
            groups_N=None if self.groups_N is None else self.groups_N[rows],
        )

    def trials(self, indices: Sequence[int]) -> "Library":
        """Return the library of these trials only, in this order."""
        return dataclasses.replace(
            self,
            names=[self.names[index] for index in indices],
            probs=[self.probs[index] for index in indices],
            costs=[self.cost(index) for index in indices],
        )


def fit_ensemble(
    library: Library,
    *,
    metric: Metric,
    max_members: int = MAX_MEMBERS,
    calibrations: Sequence[Calibration] | None = None,
) -> Mixture:
    """Choose at most `max_members` members with weights, calibrations and a rule.

    The result does not depend on the order of the trials. A metric that is a user's function, of
    which we know nothing, gets the mean of the best trials by that metric.

    Args:
        calibrations: of all trials, if they were fitted before; None fits them here.

    Raises:
        ValueError: the library has no trial.
    """
    if not len(library):
        raise ValueError("an ensemble needs at least one trial")
    candidates = best_trials(library, metric=metric, most=MOST_CANDIDATES)
    shortlist = library.trials(candidates)
    fitted = (
        calibrated(shortlist) if calibrations is None else [calibrations[c] for c in candidates]
    )
    probs = [
        calibration.of(probs_NK)
        for calibration, probs_NK in zip(fitted, shortlist.probs, strict=True)
    ]
    if metric.additive or metric.name == "ece":
        counts = greedy_counts(probs, library.labels_N, max_members=max_members, library=shortlist)
    else:
        counts = np.zeros(len(shortlist), dtype=np.int64)
        counts[:max_members] = 1
    return _mixture(shortlist, counts, fitted, probs, metric=metric)


def mixture_of(library: Library, indices: Sequence[int], *, metric: Metric) -> Mixture:
    """Return the mixture of chosen trials with equal weights, calibrated and with the rule."""
    chosen = library.trials(indices)
    fitted = calibrated(chosen)
    probs = [cal.of(probs_NK) for cal, probs_NK in zip(fitted, chosen.probs, strict=True)]
    return _mixture(chosen, np.ones(len(indices), np.int64), fitted, probs, metric=metric)


def best_trials(library: Library, *, metric: Metric, most: int) -> list[int]:
    """Return the indices of the best trials by the metric of their most probable classes.

    The best trial is first; of equal trials the cheaper is first, then the one whose name comes
    first.
    """
    scores = [metric.score(predicted, library.labels_N) for predicted in library.by_argmax]

    def key(index: int) -> tuple[bool, float, float, str]:
        score = scores[index]
        worst = bool(np.isnan(score))
        signed = 0.0 if worst else -metric.goal.sign * score
        return worst, signed, library.cost(index), library.names[index]

    return sorted(range(len(library)), key=key)[:most]


def calibrated(library: Library) -> list[Calibration]:
    """Return the calibration of each trial."""
    return [
        calibrate(probs_NK, library.labels_N, groups_N=library.groups_N, columns=library.columns)
        for probs_NK in library.probs
    ]


def predict(library: Library, mixture: Mixture) -> Predicted:
    """Return what a mixture of a library's trials predicts for the library's images."""
    index_of = {name: index for index, name in enumerate(library.names)}
    probs_NK = mixture.of(
        {member.name: [library.probs[index_of[member.name]]] for member in mixture.members}
    )
    return Predicted(probs_NK, mixture.decision.of(probs_NK))


def greedy_counts(
    probs: Sequence[Probs], labels_N: Labels, *, max_members: int, library: Library
) -> Ints:
    """Return how often each trial is in the mean of least log loss (M whole numbers).

    In each of ROUNDS rounds, the trial is added that makes the log loss of the mean least; trials
    may be added again. Ties go to a trial that is in already, then to the cheaper trial, then to
    the name that comes first. The shortest prefix of the rounds with the least loss counts.

    Source: Caruana et al. 2004, "Ensemble Selection from Libraries of Models".
    """
    rows = rows_of_whole_groups(library.groups_N, len(labels_N), most=MOST_ROWS)
    own_MN = np.stack([p[rows, labels_N[rows]] for p in probs]).astype(np.float64)
    own_MN = np.maximum(own_MN, np.finfo(np.float32).tiny)
    total_N = np.zeros(len(rows))
    counts = np.zeros(len(probs), dtype=np.int64)
    best = np.inf
    best_counts = counts
    for added in range(1, ROUNDS + 1):
        members = np.flatnonzero(counts)
        open_M = np.arange(len(probs)) if len(members) < max_members else members
        losses = -np.log((total_N + own_MN[open_M]) / added).mean(axis=1)
        ties = open_M[losses <= losses.min() + TIE]
        chosen = min(
            ties.tolist(), key=lambda m: (not counts[m], library.cost(m), library.names[m])
        )
        total_N += own_MN[chosen]
        counts = counts.copy()
        counts[chosen] += 1
        loss = float(-np.log(total_N / added).mean())
        if loss < best - TIE:
            best = loss
            best_counts = counts
    return best_counts


def _mixture(
    library: Library,
    counts: Ints,
    calibrations: Sequence[Calibration],
    probs: Sequence[Probs],
    *,
    metric: Metric,
) -> Mixture:
    """Return the mixture with these numbers of additions of each trial as weights.

    Args:
        probs: the calibrated probabilities of each trial.
    """
    weights = counts / counts.sum()
    order = sorted(np.flatnonzero(counts).tolist(), key=lambda m: (-weights[m], library.names[m]))
    members = tuple(Member(library.names[m], float(weights[m]), calibrations[m]) for m in order)
    mixed_NK: npt.NDArray[np.float32] = np.zeros_like(probs[0])
    for m in order:
        mixed_NK += np.float32(weights[m]) * probs[m]
    final = calibrate(
        mixed_NK, library.labels_N, groups_N=library.groups_N, columns=library.columns
    )
    decision = decision_for(metric.name, final.of(mixed_NK), kappa=library.kappa)
    return Mixture(members, final, decision)
