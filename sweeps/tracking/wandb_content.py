"""What a run of W&B shows: its rows, its summary, its pictures."""

import logging
from typing import Any

from sweeps.tracking.tracker import End, Epoch, SweepFacts

log = logging.getLogger(__name__)


def row(facts: SweepFacts, epoch: Epoch) -> dict[str, Any]:
    """A row of the history; `_timestamp` is W&B's own name for its time."""
    return {
        "epoch": epoch.epoch,
        **{f"fold-{epoch.fold}/{name}": value for name, value in epoch.metrics.items()},
        facts.metric: epoch.value,
        "_timestamp": epoch.time,
    }


def summary(facts: SweepFacts, end: End) -> dict[str, Any]:
    """The summary of a run at its end; only a completed trial has a value of the metric."""
    score = {} if end.score is None else {facts.metric: end.score}
    return {**end.summary, **score, "state": str(end.state), "reason": end.reason}


def pictures(end: End) -> dict[str, Any]:
    """The pictures as media of W&B: an SVG is a page of its own. One that cannot be read is out."""
    import wandb

    media: dict[str, Any] = {}
    for name, path in end.pictures.items():
        try:
            svg = path.suffix == ".svg"
            media[name] = wandb.Html(path.read_text()) if svg else wandb.Image(str(path))
        except (OSError, ValueError) as error:
            log.warning("%s is not sent to W&B: %s", path, error)
    return media
