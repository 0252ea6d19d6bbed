"""Does the fold race cost a sampler its winner, and how much does it save with a model in the loop?

    python benchmarks/samplers.py

The benchmark simulates sweeps, one trial after another, with the functions that the driver calls.
The score of a trial on a fold is the quality of its parameters, plus the ease of the fold, plus a
residual. The quality has one best point of 0.9, at a place of its own in each sweep. The standard
deviations of quality (of random parameters), ease and residual are in the ratio 2.0 : 1.0 : 0.6, as
for "spread 2.0" in `fold_race.py`. Each sampler runs the same sweeps in three ways:

    no race          every trial trains 5 folds
    race, hidden     the fold race; models see stopped trials as pruned, as before 2026-11-28
    race             the fold race; models see stopped trials at their expected scores

The winner is the complete trial with the best mean over its folds; its quality is the result. The
columns are the quality of the winner after the same number of trials, and after the same number of
fold runs; its mean difference to "no race" after the same fold runs, with the standard error; in
how many sweeps it was better and worse; the proposals of a point that a random sampler would
propose at the same number; and the share of fold runs that the race saved in the first 60 trials.

`random`, `qmc`, `grid` and `brute_force` do not look at scores, so they have no hidden race. The
last two run in a finite space of 40 points. `nsgaii` and `cmaes` learn in generations, so they and
`tpe` run with three times the fold runs as well. The first table has the savings with tpe, and with
random parameters, for other ratios of quality to noise. The benchmark takes about half an hour of
one core.
"""

import argparse
import contextlib
import dataclasses
import functools
import math
import statistics
from collections.abc import Iterator
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
import optuna
import torch
from optuna.trial import FrozenTrial, TrialState
from report import print_header

from sweeps.search.distributions import labels
from sweeps.search.draws import drawn
from sweeps.search.mirror import Mirror
from sweeps.search.models import MODELS
from sweeps.space.language import read_space
from sweeps.space.parameters import Space
from sweeps.space.spec import Folds, Metric, SweepSpec
from sweeps.study.records import FOLD_SCORES
from trainer.data.options import DataOptions

# D numeric parameters, K folds
Array = npt.NDArray[np.float64]

K = 5
FOLD_RUNS = 200
MANY_FOLD_RUNS = 600
FIRST_TRIALS = 60
WAYS = ("no race", "race, hidden", "race")
SAMPLERS = {
    FOLD_RUNS: ("random", "qmc", "grid", "brute_force", "tpe", "cmaes", "nsgaii", "gp"),
    MANY_FOLD_RUNS: ("tpe", "cmaes", "nsgaii"),
}
FINITE = ("grid", "brute_force")
# quality of random parameters : residual of a fold, as in fold_race.py
RATIOS = {"spread 0.5": 0.5 / 0.6, "spread 2.0": 2.0 / 0.6, "spread 5.0": 5.0 / 0.6}
MAIN = "spread 2.0"
SPREAD = 0.055  # standard deviation of the quality of random parameters, over many sweeps
EASE = 1.0 / 0.6  # ease of a fold : residual
PARAMETERS: dict[str, Any] = {
    "lr": {"distribution": "log_uniform_values", "min": 1e-5, "max": 1e-1},
    "weight_decay": {"distribution": "log_uniform_values", "min": 1e-6, "max": 1e-1},
    "dropout": {"min": 0.0, "max": 0.7},
    "label_smoothing": {"min": 0.0, "max": 0.3},
    "backbone": {"values": ["a", "b", "c"]},
}
POINTS: dict[str, Any] = {
    "lr": {"values": [1e-5, 1e-4, 1e-3, 1e-2, 1e-1]},
    "weight_decay": {"values": [1e-5, 1e-2]},
    "dropout": {"values": [0.1, 0.5]},
    "backbone": {"values": ["a", "c"]},
}
WEIGHTS_D = np.array([0.6, 0.1, 0.2, 0.1])  # how much a parameter matters
BACKBONES = {"a": 0.0, "b": 0.02, "c": 0.05}


