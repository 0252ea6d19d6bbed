"""The attributes that the storage holds about a sweep and its trials: their keys and their meaning.

Other modules call the functions of this module and never read the attributes of a stored trial. A
trial of a study is a trial of the sweep itself, or *history*. History is a finished trial of
another sweep, taken over by `warm_start`.
"""

import dataclasses
import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from trainer.metrics import Goal

# The format of the stored attributes; a newer version of foldsweep stores a higher number. A sweep
# keeps the format in which it began. In formats 1 and 2, all attributes of the study are user
# attributes. Since format 3 they are system attributes, whose keys begin with INTERNAL: the Optuna
# dashboard shows user attributes to everybody, and these are of use to foldsweep only. The user
# attribute SWEEP is left, with format, uuid and metric: an older version reads it and refuses.
FORMAT = 3
INTERNAL_SINCE = 3
INTERNAL = "foldsweep:"
# In format 1 these fields had these values where a search space did not name them. A trial of such
# a sweep keeps them, so that it continues from its checkpoints and can be compared with the others.
DEFAULTS_OF_1: dict[str, Any] = {
    "weight_decay": 0.0,
    "step_epochs": 7,
    "epoch_gamma": 0.9,
    "base_lr": 1e-5,
    "cycle_epochs": 2.0,
}

# attributes of the study
SWEEP = "foldsweep"  # a mapping: format, uuid, metric, spec, finish
ELAPSED = "elapsed_s"  # seconds that drivers have spent on the sweep
GPU_SECONDS = "gpu_s"  # seconds times GPUs that trials have had
CAP = "run_cap"  # total number of trials, as set by the last driver
BUDGET = "budget"  # the other limits that the last driver had
WARM_STARTED = "warm_started"  # number of trials taken over, by the name of the other sweep
BEGUN = "begun"  # start of the first driver, seconds since 1970
DRIVEN = "driven"  # start of the last driver, seconds since 1970
COMMAND = "command"  # what a user types to continue the sweep
REPLACED = "replaced"  # the sweep starts over, so these trials are about to be deleted
BROKEN = "broken"  # numbers of the trials whose equal failures ended the last driver
FINISHES = "finishes"  # {"trials", "of"}: see Finishes

# attributes of a trial
FOLD_SCORES = "fold_scores"
REASON = "reason"  # of a pruned or failed trial, or of a trial that took a result over
# the reason of a trial that another program marked as failed
ENDED_ELSEWHERE = "another program ended it, e.g. `Fail Trial` in the Optuna dashboard"
NOTES = "notes"  # facts that a reader of the score should know
INTERRUPTED = "interrupted"  # the trial was interrupted at least once
RETRY_OF = "retry_of"  # number of the failed trial; the retry uses its seed and finished folds
# {"trial", "root"}: number of the pruned trial that the trial finishes, and `root_of` it;
# the finishing trial uses its seed and finished folds
FINISH_OF = "finish_of"
# {"sweep", "trial"}: the trained trial whose result the trial took over;
# "repeats": number of the trial of the same sweep that has equal parameters
TAKEN_FROM = "taken_from"
START_POINT = "start_point"  # the entry of `start_with` that the trial began as, as JSON
# Numbers of a completed trial, see `Numbers`; the Optuna dashboard makes a column of each. A number
# that is not known has no attribute. Before 2026-11-28, no trial had them, and a failed trial had
# its traceback as an attribute; today it is in TrialFiles.error.
STD = "std"
WORST_FOLD = "worst_fold"
OOF_SCORE = "oof"
SECONDS = "seconds"
IMAGES_PER_S = "images_per_s"
PARAMETERS = "parameters"


