"""`sweeps check`: validate a search space and its data; start nothing."""

import os
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
    from sweeps.spec_reader import read_spec

    spec = read_spec(space, settings=settings or [])
    folds = cut_folds(spec)
    check_backbones(spec, space)
    _print_space(spec)
    _print_data(spec, folds)
    for notice in spec.notices:
        print(f"note: {notice}", file=sys.stderr)


def _print_space(spec: "SweepSpec") -> None:
    from sweeps.space import Constant

    print(f"sweep      {spec.name}: {spec.metric.goal} {spec.metric.name}, method {spec.method} ({spec.search})")
    ends = [f"{spec.trial_cap} trials"] if spec.trial_cap else []
    ends += [f"{spec.budget.hours} hours"] if spec.budget.hours else []
    print(f"end        {' or '.join(ends)}, {spec.folds.k} folds each, up to {spec.max_epochs} epochs a fold")
    gpu = "one GPU where there is one" if spec.resources.gpu is None else f"{spec.resources.gpu:g} GPU"
    print(f"resources  {spec.resources.cpu} CPU and {gpu} per trial; this machine has {os.cpu_count()} CPU")
    print(f"points     {_points(spec)}")
    for parameter in spec.space.parameters:
        kind = "fixed " if isinstance(parameter.domain, Constant) else "sampled"
        when = "".join(f"  when {name} in {', '.join(map(str, values))}" for name, values in parameter.when)
        print(f"  {kind:8}{parameter.name:14} {_describe(parameter.domain)}{when}")


def _points(spec: "SweepSpec") -> str:
    from sweeps.space import grid_size
    from sweeps.spec import MAX_GRID

    try:
        points = grid_size(spec.space, at_most=MAX_GRID)
    except ValueError:
        return "a continuous space"
    return f"{points:,}{' or more' if points == MAX_GRID else ''}"


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

    from trainer.config import parse_size

    manifest = folds.manifest
    print(f"data       {spec.data.source}: {len(manifest):,} images, {len(manifest.classes)} classes")
    for size in spec.sizes():
        height, width = parse_size(size)
        print(f"  decoded at {size}: {len(manifest) * height * width * 3 / 1e6:,.1f} MB on disk, once")
    counts_KF = np.stack(
        [
            np.bincount(folds.fold_N[manifest.labels_N == label], minlength=folds.k)
            for label in range(len(manifest.classes))
        ]
    )
    print(f"  {'class':20} {'images':>7}  per fold")
    for name, row in zip(manifest.classes, counts_KF, strict=True):
        print(f"  {name:20.20} {row.sum():>7,}  {' '.join(f'{count:>5,}' for count in row)}")
