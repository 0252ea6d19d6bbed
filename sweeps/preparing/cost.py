"""What a sweep costs, from what rehearsals measured: seconds per trial and per sweep, and memory.

The trials are points drawn from the laws of the space, as a sampler without a model proposes them;
a model later proposes cheaper or dearer ones. Of the stopping rules only the fold race is counted,
with the share of fold runs that it saved in simulations, and the trials that finish pruned ones.
"""

import dataclasses
import itertools
import json
import math
import random
import statistics
from collections.abc import Mapping
from typing import Any

import pydantic

from sweeps.paths import SweepFiles, make_folder
from sweeps.preparing.rehearsal import Combination, Found, config_of
from sweeps.space.parameters import Values, grid
from sweeps.space.spec import SweepSpec
from trainer.config import TrainConfig
from trainer.files import write_json
from trainer.seeds import derive
from trainer.training.rehearsed import Rehearsed, Size

FORMAT = 1
DRAWS = 500
# The share of the fold runs of a sweep of SIMULATED trials that the fold race saved in simulations,
# with random trials and with a model in the loop (docs/search-spaces.md, benchmarks/samplers.py).
SAVED_RANDOM, SAVED_BY_MODEL = 0.62, 0.37
SIMULATED = 60
# `sweeps run` from its start to the first training step, on 2 CPUs (benchmarks/startup.py)
START_S = 14.0


@dataclasses.dataclass(frozen=True)
class Machine:
    """What a trial gets, and how many run side by side.

    Attributes:
        threads: torch's CPU threads of one trial.
        at_once: trials at the same time.
        slowdown: how much longer each of them takes than alone; 1 if that was not measured.
    """

    device: str
    threads: int
    at_once: int
    slowdown: float = 1.0


@dataclasses.dataclass(frozen=True)
class Line:
    """What is known of a combination.

    Attributes:
        images_s: images per second of training steps; None if it was not measured.
        fold_run_s: seconds of a fold run with the most epochs of the space.
        memory_bytes: the peak of the memory.
        note: why nothing is known, or what happened.
    """

    combination: Combination
    images_s: float | None = None
    fold_run_s: float | None = None
    memory_bytes: int | None = None
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Cost:
    """What trials and the sweep cost, in seconds on this machine.

    Attributes:
        lines: one per combination.
        trial_s: least, median and most of a trial with all folds, alone on the machine; and the
            mean.
        unfit: the share of the points that fail: too large, or a configuration that cannot work.
        unknown: the share of the points of which nothing is known.
        trials: the cap; None if only the budget ends the sweep.
        fold_runs: fold runs without and with the race; the same number if nothing races.
    """

    lines: tuple[Line, ...]
    trial_s: tuple[float, float, float]
    mean_s: float
    unfit: float
    unknown: float
    k: int
    trials: int | None
    fold_runs: tuple[float, float] | None
    machine: Machine

    @property
    def raced_trial_s(self) -> float:
        """Seconds of a trial in the mean, beside the others and with the race."""
        share = 1.0 if self.fold_runs is None else self.fold_runs[1] / self.fold_runs[0]
        return self.mean_s * self.machine.slowdown * share

    def sweep_s(self, *, raced: bool) -> float | None:
        """Seconds of the whole sweep; None without a cap."""
        if self.fold_runs is None:
            return None
        each_s = self.mean_s * self.machine.slowdown
        all_s = self.fold_runs[raced] / self.k * each_s
        idle = (self.machine.at_once - 1) / self.machine.at_once  # while the last trials end
        return START_S + all_s / self.machine.at_once + idle * each_s / 2

    def trials_in(self, hours: float) -> int:
        """How many trials end within a budget of hours."""
        spent = max(0.0, hours * 3600 - START_S)
        return math.floor(spent * self.machine.at_once / self.raced_trial_s)


def cost(
    spec: SweepSpec, found: Found, *, size: Size, machine: Machine, finishes: int = 0
) -> Cost | None:
    """What the sweep costs; None if no rehearsal succeeded.

    Args:
        spec: the search space with the number of folds of the cut.
        size: the size of a fold run.
        finishes: how many pruned trials may be finished at the end.
    """
    from trainer.training.rehearsal import fold_run_s

    if not found.measured:
        return None
    means = {
        each: Rehearsed.mean([measured for _, measured in several])
        for each, several in found.measured.items()
    }

    def seconds(config: TrainConfig, measured: Rehearsed) -> float:
        return fold_run_s(measured, config, size=size, every_epoch=spec.judges_epochs)

    lines = [
        Line(
            each,
            1 / mean.image_s,
            seconds(_longest(spec, found.measured[each][0][0]), mean),
            mean.memory_bytes,
            "; ".join(mean.notes),
        )
        for each, mean in means.items()
    ]
    lines += [Line(each, note=f"does not fit: {text}") for each, text in found.too_large.items()]
    lines += [Line(each, note="not tried: no time was left") for each in found.untried]
    trials: list[float] = []
    unfit = unknown = 0
    points = drawn(spec)
    for values in points:
        try:
            config = config_of(spec, values)
        except pydantic.ValidationError:
            unfit += 1
            continue
        combination = Combination.of(config)
        near = nearest(combination, means)
        if combination in found.too_large:
            unfit += 1
        elif near is None:
            unknown += 1
        else:
            trials.append(spec.folds.k * seconds(config, near))
    if not trials:
        return None
    cap = spec.trial_cap
    whole = 0.0 if cap is None else float(cap * spec.folds.k)
    return Cost(
        lines=tuple(sorted(lines, key=lambda line: line.combination)),
        trial_s=(min(trials), statistics.median(trials), max(trials)),
        mean_s=statistics.fmean(trials),
        unfit=unfit / len(points),
        unknown=unknown / len(points),
        k=spec.folds.k,
        trials=cap,
        fold_runs=None
        if cap is None
        else (whole, raced_fold_runs(spec, trials=cap, finishes=finishes)),
        machine=machine,
    )


