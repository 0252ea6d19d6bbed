"""From somebody's data to a first search space that runs as it is."""

import functools
import os
from pathlib import Path

import numpy as np

from sweeps.preparing.draft_file import Draft
from sweeps.preparing.drafting import (
    BACKBONES,
    FROM_SCRATCH,
    PRETRAINED,
    Ladder,
    Machine,
    plan_training,
)
from sweeps.preparing.grouping import grouped
from sweeps.preparing.layouts import layout_of
from sweeps.space.sweep_names import name_problem, sweep_name_of
from trainer.cores import cores
from trainer.data.data_set import Progress
from trainer.errors import ConfigError


def draft_space(
    source: str, *, name: str | None, hours: float, progress: Progress | None = None
) -> Draft:
    """Read the data, ask the machine what it can train, and decide what a first sweep tries.

    Args:
        name: the sweep's name; None for one made of the data's name.
        hours: how long the sweep may take.
        progress: called with (name of the step, images done, all images).

    Raises:
        DataError, InputError: the data cannot be read; the message says what to write.
    """
    layout = layout_of(source)
    data = grouped(layout, progress=progress)
    machine = this_machine()
    ladder, why = choose_ladder()
    sides = data.read.found.sizes_N2.min(axis=1)
    training = plan_training(
        images=len(data.read.found.manifest),
        folds=data.read.folds.k,
        side=int(np.median(sides)),
        ladder=ladder,
        hours=hours,
        machine=machine,
        pace=functools.cache(functools.partial(measured, machine.device)),
    )
    return Draft(
        name=name or sweep_name(source),
        source=source,
        what=layout.what,
        grouped=data,
        training=training,
        machine=machine,
        hours=hours,
        pretrained=ladder.pretrained,
        weights_why=why,
    )


def this_machine() -> Machine:
    """The GPUs of this machine, or its CPUs."""
    import torch

    if torch.cuda.is_available():
        return Machine("cuda", torch.cuda.device_count())
    return Machine("cpu", cores())


def choose_ladder() -> tuple[Ladder, str]:
    """The backbones to choose from, and in one sentence why with or without pretrained weights."""
    from trainer.model import hub

    if hub.answers(PRETRAINED[0]):
        return Ladder(PRETRAINED, True), "pretrained weights come from timm's model hub, once"
    cached = tuple(name for name in PRETRAINED if hub.cached_weights(name) is not None)
    if len(cached) >= BACKBONES:
        why = "the model hub does not answer; these weights are in its cache here"
        return Ladder(cached, True), why
    why = (
        "The model hub does not answer here, and its cache lacks pretrained weights, so networks "
        "begin from nothing. `sweeps init` on a machine with the hub proposes pretrained ones, "
        "which learn far more from few images."
    )
    return Ladder(FROM_SCRATCH, False), why


def measured(device: str, side: int, batch_size: int, backbone: str) -> float:
    """Seconds per trained image on this machine; infinite for a backbone that cannot be built."""
    from trainer.training.pace import seconds_per_image

    # without a GPU, each trial has one CPU
    threads = 1 if device == "cpu" else None
    try:
        return seconds_per_image(
            backbone, side, batch_size=batch_size, device=device, threads=threads
        )
    except ConfigError:
        return float("inf")


def sweep_name(source: str) -> str:
    """A name for a sweep on these data, from the name of the file and of its folder.

    Example:
        >>> sweep_name("data/leaves/train.csv"), sweep_name("My photos/"), sweep_name("/사진")
        ('leaves', 'my-photos', '사진')
    """
    path = Path(os.path.abspath(source))
    parts = [path.parent.name] if path.suffix else [path.name]
    parts += [path.stem] if path.suffix else [path.parent.name]
    for part in parts:
        name = sweep_name_of(part)
        if name.casefold() not in ("data", "images", "train") and not name_problem(name):
            return name
    return "first"
