"""The note of a sweep on the Optuna dashboard: what its numbers mean and how to go on.

The text is Markdown. The function is pure.
"""

from collections.abc import Mapping
from typing import Any

from sweeps.space.domains import Constant
from sweeps.space.spec import SweepSpec


def note_of(spec: SweepSpec, *, data: str, storage: str) -> str:
    """Return the note of a sweep.

    Args:
        data: one line about the data, see `Cut.counts`.
        storage: the database URL without its password.
    """
    metric = spec.metric
    constants = {
        parameter.name: parameter.domain.value
        for parameter in spec.space.parameters
        if isinstance(parameter.domain, Constant)
    }
    varying = ", ".join(f"`{parameter.name}`" for parameter in spec.space.varying())
    again = f"`sweeps run {spec.path.name}`" if spec.text is None else "`foldsweep.run`"
    lines = [
        f"# {spec.name}",
        *([spec.description.strip(), ""] if spec.description.strip() else []),
        f"**Question:** which {varying or 'trial'} gives the best `{metric.name}` "
        f"({metric.goal})? The score of a trial is the mean over {spec.folds.k} folds.",
        "",
        f"**Data:** `{spec.data.source}`: {data}.",
        "",
        "**Intermediate values** are means over the folds so far: of the finished folds and of the "
        "epoch that is trained now. Where a fold begins, a value falls, because an untrained "
        "network joins the mean: a saw-tooth with a tooth for each fold. At one step all trials "
        f"show the same fold (a fold has {spec.max_epochs} steps). So only values at the same step "
        "can be compared.",
        "",
        "**Pruned** trials were stopped, most of them by the fold race: after a fold, if a trial "
        "is too unlikely to beat the best one. Their last value is no score. The importance that "
        "this dashboard shows counts completed trials only, of which a race leaves few; "
        f"`sweeps report {spec.name}` counts all.",
        "",
        f"**Go on:** {again} continues the sweep, `sweeps best {spec.name}` names the ensemble and "
        "what to expect of it on new data.",
        *_table("Always the same", constants),
        "",
        f"Storage: `{storage}`. Edit this note as you like: it is written once.",
    ]
    return "\n".join(lines) + "\n"


def _table(title: str, values: Mapping[str, Any]) -> list[str]:
    if not values:
        return []
    rows = [f"| {name} | {_cell(value)} |" for name, value in values.items()]
    return ["", f"| {title} | |", "|---|---|", *rows]


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
