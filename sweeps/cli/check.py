"""`sweeps check`: validate a search space and its data; start nothing."""

import sys
from typing import TYPE_CHECKING

from sweeps.cli.best import format_value
from sweeps.cli.options import Settings, Space

if TYPE_CHECKING:
    from sweeps.space import Domain
    from sweeps.spec import SweepSpec
    from trainer.data.folds import Folds


def check(space: Space, settings: Settings = None) -> None:
    """Validate a search space, its data and its folds; show what a sweep would do. Starts nothing."""
    from sweeps.prepare import check_backbones, cut_folds
    from sweeps.spec import read_spec

    spec = read_spec(space, settings=settings or [])
    folds = cut_folds(spec)
    check_backbones(spec, space)
    _print_space(spec)
    _print_data(spec, folds)
    for notice in spec.notices:
        print(f"note: {notice}", file=sys.stderr)


def _print_space(spec: "SweepSpec") -> None:
    from sweeps.space import Constant, finite_values, grid

    print(f"sweep      {spec.name}: {spec.metric.goal} {spec.metric.name}, method {spec.method} ({spec.search})")
    cap = f"{spec.trial_cap} trials" if spec.trial_cap else f"{spec.budget.hours} hours"
    print(f"end        {cap}, {spec.folds.k} folds each, up to {spec.max_epochs} epochs a fold")
    try:
        points = (
            sum(len(finite_values(p.domain)) > 0 for p in spec.space.varying())
            and f"{sum(1 for _ in grid(spec.space)):,}"
        )
    except ValueError:
        points = "infinitely many"
    print(f"points     {points or 1}")
    for parameter in spec.space.parameters:
        kind = "fixed " if isinstance(parameter.domain, Constant) else "sampled"
        when = "".join(f"  when {name} in {', '.join(map(str, values))}" for name, values in parameter.when)
        print(f"  {kind:8}{parameter.name:14} {_describe(parameter.domain)}{when}")


def _describe(domain: "Domain") -> str:
    from sweeps.space import Categorical, Constant

    if isinstance(domain, Constant):
        return str(domain.value)
    if isinstance(domain, Categorical):
        return ", ".join(map(str, domain.values))
    how = "whole numbers " if domain.integer else "log scale " if domain.log else ""
    step = f" in steps of {format_value(domain.q)}" if domain.q else ""
    return f"{how}{format_value(domain.low)} to {format_value(domain.high)}{step}"


def _print_data(spec: "SweepSpec", folds: "Folds") -> None:
    import numpy as np

    manifest = folds.manifest
    print(f"data       {spec.data.source}: {len(manifest):,} images, {len(manifest.classes)} classes")
    counts_KF = np.stack(
        [
            np.bincount(folds.fold_N[manifest.labels_N == label], minlength=folds.k)
            for label in range(len(manifest.classes))
        ]
    )
    print(f"  {'class':20} {'images':>7}  per fold")
    for name, row in zip(manifest.classes, counts_KF, strict=True):
        print(f"  {name:20.20} {row.sum():>7,}  {' '.join(f'{count:>5,}' for count in row)}")
