"""The holdout: score what ships once on images that no fold run has seen.

A holdout is one only as long as nothing is chosen by it. So each look at it is recorded beside the
sweep, and a further look is told how many there were.
"""

import dataclasses
import datetime
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sweeps.errors import InputError
from sweeps.paths import SweepFiles
from sweeps.results.candidates import group_numbers
from sweeps.results.metric import Ints, Predicted
from sweeps.results.resampling import Bootstrap, Interval
from sweeps.shipping.members import find_models, loaded, settle
from sweeps.shipping.predicting import Compute, given_by, predictor_of
from sweeps.shipping.shipped import Shipped
from trainer.data.fold_column import HOLDOUT
from trainer.data.folds import Folds
from trainer.files import write_json
from trainer.prediction.store import Store
from trainer.prediction.unseen import Unseen
from trainer.seeds import derive

WIDTH = 1.96  # standard deviations to each side that hold 95 %


@dataclasses.dataclass(frozen=True)
class Look:
    """One look at the holdout.

    Attributes:
        when: the time, ISO 8601 in local time.
        what: what was scored, for a person: "the ensemble", "trial 12".
        mixture: 16 hex digits that identify what was scored.
        images, groups: the size of the holdout; `groups` is None without groups.
        score: the metric on the holdout.
        error: its standard error, from a bootstrap of the holdout's groups.
        promised: the honest estimate before the look; None if there was none.
    """

    when: str
    what: str
    mixture: str
    images: int
    groups: int | None
    score: float
    error: float
    promised: Interval | None

    @property
    def reach(self) -> float | None:
        """How far score and estimate may lie apart by chance in 95 % of the cases.

        Both have an error: that of the estimate and that of the small holdout.
        """
        if self.promised is None:
            return None
        return WIDTH * float(np.hypot(self.error, self.promised.error))

    @property
    def held(self) -> bool | None:
        """Whether the score is where the estimate promised it; None without an estimate."""
        if self.promised is None or self.reach is None:
            return None
        return abs(self.score - self.promised.value) <= self.reach

    def as_json(self) -> dict[str, Any]:
        """The look as `sweeps best --holdout --json` prints it."""
        return {**dataclasses.asdict(self), "held": self.held}


def score_holdout(
    shipped: Shipped,
    *,
    files: SweepFiles,
    kept: Callable[[], Sequence[int]],
    say: Callable[[str], None],
    compute: Compute,
) -> tuple[Look, list[Look]]:
    """Score what ships on the holdout, and record the look.

    Args:
        files: the files of the sweep.
        kept: see `settle`.
        say: is given sentences that the user should know.
        compute: predicts the images, see `sweeps.shipping.predicting.make_submission`.

    Returns:
        This look, and all earlier looks.

    Raises:
        InputError: the sweep has no holdout, or the weights of a member are gone.
    """
    from trainer.prediction.predicting import mix, plan_of

    rows = np.flatnonzero(shipped.folds.fold_N == HOLDOUT)
    if not len(rows):
        raise InputError(
            f"sweep {shipped.sweep!r} has no holdout: no image was kept from all folds. Set "
            "folds.holdout, e.g. to 0.1, in a new sweep"
        )
    found = loaded(find_models(shipped))
    mixture, notices = settle(shipped, found, kept=kept)
    for notice in notices:
        say(notice)
    unseen = _unseen(shipped.folds, rows)
    predictor = predictor_of(shipped, mixture, found, given_by(shipped, unseen))
    store = Store(files.directory / ".holdout.work")
    predicted = mix(predictor, unseen, compute(plan_of(predictor, unseen), store))
    store.remove()
    labels_N = shipped.folds.manifest.labels_N[rows]
    groups_N = group_numbers(shipped.folds.manifest, rows)
    bootstrap = Bootstrap(
        labels_N,
        groups_N,
        metric=shipped.metric,
        n_classes=predicted.probs_NK.shape[1],
        seed=derive(0, "holdout"),
    )
    scored = bootstrap.scored(
        Predicted(predicted.probs_NK, mixture.decision.of(predicted.probs_NK))
    )
    look = Look(
        when=datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        what=shipped.title,
        mixture=hashlib.sha256(json.dumps(mixture.as_json()).encode()).hexdigest()[:16],
        images=len(rows),
        groups=None if groups_N is None else len(np.unique(groups_N)),
        score=scored.score,
        error=float(scored.inside_B.std(ddof=1)),
        promised=shipped.expected,
    )
    earlier = read_looks(files)
    write_json(files.holdout, [dataclasses.asdict(each) for each in [*earlier, look]])
    return look, earlier


def read_looks(files: SweepFiles) -> list[Look]:
    """Return all looks at the holdout of a sweep, the first one first.

    Raises:
        InputError: their file is damaged.
    """
    try:
        return [_look(values) for values in json.loads(files.holdout.read_text())]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"{files.holdout}: damaged ({error}). It says how often the holdout was looked at. "
            "Move it away to begin anew"
        ) from None


def _look(values: dict[str, Any]) -> Look:
    promised = values.pop("promised")
    return Look(**values, promised=None if promised is None else Interval(**promised))


def explain(look: Look, earlier: Sequence[Look], *, metric: str) -> list[str]:
    """Say what the holdout says, and whether the promise held."""
    of = f"{look.images:,} images"
    if look.groups is not None:
        of += f" of {look.groups:,} groups"
    lines = [f"{metric} of {look.what} on {of}: {look.score:.4f} (standard error {look.error:.4f})"]
    if look.promised is not None and look.reach is not None:
        held = "held" if look.held else "did not hold"
        lines.append(
            f"the promise {held}: {look.promised.value:.4f}, and by chance both may lie "
            f"{look.reach:.4f} apart"
        )
    if earlier:
        others = {each.mixture for each in earlier} - {look.mixture}
        scored = f"; {len(others)} other choices were scored on it" if others else ""
        lines.append(
            f"look number {len(earlier) + 1} at this holdout, the first was on {earlier[0].when}"
            f"{scored}: whoever chooses by it has no holdout any more"
        )
    return lines


def _unseen(folds: Folds, rows: Ints) -> Unseen:
    manifest = folds.manifest
    boxes = manifest.boxes_N4
    return Unseen(
        source="the holdout",
        root=Path(manifest.root),
        paths=tuple(manifest.paths[row] for row in rows.tolist()),
        lines=tuple(manifest.lines[row] for row in rows.tolist()),
        boxes_N4=None if boxes is None else boxes[rows].astype(np.float64),
    )