class Problem:
    """The qualities and scores of one simulated sweep."""

    def __init__(self, seed: int, *, ratio: float) -> None:
        rng = np.random.default_rng([7, seed])
        self._seed = seed
        self._best_D = rng.uniform(0.25, 0.75, len(WEIGHTS_D))
        self._residual = SPREAD / ratio
        self._ease_K = rng.normal(0, self._residual * EASE, K)

    def quality(self, params: dict[str, Any]) -> float:
        """At most 0.9; 0.1 is chance."""
        place_D = np.array(
            [
                (math.log10(params["lr"]) + 5) / 4,
                (math.log10(params["weight_decay"]) + 6) / 5,
                params["dropout"] / 0.7,
                params.get("label_smoothing", 0.1) / 0.3,
            ]
        )
        far_D = place_D - self._best_D
        far_D[1] += 0.5 * far_D[0]  # the best weight decay depends on the learning rate
        loss = float(WEIGHTS_D @ far_D**2) + BACKBONES[params["backbone"]]
        return 0.1 + 0.8 * math.exp(-loss)

    def scores(self, params: dict[str, Any], *, number: int) -> Array:
        """Of all K folds."""
        rng = np.random.default_rng([8, self._seed, number])
        return self.quality(params) + self._ease_K + rng.normal(0, self._residual, K)


@dataclasses.dataclass(frozen=True)
class Ended:
    """What became of a simulated sweep.

    Attributes:
        after_trials: quality of the winner after fold_runs / K trials.
        after_runs: quality of the winner after all fold runs.
        trials: number of trials that all fold runs were enough for.
        as_random: number of trials with the parameters that a random sampler would propose.
        saved: share of the fold runs that was saved in the first 60 trials, or in all if fewer.
    """

    after_trials: float
    after_runs: float
    trials: int
    as_random: int
    saved: float


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sweeps", type=int, default=60, help="per sampler and way")
    parser.add_argument("--samplers", nargs="*", help="only these, in the tables of fold runs")
    parser.add_argument("--tables", nargs="*", default=["saved", *map(str, SAMPLERS)])
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    torch.set_num_threads(1)
    print_header("optuna", "torch", "scipy", "numpy")
    if "saved" in options.tables:
        print_saved(options.sweeps)
    for fold_runs, samplers in SAMPLERS.items():
        if str(fold_runs) in options.tables:
            wanted = [s for s in samplers if not options.samplers or s in options.samplers]
            print_fold_runs(fold_runs, samplers=wanted, sweeps=options.sweeps)


def print_saved(sweeps: int) -> None:
    """The first table."""
    print(f"\nsaved in {FIRST_TRIALS} trials, %, {sweeps} sweeps")
    for name, ratio in RATIOS.items():
        for sampler in ("random", "tpe"):
            ended = [
                simulate(sampler, "race", seed=seed, trials=FIRST_TRIALS, ratio=ratio)
                for seed in range(sweeps)
            ]
            print(f"  {name:<14}{sampler:<10}{percent(ended)}", flush=True)


def print_fold_runs(fold_runs: int, *, samplers: list[str], sweeps: int) -> None:
    """The table of a number of fold runs."""
    print(f"\n{fold_runs} fold runs, {K} folds, {sweeps} sweeps, {MAIN}")
    print(
        f"  {'sampler':<12}{'way':<14}{f'after {fold_runs // K} trials':>16}"
        f"{f'after {fold_runs} runs':>16}{'difference':>20}{'better, worse':>15}"
        f"{'trials':>8}{'as random':>11}{'saved, %':>13}"
    )
    for sampler in samplers:
        print_sampler(sampler, fold_runs=fold_runs, sweeps=sweeps)


def print_sampler(sampler: str, *, fold_runs: int, sweeps: int) -> None:
    """The lines of one sampler."""
    baseline: list[Ended] = []
    for way in WAYS if sampler in MODELS else ("no race", "race"):
        ended = [
            simulate(sampler, way, seed=seed, fold_runs=fold_runs, ratio=RATIOS[MAIN])
            for seed in range(sweeps)
        ]
        baseline = baseline or ended
        differences = [
            one.after_runs - other.after_runs for one, other in zip(ended, baseline, strict=True)
        ]
        error = statistics.stdev(differences) / math.sqrt(sweeps)
        wins = f"{sum(d > 0 for d in differences)}, {sum(d < 0 for d in differences)}"
        print(
            f"  {sampler:<12}{way:<14}"
            f"{statistics.fmean(one.after_trials for one in ended):16.4f}"
            f"{statistics.fmean(one.after_runs for one in ended):16.4f}"
            f"{f'{statistics.fmean(differences):+.4f} ± {error:.4f}':>20}{wins:>15}"
            f"{statistics.fmean(one.trials for one in ended):8.1f}"
            f"{statistics.fmean(one.as_random for one in ended):11.1f}{percent(ended):>13}",
            flush=True,
        )


