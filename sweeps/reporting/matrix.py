"""The confusion matrix as a chart. The functions are pure.

Shapes: K classes.
"""

from collections.abc import Sequence

import numpy as np

from sweeps.reporting.svg import Chart, cut, drawing, escape, tag

MOST_CLASSES = 30  # with more, the cells are too small; a table names the mistakes
LEFT, SIDE = 130, 560


def confusion_matrix(
    counts_KK: np.ndarray[tuple[int, ...], np.dtype[np.int64]],
    names: Sequence[str],
    *,
    trial: int,
) -> Chart | None:
    """Actual classes down, predicted classes across; None with more than MOST_CLASSES classes."""
    if len(names) > MOST_CLASSES:
        return None
    side = SIDE / len(names)
    top = 22 + 5 * min(17, max(map(len, names)))  # room for the names across
    share_KK = counts_KK / np.maximum(counts_KK.sum(axis=1, keepdims=True), 1)
    parts = []
    for actual, name in enumerate(names):
        y = top + actual * side
        shown = cut(name, 18)
        parts.append(tag("text", escape(shown), x=LEFT - 6, y=y + side / 2 + 4, class_="tick end"))
        x = LEFT + (actual + 0.5) * side
        parts.append(
            tag(
                "text",
                escape(shown),
                class_="tick",
                transform=f"translate({x + 4:.1f} {top - 6}) rotate(-60)",
            )
        )
        for said, other in enumerate(names):
            count = int(counts_KK[actual, said])
            if not count:
                continue
            parts.append(
                tag(
                    "rect",
                    tag("title", escape(f"{name}, predicted {other}: {count:,}")),
                    x=LEFT + said * side,
                    y=y,
                    width=side - 1,
                    height=side - 1,
                    # wrong answers are rare; the root makes them visible
                    fill_opacity=f"{0.06 + 0.94 * float(share_KK[actual, said]) ** 0.5:.2f}",
                    class_="cell",
                )
            )
            if side >= 26:
                dark = share_KK[actual, said] > 0.3
                parts.append(
                    tag(
                        "text",
                        f"{count:,}",
                        x=LEFT + (said + 0.5) * side,
                        y=y + side / 2 + 4,
                        class_="middle on-dark" if dark else "middle on-light",
                    )
                )
    title = f"Confusion matrix of trial {trial}"
    return Chart(
        title,
        drawing(title, *parts, height=top + SIDE + 12),
        "Down: actual class. Across: predicted class, out of fold.",
    )
