"""`sweeps check --train`: rehearse the trials of a search space, and show what the sweep costs."""

import dataclasses
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.cores import cores

if TYPE_CHECKING:
    from sweeps.paths import SweepFiles
    from sweeps.preparing.cost import Cost, Line, Machine
    from sweeps.preparing.rehearsal import Found
    from sweeps.preparing.side_by_side import Speed
    from sweeps.preparing.stage import Stage
    from sweeps.space.spec import SweepSpec
    from trainer.config import TrainConfig
    from trainer.data.cut import Cut
    from trainer.training.rehearsed import Gpus, Order, Outcome

STEPS_S = 0.5  # how long the steps of a rehearsal are timed
BESIDE_S = 2.0  # the same, of trials side by side
SIMULATED = "how much the race saves is simulated, see docs/search-spaces.md"


@dataclasses.dataclass(frozen=True)
class Rehearsal:
    """What the rehearsals of a search space say.

    Attributes:
        gpus: the GPUs that were used; None on the CPU.
        speeds: what was measured side by side.
        took_s: seconds of all rehearsals.
    """

    found: "Found"
    cost: "Cost | None"
    gpus: "Gpus | None"
    speeds: "tuple[Speed, ...]"
    memory_kind: str
    took_s: float


def rehearse(spec: "SweepSpec", cut: "Cut", files: "SweepFiles", *, minutes: float) -> Rehearsal:
    """Rehearse, and keep the estimate for `sweeps run`.

    Args:
        spec: the search space with the number of folds of the cut.

    Raises:
        InputError: this machine has no room for a trial, see trials_at_once.
        SpecError: a choice of the space fails, with its line.
    """
    from sweeps.cli.progress import telling
    from sweeps.preparing.cost import cost, keep
    from sweeps.preparing.feasible import refuse
    from sweeps.preparing.rehearsal import Combination, combinations, rehearse_space
    from sweeps.preparing.stage import Stage
    from sweeps.running.finishing import most_to_finish
    from trainer.data.fold_files import save_folds
    from trainer.images.cache import plan_cache
    from trainer.training.rehearsal import excerpt
    from trainer.training.rehearsed import Order, Size

    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, Stage() as stage, telling() as tell:
        tell("starting a process to rehearse in")
        gpus = stage.gpus() if spec.resources.gpu != 0 else None
        machine = _machine(spec, gpus)
        largest = max(each.batch_size for each in combinations(spec))
        save_folds(excerpt(cut.folds, batch_size=largest), Path(folder) / "folds.npz")
        plan = plan_cache(
            spec.choices(), images=len(cut.folds.manifest), cache_gb=spec.data.cache_gb
        )

        def order(config: "TrainConfig", seconds: float) -> "Order":
            return Order(
                config,
                folds_file=Path(folder) / "folds.npz",
                size=Size.of(cut.folds),
                device=machine.device,
                threads=machine.threads,
                seconds=seconds,
                code=spec.folder,
                streamed=tuple(how.key for how in plan.streamed),
            )

        def act(config: "TrainConfig", seconds: float) -> "Outcome":
            tell(f"rehearsing {Combination.of(config)}")
            return stage.act(order(config, seconds))

        found = rehearse_space(
            spec, act, seconds=60 * minutes, each_s=STEPS_S, clock=time.monotonic
        )
        refuse(found.problems, spec)
        speeds: tuple[Speed, ...] = ()
        kind = ""
        if found.measured:
            tell("rehearsing side by side")
            typical = _typical(found)
            kind = found.measured[Combination.of(typical)][0][1].memory_kind
            speeds, factor = _beside(order(typical, BESIDE_S), stage, machine, gpus)
            machine = dataclasses.replace(machine, slowdown=factor)
        finishes = most_to_finish(spec, trials=spec.trial_cap or 0, finished=0)
        estimate = cost(spec, found, size=Size.of(cut.folds), machine=machine, finishes=finishes)
    if estimate is not None:
        keep(files, spec, estimate)
    return Rehearsal(found, estimate, gpus, speeds, kind, time.monotonic() - began)


