"""Events and counts of a sweep as text, for terminals and logs. The functions are pure."""

from typing import Any

from sweeps.running.events import (
    EpochFinished,
    Event,
    FoldFinished,
    Notice,
    Snapshot,
    TrialStarted,
)


def describe(event: Event) -> str:
    """The event as one line of text."""
    if isinstance(event, Notice):
        return event.text
    if isinstance(event, EpochFinished):
        report = event.report
        at = f"trial {event.number} fold {report.fold + 1} epoch {report.epoch}/{report.epochs}"
        return f"{at}: {report.value:.4f}"
    if isinstance(event, TrialStarted):
        params = "  ".join(f"{name}={format_value(value)}" for name, value in event.params.items())
        return f"trial {event.number} {'continued' if event.continued else 'started'}  {params}"
    if isinstance(event, FoldFinished):
        return f"trial {event.number} fold {event.fold + 1}/{event.k} scored {event.score:.4f}"
    score = (
        f" {event.score:.4f}{' (best so far)' if event.best else ''}"
        if event.score is not None
        else ""
    )
    reason = f": {event.reason}" if event.reason else ""
    return f"trial {event.number} {event.state}{score} after {event.seconds:.1f} s{reason}"


def counts(s: Snapshot) -> str:
    """The counts and the best score of a sweep, on one line."""
    of = f" of {s.cap}" if s.cap is not None else ""
    repeats = f" ({s.repeats} equal to earlier ones do not count)" if s.repeats else ""
    finishes = f" ({s.finishes} that finish pruned ones do not count)" if s.finishes else ""
    interrupted = f", {s.interrupted} interrupted" if s.interrupted else ""
    spread = ""
    if s.leaders and s.leaders[0].std is not None:
        spread = f" ± {s.leaders[0].std:.4f}"
    best = (
        "" if s.best_score is None else f"; best {s.best_score:.4f}{spread} (trial {s.best_number})"
    )
    listed = (
        f"{s.completed} completed, {s.pruned} pruned, {len(s.running)} running, {s.failed} failed"
    )
    return f"{listed}{interrupted}{of}{repeats}{finishes}{best}"


def nothing_completed(end: Snapshot, *, shown_by: str) -> str:
    """What a user is told when a sweep ends without a completed trial.

    Args:
        end: the sweep at its end.
        shown_by: what shows why.
    """
    return (
        f"no trial completed ({end.pruned} pruned, {end.failed} failed); "
        f"`{shown_by}` shows the reasons"
    )


def format_value(value: Any) -> str:
    """The value of a parameter as text; a float has three significant digits.

    Example:
        >>> format_value(0.000123456), format_value("adamw")
        ('0.000123', 'adamw')
    """
    return f"{value:.3g}" if isinstance(value, float) else str(value)