def drawn(spec: SweepSpec) -> list[Values]:
    """Points as the sweep may try them: those of a small grid, else draws from the laws."""
    cap = spec.trial_cap
    if spec.finite and cap is not None and cap <= DRAWS:
        return list(itertools.islice(grid(spec.space), cap))
    chance = random.Random(derive(spec.seed, "cost"))
    return [
        spec.space.resolve(lambda parameter: parameter.domain.draw(chance.random()))
        for _ in range(DRAWS)
    ]


def nearest(wanted: Combination, means: Mapping[Combination, Rehearsed]) -> Rehearsed | None:
    """What is measured of a combination, or the estimate from the one that is most alike.

    Returns:
        None if nothing is measured of its backbone.
    """
    if wanted in means:
        return means[wanted]

    def distance(other: Combination) -> float:
        return abs(math.log(wanted.pixels / other.pixels)) + abs(
            math.log(wanted.batch_size / other.batch_size)
        )

    others = [other for other in means if other.backbone == wanted.backbone]
    if not others:
        return None
    best = min(others, key=lambda other: (distance(other), other))
    return means[best].at_size(wanted.pixels / best.pixels)


def raced_fold_runs(spec: SweepSpec, *, trials: int, finishes: int = 0) -> float:
    """How many fold runs the fold race is expected to leave of these trials.

    The race stops nothing before it has its evidence; after that it saves the share that it saved
    in the simulated sweeps, which began in the same way. A trial that finishes a pruned one is
    counted with half of the folds.

    Args:
        finishes: how many trials may be finished; all of them are counted.
    """
    rule = spec.folds.race_rule
    k = spec.folds.k
    if rule is None or not spec.folds_comparable or k < 2:
        return float(trials * k)
    saved = SAVED_RANDOM if spec.finite or spec.search in ("random", "qmc") else SAVED_BY_MODEL
    complete = 1 + math.ceil(rule.min_evidence / (k - 1))
    later = max(0, trials - complete)
    # a trial is never stopped before `min_folds` are finished
    share = min(saved * SIMULATED / (SIMULATED - 3), 1 - rule.min_folds / k)
    return min(trials * k, trials * k - later * k * share + finishes * k / 2)


def keep(files: SweepFiles, spec: SweepSpec, cost: Cost) -> None:
    """Write the estimate where `sweeps run` finds it.

    Args:
        files: the sweep's directory.
    """
    make_folder(files.check.directory)
    write_json(files.check.cost, {"format": FORMAT, "of": _of(spec, cost.machine), **as_json(cost)})


def kept_trial_s(files: SweepFiles, spec: SweepSpec, *, device: str, threads: int) -> float | None:
    """Seconds of a trial by the last `sweeps check --train`, or None.

    Only an estimate for the same parameters and folds on the same kind of share is used.
    """
    try:
        values = json.loads(files.check.cost.read_text())
        of = _of(spec, Machine(device, threads, at_once=1))
        same = values["format"] == FORMAT and values["of"] == json.loads(json.dumps(of))
        return float(values["trial_s"]["raced"]) if same else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _of(spec: SweepSpec, machine: Machine) -> dict[str, Any]:
    """What an estimate holds for."""
    return {
        "parameters": spec.raw["parameters"],
        "k": spec.folds.k,
        "device": machine.device,
        "threads": machine.threads,
    }


def as_json(cost: Cost) -> dict[str, Any]:
    """The estimate for `--json`: times in seconds, memory in bytes."""
    least, median, most = cost.trial_s
    return {
        "combinations": [
            {
                "backbone": line.combination.backbone,
                "resize": line.combination.size,
                "batch_size": line.combination.batch_size,
                "images_per_s": line.images_s,
                "fold_run_s": line.fold_run_s,
                "memory_bytes": line.memory_bytes,
                "note": line.note,
            }
            for line in cost.lines
        ],
        "trial_s": {
            "least": least,
            "median": median,
            "most": most,
            "mean": cost.mean_s,
            "raced": cost.raced_trial_s,
        },
        "trials": cost.trials,
        "sweep_s": {
            "without_race": cost.sweep_s(raced=False),
            "with_race": cost.sweep_s(raced=True),
        },
        "unfit_share": cost.unfit,
        "unknown_share": cost.unknown,
        **dataclasses.asdict(cost.machine),
    }


def _longest(spec: SweepSpec, config: TrainConfig) -> TrainConfig:
    return config.model_copy(update={"epochs": spec.max_epochs})
