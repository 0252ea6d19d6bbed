"""`sweeps fail`: end trials by hand that are not over."""

from collections.abc import Collection, Sequence

from optuna.trial import FrozenTrial, TrialState

from sweeps.errors import InputError

BY_HAND = "ended by hand with `sweeps fail`"
_STATES = {
    TrialState.COMPLETE: "completed",
    TrialState.PRUNED: "was pruned",
    TrialState.FAIL: "has failed",
}


def not_over(trials: Sequence[FrozenTrial], numbers: Collection[int]) -> list[FrozenTrial]:
    """The trials with these numbers, each once and sorted.

    Args:
        trials: all trials of a sweep, sorted by number.

    Raises:
        InputError: a trial is unknown, or over. The message lists all such trials.
    """
    known = {trial.number: trial for trial in trials}
    problems = []
    for number in sorted(set(numbers)):
        if number not in known:
            which = f", only 0 to {len(known) - 1}" if known else " yet"
            problems.append(f"there is no trial {number}{which}")
        elif known[number].state.is_finished():
            problems.append(f"trial {number} {_STATES[known[number].state]} already")
    if problems:
        raise InputError(
            "\n".join(["--trial: " + "; ".join(problems), "`sweeps status` shows which are left"])
        )
    return [known[number] for number in sorted(set(numbers))]
