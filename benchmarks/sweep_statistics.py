"""Do the statistics of `sweeps compare` and of the report say what is true?

    python benchmarks/sweep_statistics.py

Sweeps of 60 trials with 5 folds and the fold race are simulated, with parameters drawn at random or
proposed by tpe. The score of a trial on a fold is the quality of its parameters, plus the ease of
the fold, plus a residual. The quality is a sum: a parabola in the logarithm of the learning rate,
with a best point of its own in each sweep, and the value of each choice. The momentum, which only
one optimizer has, and the label smoothing do nothing; nor do some choices differ. The standard
deviations of quality (of random parameters), ease and residual are about 2.0 : 1.0 : 0.6 points, as
for "spread 2.0" in `fold_race.py`.

    true          the true difference of a pair of values, in points (hundredths)
    coverage      how many of the 95 % intervals of differences hold the true difference
    bias          mean of the estimated minus the true difference, in points
    width         mean width of the intervals, in points
    clear         how many of these differences are called clear, after Holm's correction
    importance    mean absolute error of the shares of the parameters; the truth is the variance of
                  the quality that each parameter alone makes, under random search

A sweep takes about two seconds of one core.
"""

import argparse
import collections
import dataclasses
import functools
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from kept import Record, simulated
from optuna.trial import TrialState
from report import print_header

from sweeps.results.design import place_of
from sweeps.results.differences import Difference, differences
from sweeps.results.fold_adjusted import fold_adjusted
from sweeps.results.importance import importance
from sweeps.search.distributions import values_of
from sweeps.search.mirror import Mirror
from sweeps.space.domains import Numeric
from sweeps.space.language import read_space
from sweeps.space.parameters import Space
from sweeps.space.spec import Folds, Metric, SweepSpec
from sweeps.study.records import FOLD_SCORES, fold_scores, with_fold_scores
from trainer.data.options import DataOptions
from trainer.metrics import Goal
from trainer.seeds import derive

K = 5
EASE = 0.010
RESIDUAL = 0.006
CURVATURE = 0.16  # of the parabola, over the whole range of the learning rate
PARAMETERS: dict[str, Any] = {
    "lr": {"distribution": "log_uniform_values", "min": 1e-5, "max": 1e-1},
    "backbone": {"values": ["a", "b", "c", "d"]},
    "optimizer": {"values": ["adamw", "sgd", "madgrad"]},
    "augmentation": {"values": ["none", "light"]},
    "label_smoothing": {"min": 0.0, "max": 0.2},
    "momentum": {"min": 0.8, "max": 0.99, "when": {"optimizer": "sgd"}},
}
WORTH: dict[str, dict[str, float]] = {
    "backbone": {"a": 0.0, "b": 0.012, "c": 0.0, "d": 0.03},
    "optimizer": {"adamw": 0.0, "sgd": 0.0, "madgrad": 0.012},
    "augmentation": {"none": 0.0, "light": 0.004},
}
SAMPLERS = ("random", "tpe")


@dataclasses.dataclass(frozen=True)
class Task:
    """A sweep to simulate."""

    sampler: str
    trials: int
    sweep: int


class Truth:
    """The true quality of parameters in one simulated sweep."""

    def __init__(self, sweep: int) -> None:
        rng = np.random.default_rng(derive(0, "truth", sweep))
        self.best = float(rng.uniform(0.3, 0.7))

    def worth(self, parameter: str, value: Any) -> float:
        """What a value adds to the score, from 0 to 1."""
        if parameter == "lr":
            return -CURVATURE * (_share(value) - self.best) ** 2
        return WORTH.get(parameter, {}).get(value, 0.0)

    def quality(self, values: Mapping[str, Any]) -> float:
        """The expected score."""
        return 0.9 + sum(self.worth(name, value) for name, value in values.items())

    def shares(self) -> dict[str, float]:
        """The share of each parameter in the variance of the quality under random search."""
        variances = {
            name: statistics.pvariance([self.worth(name, value) for value in worth])
            for name, worth in WORTH.items()
        }
        places = np.linspace(0, 1, 1001)
        variances["lr"] = float(np.var(CURVATURE * (places - self.best) ** 2))
        total = sum(variances.values())
        return {name: variances.get(name, 0.0) / total for name in PARAMETERS}