def _machine(spec: "SweepSpec", gpus: "Gpus | None") -> "Machine":
    """What a trial gets on this machine."""
    from sweeps.preparing.cost import Machine
    from sweeps.ray_tune.cluster import Cluster, resolve, threads, trials_at_once

    here = Cluster(cpus=cores(), gpus=0 if gpus is None else gpus.count)
    at_once = trials_at_once(spec.resources, here)
    device = "cuda" if resolve(spec.resources, here).gpu else "cpu"
    at_once = min(at_once, spec.trial_cap or at_once)
    return Machine(device, threads(spec.resources, here), at_once)


def _typical(found: "Found") -> "TrainConfig":
    """A configuration of the combination whose steps take a median time."""
    ordered = sorted(found.measured.values(), key=lambda several: several[0][1].image_s)
    return ordered[len(ordered) // 2][0][0]


def _beside(
    order: "Order", stage: "Stage", machine: "Machine", gpus: "Gpus | None"
) -> "tuple[tuple[Speed, ...], float]":
    """Measure side by side: what was found, and how much slower a trial of the sweep is."""
    from sweeps.preparing.side_by_side import Share, measure, shares, slowdown

    devices = gpus.count if gpus is not None and machine.device == "cuda" else 1
    own = Share(-(-machine.at_once // devices), machine.threads)
    wanted = shares(cpus=cores(), on_gpu=machine.device == "cuda", own=own)
    speeds = measure(order, wanted, stage.act_at_once)
    return tuple(speeds), slowdown(speeds, own)


def print_rehearsal(spec: "SweepSpec", rehearsal: Rehearsal) -> None:
    """Show the tables, and what they say about trials, sweep and budget."""
    from sweeps.cli.tables import format_time, print_table

    cost = rehearsal.cost
    lines = () if cost is None else cost.lines
    print(f"rehearsed  on {_device(rehearsal)}, in {format_time(rehearsal.took_s)}")
    if lines:
        columns = ["backbone", "resize", "batch_size", "images/s", "fold run", "memory", ""]
        print_table(columns, map(_row, lines), right=columns[1:-1])
        print(f"memory is the peak of {rehearsal.memory_kind}; decoding is not counted")
    if rehearsal.speeds:
        print()
        columns = ["trials at once", "CPU each", "images/s together", ""]
        print_table(columns, map(_speed_row, rehearsal.speeds), right=columns[:-1])
        for line in _fits(rehearsal):
            print(line)
    print()
    if cost is None:
        print("trial      not known: no rehearsal succeeded")
        return
    least, median, most = map(_time, cost.trial_s)
    folds = "1 fold" if cost.k == 1 else f"{cost.k} folds"
    print(f"trial      {least} to {most}, median {median}, for {folds}, alone on this machine")
    print(f"sweep      {_sweep(cost)}")
    for line in _budget(spec, cost):
        print(f"budget     {line}")


def warnings(rehearsal: Rehearsal) -> list[str]:
    """What a user should know before the sweep starts."""
    found, cost = rehearsal.found, rehearsal.cost
    lines = [*found.warnings]
    if cost is not None and cost.unfit:
        lines.append(f"{cost.unfit:.0%} of the points that a sweep may try would fail")
    if cost is not None and cost.unknown:
        lines.append(f"{cost.unknown:.0%} of the points were left out of the estimate: not tried")
    if found.untried or found.untried_values:
        lines.append(
            f"{len(found.untried)} combinations and {found.untried_values} choices were not "
            "tried: no time was left. Raise --minutes"
        )
    return lines


def as_json(rehearsal: Rehearsal) -> str:
    """All of it for `--json`."""
    from sweeps.preparing.cost import as_json

    cost = rehearsal.cost
    values: dict[str, Any] = {
        "device": _device(rehearsal),
        "took_s": rehearsal.took_s,
        "memory_kind": rehearsal.memory_kind,
        "cost": None if cost is None else as_json(cost),
        "side_by_side": [
            {
                "at_once": speed.share.at_once,
                "threads": speed.share.threads,
                "images_per_s": speed.images_s,
                "note": speed.note,
            }
            for speed in rehearsal.speeds
        ],
        "warnings": warnings(rehearsal),
    }
    return json.dumps({"train": values}, indent=2)


def _device(rehearsal: Rehearsal) -> str:
    cpus = f"{cores()} CPU"
    gpus = rehearsal.gpus
    return f"{cpus}, float32" if gpus is None else f"{gpus.count} {gpus.name}, bfloat16; {cpus}"


def _row(line: "Line") -> list[str]:
    known = line.images_s is not None and line.fold_run_s is not None
    return [
        line.combination.backbone,
        line.combination.size,
        str(line.combination.batch_size),
        f"{line.images_s:,.0f}" if known else "",
        _time(line.fold_run_s or 0.0) if known else "",
        "" if line.memory_bytes is None else f"{line.memory_bytes / 2**30:.1f} GiB",
        line.note,
    ]


def _time(seconds: float) -> str:
    from sweeps.cli.tables import format_time

    return f"{seconds:.1f} s" if seconds < 10 else format_time(seconds)


def _speed_row(speed: "Speed") -> list[str]:
    share = speed.share
    rate = "" if speed.images_s is None else f"{speed.images_s:,.0f}"
    return [str(share.at_once), str(share.threads), rate, speed.note]


def _fits(rehearsal: Rehearsal) -> list[str]:
    """Which share fits how many trials into a GPU's memory."""
    from sweeps.preparing.side_by_side import COUNTS, at_once_in

    if rehearsal.gpus is None or rehearsal.cost is None:
        return []
    peaks = [line.memory_bytes for line in rehearsal.cost.lines if line.memory_bytes is not None]
    of_bytes = rehearsal.gpus.memory_bytes
    fitting = {
        count: sum(at_once_in(peak, of_bytes=of_bytes) >= count for peak in peaks)
        for count in COUNTS[1:]
    }
    return [
        f"resources.gpu: {1 / count:g} puts {count} trials on a GPU; {fits} of {len(peaks)} "
        "combinations fit so into its memory"
        for count, fits in fitting.items()
    ]


def _sweep(cost: "Cost") -> str:
    from sweeps.cli.tables import format_time

    whole, raced = cost.sweep_s(raced=False), cost.sweep_s(raced=True)
    if whole is None or raced is None:
        return "as long as the budget: there is no run_cap"
    trials = "1 trial" if cost.trials == 1 else f"{cost.trials} trials"
    text = f"{trials}, {cost.machine.at_once} at a time: about {format_time(whole)}"
    if raced < whole:
        text += f", with the fold race about {format_time(raced)} ({SIMULATED})"
    return text


def _budget(spec: "SweepSpec", cost: "Cost") -> list[str]:
    """Whether the hours are enough for the cap."""
    budget = spec.budget
    at_once = cost.machine.at_once
    gpus = (1.0 if spec.resources.gpu is None else spec.resources.gpu) * at_once
    limits = [(budget.hours, f"{budget.hours} hours")]
    if cost.machine.device == "cuda" and budget.gpu_hours is not None:
        limits.append((budget.gpu_hours / gpus, f"{budget.gpu_hours} GPU-hours"))
    lines = []
    for hours, name in limits:
        if hours is None:
            continue
        trials = cost.trials_in(hours)
        if cost.trials is None:
            lines.append(f"{name} are enough for about {trials:,} trials")
        elif trials >= cost.trials:
            lines.append(f"{name} are enough for all {cost.trials:,} trials")
        else:
            lines.append(
                f"{name} end after about {trials:,} of {cost.trials:,} trials. Raise the budget, "
                "lower run_cap, or leave out what costs most"
            )
    return lines


def show(spec: "SweepSpec", rehearsal: Rehearsal, *, as_text: bool) -> None:
    """Print the tables or JSON, and the warnings on stderr."""
    if as_text:
        print_rehearsal(spec, rehearsal)
    else:
        print(as_json(rehearsal))
    for line in warnings(rehearsal):
        print(f"warning: {line}", file=sys.stderr)
