"""Events of a sweep as lines of text, for terminals and logs. The functions are pure."""

from typing import Any

from sweeps.running.events import (
    EpochFinished,
    Event,
    FoldFinished,
    Notice,
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


def format_value(value: Any) -> str:
    """The value of a parameter as text; a float has three significant digits.

    Example:
        >>> format_value(0.000123456), format_value("adamw")
        ('0.000123', 'adamw')
    """
    return f"{value:.3g}" if isinstance(value, float) else str(value)