def percent(ended: list[Ended]) -> str:
    """Mean and standard deviation of the savings."""
    saved = [100 * one.saved for one in ended]
    return f"{statistics.fmean(saved):.1f} ± {statistics.stdev(saved):.1f}"


def simulate(
    sampler: str,
    way: str,
    *,
    seed: int,
    ratio: float,
    fold_runs: int = FOLD_RUNS,
    trials: int | None = None,
) -> Ended:
    """One sweep, until its fold runs are used up or its space is exhausted.

    Args:
        trials: the number of trials that ends the sweep, in place of its fold runs.
    """
    spec = make_spec(sampler, seed=seed, race=way != "no race")
    problem = Problem(seed, ratio=ratio)
    mirror = Mirror(spec, [])
    used = [0]  # fold runs, after each trial
    with as_models_see(way):
        while not mirror.exhausted() and (
            used[-1] < fold_runs if trials is None else len(used) <= trials
        ):
            trial = mirror.propose()
            folds = evaluate(mirror, trial, problem) if trial.state == TrialState.RUNNING else 0
            used.append(used[-1] + folds)
    ended = mirror.trials()
    in_time = sum(runs <= fold_runs for runs in used[1:])
    first = min(FIRST_TRIALS, len(ended))
    return Ended(
        after_trials=problem.quality(winner(ended[: fold_runs // K]).params),
        after_runs=problem.quality(winner(ended[:in_time]).params),
        trials=in_time,
        as_random=sum(t.params == random_point(spec, t.number) for t in ended[:in_time]),
        saved=1 - used[first] / (K * first),
    )


def evaluate(mirror: Mirror, trial: FrozenTrial, problem: Problem) -> int:
    """Train the folds of a trial as far as the race lets it; the number of these folds."""
    scores = tuple(map(float, problem.scores(trial.params, number=trial.number)))
    folds = 1
    while folds < K and mirror.fold_finished(trial.number, scores[:folds]) is None:
        folds += 1
    state = TrialState.COMPLETE if folds == K else TrialState.PRUNED
    score = statistics.fmean(scores) if folds == K else None
    attributes = {FOLD_SCORES: list(scores[:folds])}
    mirror.change(trial.number, state, score=score, attributes=attributes)
    return folds


@contextlib.contextmanager
def as_models_see(way: str) -> Iterator[None]:
    """Hide the stopped trials from the models, if the way says so."""
    if way != "race, hidden":
        yield
        return
    with mock.patch("sweeps.search.model_view.seen_by_models", lambda trials, spec: list(trials)):
        yield


def winner(trials: list[FrozenTrial]) -> FrozenTrial:
    """The best complete trial."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    return max(complete, key=lambda trial: trial.values[0])


def random_point(spec: SweepSpec, number: int) -> dict[str, Any]:
    """What a random sampler proposes as trial `number` of this sweep."""
    return labels(spec.space, drawn(as_random(spec), spec.space, number=number))


def as_random(spec: SweepSpec) -> SweepSpec:
    """The same sweep with random search."""
    return spec.model_copy(update={"sampler": "random"})


def make_spec(sampler: str, *, seed: int, race: bool) -> SweepSpec:
    """The spec of a simulated sweep."""
    return SweepSpec(
        name="simulated",
        method="custom",
        sampler=sampler,
        metric=Metric(name="valid/f1", goal="maximize"),
        seed=seed,
        data=DataOptions(source="none"),
        folds=Folds(k=K, race=race),
        space=space_of(finite=sampler in FINITE),
        raw={},
    )


@functools.cache
def space_of(*, finite: bool) -> Space:
    """The search space: numbers and a choice, or 40 points."""
    space, problems = read_space(POINTS if finite else PARAMETERS)
    assert not problems
    return space


if __name__ == "__main__":
    main()
