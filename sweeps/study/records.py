"""What the storage holds about a sweep and its trials: the keys of the attributes, and their meaning.

Whoever wants to know something about a stored trial asks a function here; nobody else reads its attributes. A trial
of a study is a trial of the sweep itself, or *history*: a finished trial of another sweep, taken over by `warm_start`.
"""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from optuna.trial import FrozenTrial

from trainer.metrics import Goal

FORMAT = 1  # of what is stored; a higher number was stored by a newer version

# attributes of the study
SWEEP = "foldsweep"  # format, uuid, metric, spec
ELAPSED = "elapsed_s"  # seconds that drivers have spent on the sweep
GPU_SECONDS = "gpu_s"  # seconds times GPUs that trials have had
CAP = "run_cap"  # number of trials in all, as of the last driver
BUDGET = "budget"  # the limits of the last driver
WARM_STARTED = "warm_started"  # how many trials each other sweep gave, by its name
DRIVEN = "driven"  # when the last driver began, seconds since 1970

# attributes of a trial
FOLD_SCORES = "fold_scores"
REASON = "reason"  # of a pruned or failed trial, or of one that took a result over
NOTES = "notes"  # what a reader of the score should know
TRACEBACK = "traceback"  # of a failed trial
INTERRUPTED = "interrupted"  # the trial was interrupted at least once
RETRY_OF = "retry_of"  # number of the failed trial whose seed and finished folds it has
TAKEN_FROM = "taken_from"  # {"sweep", "trial"} whose result it has; "repeats": the trial of this sweep that it equals
START_POINT = "start_point"  # the entry of `start_with` that it began as, as JSON


@dataclasses.dataclass(frozen=True)
class SweepRecord:
    """What the storage holds about a sweep as a whole.

    Attributes:
        identity: format, uuid, metric, and the fixed part of the spec; empty for a study of another program.
        elapsed_s: wall-clock seconds that all drivers have spent.
        gpu_s: seconds times GPUs that all trials have had.
        run_cap: number of trials in all, as of the last driver; None if there was no limit.
        hours, gpu_hours, target: the other limits of the last driver; None where there was none.
        warm_started: how many trials each other sweep gave, by its name.
        driven: when the last driver began, seconds since 1970; 0 if there was none.
    """

    identity: Mapping[str, Any]
    elapsed_s: float
    gpu_s: float
    run_cap: int | None
    hours: float | None
    gpu_hours: float | None
    target: float | None
    warm_started: Mapping[str, int]
    driven: float

    @classmethod
    def of(cls, attributes: Mapping[str, Any]) -> "SweepRecord":
        """Read the attributes of a study."""
        budget = attributes.get(BUDGET, {})
        return cls(
            identity=attributes.get(SWEEP, {}),
            elapsed_s=float(attributes.get(ELAPSED, 0.0)),
            gpu_s=float(attributes.get(GPU_SECONDS, 0.0)),
            run_cap=attributes.get(CAP),
            hours=budget.get("hours"),
            gpu_hours=budget.get("gpu_hours"),
            target=budget.get("target"),
            warm_started=attributes.get(WARM_STARTED, {}),
            driven=float(attributes.get(DRIVEN, 0.0)),
        )

    @property
    def format(self) -> int:
        """The format that the sweep was stored in."""
        return int(self.identity.get("format", 1))


@dataclasses.dataclass(frozen=True)
class Origin:
    """The trial that was trained: the trial itself, or the one whose result it took over."""

    sweep: str
    number: int


def origin(trial: FrozenTrial, *, sweep: str) -> Origin:
    """Where the result of a trial of `sweep` comes from."""
    taken = trial.user_attrs.get(TAKEN_FROM)
    return Origin(sweep, trial.number) if taken is None else Origin(taken["sweep"], taken["trial"])


def taken_from(source: Origin, *, repeats: int | None = None) -> dict[str, Any]:
    """The attribute of a trial that takes the result of another one over.

    Args:
        source: the trial that was trained.
        repeats: number of the trial of the same sweep whose parameters are equal; None for history.
    """
    value: dict[str, Any] = {"sweep": source.sweep, "trial": source.number}
    return {TAKEN_FROM: value if repeats is None else {**value, "repeats": repeats}}


def took_over(trial: FrozenTrial) -> bool:
    """Whether its result is another trial's, of this sweep or another one."""
    return TAKEN_FROM in trial.user_attrs


def is_history(trial: FrozenTrial, sweep: str) -> bool:
    """Whether it is a trial of another sweep, taken over by `warm_start`."""
    taken = trial.user_attrs.get(TAKEN_FROM, {})
    return bool(taken.get("sweep", sweep) != sweep) and not is_repeat(trial)


def is_repeat(trial: FrozenTrial) -> bool:
    """Whether it was proposed and took over the result of an equal trial instead of training again."""
    return "repeats" in trial.user_attrs.get(TAKEN_FROM, {})


def is_retry(trial: FrozenTrial) -> bool:
    """Whether it evaluates a failed trial once more."""
    return RETRY_OF in trial.user_attrs


def root_of(trial: FrozenTrial) -> int:
    """Number of the first attempt: the trial itself, or the failed trial that it retries. All have its seed.

    Example:
        >>> from optuna.trial import create_trial
        >>> root_of(create_trial(value=0.9, user_attrs={"retry_of": 3}))
        3
    """
    return int(trial.user_attrs.get(RETRY_OF, trial.number))


def counts(trial: FrozenTrial, sweep: str) -> bool:
    """Whether it counts towards `run_cap`: history does not, and a retry has the place of what it retries."""
    return not is_retry(trial) and not is_history(trial, sweep)


def score_key(score: float, number: int, *, goal: Goal) -> tuple[float, int]:
    """Sorts complete trials best first; of equal ones the lower number comes first. Optuna stores no NaN as a score."""
    return -goal.sign * score, number


def fold_scores(trial: FrozenTrial) -> tuple[float, ...]:
    """Scores of the finished folds, in fold order; empty while the trial runs."""
    return tuple(trial.user_attrs.get(FOLD_SCORES, ()))


def reason(trial: FrozenTrial) -> str:
    """Why it was pruned, why it failed, or whose result it took over; else empty."""
    return str(trial.user_attrs.get(REASON, ""))


def notes(trial: FrozenTrial) -> list[str]:
    """What a reader of its score should know."""
    return list(trial.user_attrs.get(NOTES, ()))


def start_point(trial: FrozenTrial) -> str | None:
    """The entry of `start_with` that it began as, in the form of `start_text`; None for any other trial."""
    return trial.user_attrs.get(START_POINT)


def start_text(point: Mapping[str, Any]) -> str:
    """An entry of `start_with` as it is stored."""
    return json.dumps(point, sort_keys=True)
