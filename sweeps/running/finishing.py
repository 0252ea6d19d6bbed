"""The end of a sweep: the pruned trials that help the ensemble most are finished.

A pruned trial stays pruned. A new trial takes over its finished folds, trains the others and is
complete. How many trials are finished says `folds.finish` in the search space. When every trial of
the sweep is over, they are chosen once, by `results.runners_up`; the choice is stored before the
new trials are added.
"""

import concurrent.futures
import functools
import math
import threading
from collections.abc import Callable, Collection, Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from sweeps.errors import InfrastructureError, SweepsError
from sweeps.paths import SweepFiles
from sweeps.results.runners_up import find_runners_up
from sweeps.results.view import SweepView
from sweeps.running.events import Event, Notice
from sweeps.running.finished_folds import take_over_folds
from sweeps.search.distributions import values_of
from sweeps.search.mirror import Mirror
from sweeps.space.spec import SweepSpec
from sweeps.study.recorder import Recorder
from sweeps.study.records import (
    FINISHES,
    Finishes,
    SweepRecord,
    counts,
    finish_of,
    fold_scores,
    is_finish,
    took_over,
)
from sweeps.study.stored_sweep import StoredSweep
from trainer.errors import TrainerError
from trainer.metrics import Goal

# All trials, the pruned trials to choose from, and the largest number to choose; returns numbers of
# the chosen trials, the most helpful first.
Choose = Callable[[Sequence[FrozenTrial], Sequence[FrozenTrial], int], Sequence[int]]


class Finishing:
    """The trials that finish pruned trials at the end of a sweep.

    The caller of each method holds the driver's lock. To choose takes seconds, because the
    out-of-fold predictions of all trials are read; it happens on another thread.
    """

    def __init__(
        self,
        spec: SweepSpec,
        files: SweepFiles,
        mirror: Mirror,
        recorder: Recorder,
        *,
        known: Finishes,
        choose: Choose,
        notify: Callable[[Event], None],
    ) -> None:
        """Prepare; nothing is chosen yet.

        Args:
            known: the choice that an earlier driver of the sweep stored.
        """
        self._spec = spec
        self._files = files
        self._mirror = mirror
        self._recorder = recorder
        self._known = known
        self._choose = choose
        self._notify = notify
        self._finished = _finished(mirror.trials())
        self._choice: concurrent.futures.Future[Sequence[int]] | None = None
        self._failed = False

    @property
    def over(self) -> bool:
        """Whether this driver adds no more trials."""
        return self._failed or nothing_left(
            self._spec, self._known, trials=self._mirror.tally.asked, finished=self._finished
        )

    @property
    def expected(self) -> int:
        """The largest number of trials that may still be added, for the estimated time."""
        if self.over:
            return 0
        if self._chosen:
            return len(self._missing)
        pruned = self._mirror.tally.states[TrialState.PRUNED]
        return min(self._most, pruned)

    def add(self) -> list[int]:
        """Choose, or add what was chosen; call it while no trial runs and until it is over.

        Returns:
            The numbers of the new trials, which wait. It is empty while the choice is not made, and
            if no trial is to be finished.
        """
        if not self._chosen:
            choice = self._choice_now()
            if choice is None:
                return []
            # stored first: the next driver does not choose again if this one is killed now
            self._known = Finishes(self._mirror.tally.asked, tuple(choice))
            self._recorder.about_sweep(FINISHES, self._known.as_json())
        return [self._added(of) for of in self._missing]

    @property
    def _most(self) -> int:
        return most_to_finish(
            self._spec, trials=self._mirror.tally.asked, finished=len(self._finished)
        )

    @property
    def _chosen(self) -> bool:
        return self._known.trials == self._mirror.tally.asked

    @property
    def _missing(self) -> list[int]:
        return [number for number in self._known.of if number not in self._finished]

    def _choice_now(self) -> Sequence[int] | None:
        """The choice, or None while another thread makes it, and after that thread failed."""
        if self._choice is None:
            pruned = may_be_finished(self._mirror.trials(), self._spec)
            if not pruned:
                return []
            among = "1 pruned trial" if len(pruned) == 1 else f"{len(pruned)} pruned trials"
            self._notify(Notice(f"looking for what helps the ensemble among {among}"))
            self._choice = _on_a_thread(
                functools.partial(self._choose, self._mirror.trials(), pruned, self._most)
            )
        if not self._choice.done():
            return None
        try:
            chosen = self._choice.result()
        except (TrainerError, SweepsError, OSError) as error:
            self._failed = True
            self._notify(Notice(f"no pruned trial is finished for the ensemble: {error}"))
            return None
        if not chosen:
            self._notify(Notice("no pruned trial would help the ensemble: none is finished"))
        return chosen

    def _added(self, of: int) -> int:
        """Add the trial that finishes the pruned trial `of`, and return its number."""
        trial = self._mirror.finish(of)
        number = trial.number
        self._finished.add(of)
        self._recorder.start(trial, files=lambda: self._take_folds_over(of, number))
        taken = f"{len(fold_scores(self._mirror[of]))} of {self._spec.folds.k} folds taken over"
        self._notify(
            Notice(f"trial {number} finishes trial {of} ({taken}): it helps the ensemble most")
        )
        return number

    def _take_folds_over(self, of: int, number: int) -> None:
        """Put the finished folds of trial `of` into the directory of trial `number`."""
        target = self._files.trial(number).directory
        try:
            take_over_folds(self._files.trial(of).directory, target, without_weights=True)
        except OSError as error:
            raise InfrastructureError(
                f"{target}: the finished folds of trial {of} cannot be put there "
                f"({error.strerror}). Run the same command again to continue"
            ) from None


