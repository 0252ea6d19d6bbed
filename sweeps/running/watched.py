"""The progress of a stored sweep, as any machine can see it that reads the storage.

The driver's own snapshot knows more: when the epochs ended, and what a new trial does.
"""

from collections.abc import Sequence

from optuna.trial import FrozenTrial, TrialState

from sweeps.results.summary import summarise
from sweeps.results.view import SweepView
from sweeps.running.events import EndState, Phase, Running, Snapshot, TrialEnded
from sweeps.running.shown import STARTING, leader_of
from sweeps.search.tally import LEADERS
from sweeps.space.language import read_space
from sweeps.space.spec import max_epochs
from sweeps.study.records import finish_of, is_history, reason

_ENDS = {
    TrialState.COMPLETE: EndState.COMPLETED,
    TrialState.PRUNED: EndState.PRUNED,
    TrialState.FAIL: EndState.FAILED,
}


def stored_snapshot(view: SweepView) -> Snapshot:
    """The snapshot of a sweep from its storage.

    The time left is that of all trials at the pace of the sweep so far.
    """
    summary = summarise(view)
    own = [trial for trial in view.trials if not is_history(trial, view.name)]
    leaders = [trial for trial in view.ranked() if not is_history(trial, view.name)][:LEADERS]
    space, _ = read_space(view.sweep.spec["parameters"])
    epochs = max_epochs(space)
    best = leaders[0] if leaders else None
    active = [trial for trial in own if trial.state == TrialState.RUNNING]
    return Snapshot(
        completed=summary.completed,
        pruned=summary.pruned,
        failed=summary.failed,
        interrupted=summary.interrupted,
        repeats=summary.taken_over,
        finishes=summary.finishes,
        running=tuple(_running(trial, epochs=epochs, best=best) for trial in active),
        cap=summary.run_cap,
        k=int(view.sweep.spec["folds"]["k"]),
        best_score=None if best is None else best.values[0],
        best_number=None if best is None else best.number,
        elapsed_s=summary.elapsed_s,
        eta_s=_eta_s(
            summary.elapsed_s, left=summary.left.trials, ended=summary.completed + summary.pruned
        ),
        phase=Phase.NOT_DRIVEN if summary.holder is None else Phase.RUNNING,
        spent_s=summary.elapsed_s,
        hours=view.record.hours,
        leaders=tuple(map(leader_of, leaders)),
        last=_last(own, best),
    )


def _running(trial: FrozenTrial, *, epochs: int, best: FrozenTrial | None) -> Running:
    step = trial.last_step
    fold, epoch = (0, 0) if step is None else divmod(step - 1, epochs)
    value = None if step is None else trial.intermediate_values[step]
    known = None if best is None or step is None else best.intermediate_values.get(step)
    return Running(
        trial.number,
        fold,
        0 if step is None else epoch + 1,
        int(trial.params.get("epochs", epochs)),
        value,
        finish_of(trial),
        params=dict(trial.params),
        versus_best=None if known is None or value is None else value - known,
        doing=STARTING if step is None else "",
    )


def _eta_s(elapsed_s: float, *, left: int | None, ended: int) -> float | None:
    return None if left is None or not ended else left * elapsed_s / ended


def _last(
    trials: Sequence[FrozenTrial], best: FrozenTrial | None
) -> tuple[float, TrialEnded] | None:
    """The last trial that ended, with the time of its end."""
    over = [
        (trial.datetime_complete.timestamp(), trial)
        for trial in trials
        if trial.state in _ENDS and trial.datetime_complete is not None
    ]
    if not over:
        return None
    at, trial = max(over, key=lambda one: (one[0], one[1].number))
    state = _ENDS[trial.state]
    score = trial.values[0] if state == EndState.COMPLETED else None
    is_best = best is not None and trial.number == best.number
    seconds = 0.0 if trial.duration is None else trial.duration.total_seconds()
    return at, TrialEnded(trial.number, state, score, reason(trial), is_best, seconds)
