"""Rehearsals on paper: what one may have measured."""

from trainer.training.rehearsed import Rehearsed


def measured(**changes: object) -> Rehearsed:
    """A rehearsal that took no time, but for `changes`."""
    values = {
        "start_s": 0.0,
        "once_s": 0.0,
        "image_s": 0.0,
        "look_s": 0.0,
        "epoch_s": 0.0,
        "end_s": 0.0,
        "steps": 3,
        "has_statistics": False,
        "memory_bytes": 2**30,
        "memory_kind": "resident memory",
    }
    return Rehearsed(**{**values, **changes})  # type: ignore[arg-type]