def chooser(sweep: StoredSweep, record: SweepRecord, *, files: SweepFiles, goal: Goal) -> Choose:
    """The function that chooses by the out-of-fold predictions in the sweep's directory."""

    def choose(
        trials: Sequence[FrozenTrial], pruned: Sequence[FrozenTrial], most: int
    ) -> Sequence[int]:
        view = SweepView(sweep, trials, record, goal)
        return find_runners_up(view, pruned, runs=files.directory.parent, most=most)

    return choose


def most_to_finish(spec: SweepSpec, *, trials: int, finished: int) -> int:
    """How many more pruned trials may be finished.

    Args:
        trials: the number of trials that count towards the cap.
        finished: the number of trials that were finished before.
    """
    return max(0, min(spec.folds.finish, trials // 4 - finished)) if spec.prunes else 0


def nothing_left(
    spec: SweepSpec, known: Finishes, *, trials: int, finished: Collection[int]
) -> bool:
    """Whether no pruned trial is to be finished any more.

    Args:
        known: the last choice.
        trials: the number of trials that count towards the cap.
        finished: numbers of the pruned trials that other trials finish.
    """
    if spec.folds.finish == 0:
        return True
    if known.trials == trials:
        return set(known.of) <= set(finished)
    return most_to_finish(spec, trials=trials, finished=len(finished)) == 0


def all_over(spec: SweepSpec, trials: Sequence[FrozenTrial], known: Finishes) -> bool:
    """Whether a stored sweep has all trials up to its cap, and all that finish pruned ones.

    Args:
        spec: the search space, see `SweepSpec.as_begun`.
        trials: all trials of the sweep.
        known: the last choice of trials to finish.
    """
    counted = sum(counts(trial, spec.name) for trial in trials)
    return (
        spec.trial_cap is not None
        and counted >= spec.trial_cap
        and all(trial.state.is_finished() for trial in trials)
        and nothing_left(spec, known, trials=counted, finished=_finished(trials))
    )


def may_be_finished(trials: Sequence[FrozenTrial], spec: SweepSpec) -> list[FrozenTrial]:
    """The pruned trials that a new trial could finish, ordered by number.

    Left out are trials whose result belongs to another trial, trials without a finished fold or
    with a score that is not finite, those that were finished already or have the parameters of a
    complete trial, and those with `checkpoint: best`: their kept epochs are gone, from which one
    epoch would be chosen for all folds.
    """
    finished = _finished(trials)
    complete = {_point(trial) for trial in trials if trial.state == TrialState.COMPLETE}
    return [
        trial
        for trial in trials
        if trial.state == TrialState.PRUNED
        and not (took_over(trial) or is_finish(trial) or trial.number in finished)
        and (scores := fold_scores(trial))
        and all(map(math.isfinite, scores))
        and _point(trial) not in complete
        and values_of(spec.space, trial.params).get("checkpoint") != "best"
    ]


def _finished(trials: Sequence[FrozenTrial]) -> set[int]:
    """Numbers of the pruned trials that other trials finish."""
    return {number for trial in trials if (number := finish_of(trial)) is not None}


def _point(trial: FrozenTrial) -> str:
    return repr(sorted(trial.params.items()))  # as text, 1, 1.0 and True differ


def _on_a_thread(call: Callable[[], Any]) -> "concurrent.futures.Future[Any]":
    """Call a function on a thread that ends with the process."""
    future: concurrent.futures.Future[Any] = concurrent.futures.Future()

    def work() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001 - raised again where the result is asked for
            future.set_exception(error)

    threading.Thread(target=work, name="finishing", daemon=True).start()
    return future