def _share(lr: float) -> float:
    """Where a learning rate lies in its range, from 0 to 1."""
    domain = space()["lr"].domain
    assert isinstance(domain, Numeric)
    low, high = place_of(domain, domain.low), place_of(domain, domain.high)
    return (place_of(domain, lr) - low) / (high - low)


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sweeps", type=int, default=200, help="per sampler")
    parser.add_argument("--trials", type=int, default=60, help="per sweep")
    parser.add_argument("--samplers", nargs="*", default=list(SAMPLERS), choices=SAMPLERS)
    parser.add_argument("--processes", type=int, help="as many as cores if absent")
    parser.add_argument(
        "--continue",
        dest="file",
        type=Path,
        help="a file with one simulated sweep a line; those that it lacks are added",
    )
    options = parser.parse_args()
    print_header("optuna", "scikit-learn", "scipy", "numpy")
    for sampler in options.samplers:
        tasks = [Task(sampler, options.trials, sweep) for sweep in range(options.sweeps)]
        records = simulated(tasks, measure, file=options.file, processes=options.processes)
        print_tables(records, title=f"{sampler}, {options.trials} trials, {len(tasks)} sweeps")


def measure(task: Task) -> Record:
    """Simulate a sweep, and compare what the statistics say with the truth."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    torch.set_num_threads(1)
    truth = Truth(task.sweep)
    mirror = Mirror(make_spec(task), [])
    rng = np.random.default_rng(derive(0, "scores", task.sampler, task.sweep))
    ease_K = rng.normal(0, EASE, K)
    while len(mirror.trials()) < task.trials:
        trial = mirror.propose()
        quality = truth.quality(values_of(space(), trial.params))
        scores = tuple((quality + ease_K + rng.normal(0, RESIDUAL, K)).tolist())
        folds = 1
        while folds < K and mirror.fold_finished(trial.number, scores[:folds]) is None:
            folds += 1
        mirror.change(
            trial.number,
            TrialState.COMPLETE if folds == K else TrialState.PRUNED,
            score=statistics.fmean(scores) if folds == K else None,
            attributes={FOLD_SCORES: list(scores[:folds])},
        )
    trials = with_fold_scores(mirror.trials())
    values = [values_of(space(), trial.params) for trial in trials]
    adjusted = fold_adjusted([fold_scores(trial) for trial in trials])
    found = differences(space(), values, adjusted.scores_T, goal=Goal.MAXIMIZE)
    record: Record = {
        "complete": sum(trial.state == TrialState.COMPLETE for trial in trials),
        "fold runs": float(adjusted.counts_T.sum()) / (K * len(trials)),
    }
    for pair in found.pairs:
        record |= _judged(pair, truth)
    shares = importance(space(), values, adjusted.scores_T, seed=task.sweep)
    record["explained"] = math.nan if shares.explained is None else shares.explained
    said = {share.parameter: share for share in shares.shares}
    for name, true in truth.shares().items() if said else ():
        share = said[name]
        record[f"share: {name}: true"] = true
        record[f"share: {name}: said"] = share.value
        record[f"share: {name}: inside"] = float(share.low <= true <= share.high)
    return record


def _judged(pair: Difference, truth: Truth) -> Record:
    """What a difference says and what is true, named by the true difference."""
    true = truth.worth(pair.parameter, pair.better) - truth.worth(pair.parameter, pair.worse)
    of_number = isinstance(space()[pair.parameter].domain, Numeric)
    which = "numbers" if of_number and true else f"{abs(100 * true):.1f}"
    named = f"pair: {which}: {pair.parameter} {pair.better} {pair.worse}"
    return {
        f"{named}: inside": float(pair.low <= true <= pair.high),
        # a difference has the sign of the estimate, a bias that of the truth
        f"{named}: bias": (pair.gain - true) * math.copysign(1.0, true),
        f"{named}: width": pair.high - pair.low,
        f"{named}: clear": float(pair.clear),
    }


def make_spec(task: Task) -> SweepSpec:
    """The spec of a simulated sweep, with the default race."""
    return SweepSpec(
        name="simulated",
        method="custom",
        sampler=task.sampler,
        metric=Metric(name="valid/f1", goal="maximize"),
        seed=derive(0, "spec", task.sweep),
        data=DataOptions(source="none"),
        folds=Folds(k=K),
        space=space(),
        raw={},
    )


@functools.cache
def space() -> Space:
    """The search space of all simulated sweeps."""
    found, problems = read_space(PARAMETERS)
    assert not problems
    return found


def print_tables(records: Sequence[Record], *, title: str) -> None:
    """Print what was measured of one sampler."""
    print(f"\n{title}")
    print(
        f"  {100 * statistics.fmean(record['fold runs'] for record in records):.0f} % of the fold "
        f"runs, {statistics.fmean(record['complete'] for record in records):.1f} trials complete"
    )
    found: dict[tuple[str, str], list[float]] = collections.defaultdict(list)
    for record in records:
        for name, value in record.items():
            if name.startswith("pair: "):
                _, true, _, what = name.split(": ")
                found[true, what].append(value)
    print(
        f"  {'true difference':<18}{'pairs':>7}{'coverage, %':>16}{'bias':>8}{'width':>8}"
        f"{'clear, %':>16}"
    )
    for true in sorted({true for true, _ in found}):
        bias = 100 * statistics.fmean(found[true, "bias"])
        print(
            f"  {true:<18}{len(found[true, 'inside']):7}"
            f"{percent(found[true, 'inside']):>16}"
            f"{'-' if true == '0.0' else f'{bias:+.2f}':>8}"
            f"{100 * statistics.fmean(found[true, 'width']):8.2f}"
            f"{percent(found[true, 'clear']):>16}"
        )
    every = [value for (_, what), values in found.items() for value in values if what == "inside"]
    print(f"  {'all':<18}{len(every):7}{percent(every):>16}")
    explained = [record["explained"] for record in records]
    with_shares = [record for record in records if "share: lr: said" in record]
    print(
        f"  importance, {len(with_shares)} sweeps with shares, "
        f"R² {statistics.fmean(explained):.2f} ± {statistics.stdev(explained):.2f}"
    )
    print(f"  {'parameter':<18}{'true':>7}{'said':>7}{'error':>16}{'inside 90 %, %':>18}")
    errors = []
    for name in PARAMETERS:
        true, said, inside = (
            [record[f"share: {name}: {what}"] for record in with_shares]
            for what in ("true", "said", "inside")
        )
        error = [abs(one - other) for one, other in zip(true, said, strict=True)]
        errors.append(error)
        print(
            f"  {name:<18}{statistics.fmean(true):7.3f}{statistics.fmean(said):7.3f}"
            f"{mean_error(error):>16}{percent(inside):>18}"
        )
    of_sweeps = [statistics.fmean(each) for each in zip(*errors, strict=True)]
    print(f"  {'all':<32}{mean_error(of_sweeps):>16}", flush=True)


def percent(values: Sequence[float]) -> str:
    """The mean in percent, with its standard error."""
    return mean_error([100 * value for value in values], digits=1)


def mean_error(values: Sequence[float], *, digits: int = 3) -> str:
    """The mean with its standard error."""
    error = statistics.stdev(values) / math.sqrt(len(values))
    return f"{statistics.fmean(values):.{digits}f} ± {error:.{digits}f}"


if __name__ == "__main__":
    main()