@dataclasses.dataclass(frozen=True)
class Finishes:
    """The last choice of pruned trials that are finished for the ensemble, see `folds.finish`.

    It is stored before the trials that finish them are added. So a driver that follows a killed
    one adds those that are missing, and does not choose again.

    Attributes:
        trials: the number of trials that counted towards the cap when the choice was made; 0 if
            there was none.
        of: numbers of the pruned trials, the most helpful first.
    """

    trials: int = 0
    of: tuple[int, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The value of the attribute FINISHES."""
        return {"trials": self.trials, "of": list(self.of)}


@dataclasses.dataclass(frozen=True)
class SweepRecord:
    """The attributes of a sweep as a whole, as the storage holds them.

    Attributes:
        identity: format, uuid, metric, the fixed part of the spec, and its `folds.finish`, which
            sweeps before 2026-11-28 do not have; empty for a study of another program.
        elapsed_s: wall-clock seconds that all drivers have spent.
        gpu_s: seconds times GPUs that all trials have had.
        run_cap: total number of trials, as set by the last driver; None without a limit.
        hours, gpu_hours, target: the other limits that the last driver had; None without a limit.
        warm_started: number of trials taken over, by the name of the other sweep.
        begun: start of the first driver, in seconds since 1970; None if the sweep had none yet, or
            began before 2026-11-28.
        driven: start of the last driver, in seconds since 1970; 0 if the sweep had no driver yet.
        finishes: the last choice of pruned trials to finish.
        broken: numbers of the trials whose equal failures ended the last driver, until they are
            repeated.
        command: what a user types to continue the sweep; None if it was run from Python, or last
            before 2026-11-28.
        replaced: whether a driver began to delete these trials, see `upkeep.deletion.start_over`.
    """

    identity: Mapping[str, Any]
    elapsed_s: float
    gpu_s: float
    run_cap: int | None
    hours: float | None
    gpu_hours: float | None
    target: float | None
    warm_started: Mapping[str, int]
    begun: float | None
    driven: float
    finishes: Finishes
    broken: tuple[int, ...] = ()
    command: str | None = None
    replaced: bool = False

    @classmethod
    def of(cls, shown: Mapping[str, Any], internal: Mapping[str, Any]) -> "SweepRecord":
        """Make the record from the user attributes and the system attributes of a study."""
        ours = {
            key.removeprefix(INTERNAL): value
            for key, value in internal.items()
            if key.startswith(INTERNAL)
        }
        attributes = {**shown, **ours}
        budget = attributes.get(BUDGET, {})
        finishes = attributes.get(FINISHES, {"trials": 0, "of": []})
        return cls(
            identity=attributes.get(SWEEP, {}),
            elapsed_s=float(attributes.get(ELAPSED, 0.0)),
            gpu_s=float(attributes.get(GPU_SECONDS, 0.0)),
            run_cap=attributes.get(CAP),
            hours=budget.get("hours"),
            gpu_hours=budget.get("gpu_hours"),
            target=budget.get("target"),
            warm_started=attributes.get(WARM_STARTED, {}),
            begun=attributes.get(BEGUN),
            driven=float(attributes.get(DRIVEN, 0.0)),
            finishes=Finishes(int(finishes["trials"]), tuple(finishes["of"])),
            broken=tuple(attributes.get(BROKEN, ())),
            command=attributes.get(COMMAND),
            replaced=bool(attributes.get(REPLACED, False)),
        )

    @property
    def format(self) -> int:
        """The format in which the sweep was stored."""
        return int(self.identity.get("format", 1))

    @property
    def defaults(self) -> Mapping[str, Any]:
        """The values of fields that a trial has if its search space does not name the fields.

        All other fields have the defaults of TrainConfig.
        """
        return DEFAULTS_OF_1 if self.format == 1 else {}


@dataclasses.dataclass(frozen=True)
class Origin:
    """The trial that was trained for a result.

    That is the trial with the result, or another trial, if the result was taken over.
    """

    sweep: str
    number: int


def origin(trial: FrozenTrial, *, sweep: str) -> Origin:
    """The trial that was trained for the result of a trial of `sweep`."""
    taken = trial.user_attrs.get(TAKEN_FROM)
    return Origin(sweep, trial.number) if taken is None else Origin(taken["sweep"], taken["trial"])


def taken_from(source: Origin, *, repeats: int | None = None) -> dict[str, Any]:
    """The attribute of a trial that takes over the result of another trial.

    Args:
        source: the trial that was trained.
        repeats: number of the trial of the same sweep that has equal parameters; None for history.
    """
    value: dict[str, Any] = {"sweep": source.sweep, "trial": source.number}
    return {TAKEN_FROM: value if repeats is None else {**value, "repeats": repeats}}


def took_over(trial: FrozenTrial) -> bool:
    """Whether the trial took over the result of another trial, of the same or another sweep."""
    return TAKEN_FROM in trial.user_attrs


def is_history(trial: FrozenTrial, sweep: str) -> bool:
    """Whether the trial is a trial of another sweep, taken over by `warm_start`."""
    taken = trial.user_attrs.get(TAKEN_FROM, {})
    return bool(taken.get("sweep", sweep) != sweep) and not is_repeat(trial)


def is_repeat(trial: FrozenTrial) -> bool:
    """Whether the sampler proposed the trial and it took over the result of an equal trial.

    Such a trial is not trained again.
    """
    return "repeats" in trial.user_attrs.get(TAKEN_FROM, {})


def is_retry(trial: FrozenTrial) -> bool:
    """Whether the trial evaluates a failed trial once more."""
    return RETRY_OF in trial.user_attrs


def finish_of(trial: FrozenTrial) -> int | None:
    """Number of the pruned trial that the trial finishes, or None."""
    finished = trial.user_attrs.get(FINISH_OF)
    return None if finished is None else int(finished["trial"])


def is_finish(trial: FrozenTrial) -> bool:
    """Whether the trial finishes a pruned trial."""
    return FINISH_OF in trial.user_attrs


def finishing(pruned: FrozenTrial) -> dict[str, Any]:
    """The attributes of a new trial that finishes a pruned trial."""
    return {FINISH_OF: {"trial": pruned.number, "root": root_of(pruned)}}


def retrying(failed: FrozenTrial) -> dict[str, Any]:
    """The attributes of a new trial that evaluates a failed trial once more.

    The retry of a trial that finishes a pruned trial finishes that trial, too.
    """
    kept = {key: failed.user_attrs[key] for key in (FINISH_OF,) if key in failed.user_attrs}
    return {RETRY_OF: root_of(failed), **kept}


def root_of(trial: FrozenTrial) -> int:
    """Number of the first attempt: the trial that a retry repeats, or that a trial finishes.

    It is the number of the trial itself if there was no earlier attempt. All attempts have the seed
    of the first one.

    Example:
        >>> from optuna.trial import create_trial
        >>> root_of(create_trial(value=0.9, user_attrs={"retry_of": 3}))
        3
        >>> root_of(create_trial(value=0.9, user_attrs={"finish_of": {"trial": 7, "root": 3}}))
        3
    """
    finished = trial.user_attrs.get(FINISH_OF, {"root": trial.number})
    return int(trial.user_attrs.get(RETRY_OF, finished["root"]))


def counts(trial: FrozenTrial, sweep: str) -> bool:
    """Whether the trial counts towards `run_cap`.

    History does not count. A retry does not count, because the failed trial counts already, and a
    trial that finishes a pruned one does not count for the same reason. A repeat does not count,
    because it trains nothing.
    """
    return not (is_retry(trial) or is_finish(trial) or is_repeat(trial) or is_history(trial, sweep))


def score_key(score: float, number: int, *, goal: Goal) -> tuple[float, int]:
    """Key that sorts complete trials best first; among equal scores, the lower number comes first.

    NaN needs no rule, because Optuna does not store NaN as a score.
    """
    return -goal.sign * score, number


def fold_scores(trial: FrozenTrial) -> tuple[float, ...]:
    """Scores of the trial's finished folds, in fold order; empty while the trial runs."""
    return tuple(trial.user_attrs.get(FOLD_SCORES, ()))


def with_fold_scores(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """The complete and pruned trials with finished folds.

    A pruned trial that another trial finished is left out, because that trial has its scores.
    """
    over = [
        trial
        for trial in trials
        if trial.state in (TrialState.COMPLETE, TrialState.PRUNED) and fold_scores(trial)
    ]
    finished = {finish_of(trial) for trial in over if trial.state == TrialState.COMPLETE}
    return [trial for trial in over if trial.number not in finished]


def reason(trial: FrozenTrial) -> str:
    """Why the trial was pruned or failed, or whose result it took over; empty for other trials.

    A driver stores the reason of each failed trial. Without one, another program ended the trial:
    nothing can be stored about a trial that is over.
    """
    elsewhere = ENDED_ELSEWHERE if trial.state == TrialState.FAIL else ""
    return str(trial.user_attrs.get(REASON, elsewhere))


def numbers(trial: FrozenTrial) -> dict[str, float]:
    """The numbers of a completed trial that are known, see STD and the keys after it."""
    keys = (STD, WORST_FOLD, OOF_SCORE, SECONDS, IMAGES_PER_S, PARAMETERS)
    return {key: trial.user_attrs[key] for key in keys if key in trial.user_attrs}


def spread(fold_scores: Sequence[float], *, goal: Goal) -> dict[str, float]:
    """The attributes of a completed trial that follow from the scores of its folds.

    Example:
        >>> spread([0.5, 0.75], goal=Goal.MINIMIZE)
        {'worst_fold': 0.75, 'std': 0.1767766952966369}
    """
    known = {WORST_FOLD: goal.worst(fold_scores)}
    return {**known, STD: statistics.stdev(fold_scores)} if len(fold_scores) > 1 else known


def notes(trial: FrozenTrial) -> list[str]:
    """Facts that a reader of the trial's score should know."""
    return list(trial.user_attrs.get(NOTES, ()))


def start_point(trial: FrozenTrial) -> str | None:
    """The entry of `start_with` that the trial began as, in the form of `start_text`, or None."""
    return trial.user_attrs.get(START_POINT)


def start_text(point: Mapping[str, Any]) -> str:
    """The text that is stored for an entry of `start_with`."""
    return json.dumps(point, sort_keys=True)
