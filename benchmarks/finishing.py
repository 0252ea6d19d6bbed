"""What a sharper race and finishing runners-up do to the best trial and to the ensemble.

    python benchmarks/finishing.py

`fold_race.py` prints these tables, too. Sweeps of 60 trials on 429 persons are simulated with
out-of-fold predictions (see `world.py`). The quality of a trial depends on its parameters as in
`samplers.py`; they are drawn at random or proposed by tpe, which learns from the trials that the
race left. At the end of a sweep the pruned trials are finished that lower the log loss of the
ensemble most on the folds that they have, as `folds.finish` does. The same sweeps go each way:

    fold runs     the share of all fold runs that was trained
    best lost     how often the best trial by its mean over all folds is not complete at the end
    score lost    how much better it was by this mean than the best complete trial
    single        true macro-F1 of a fold model of the best complete trial, minus that of the way
                  that has been the default
    ensemble      true macro-F1 of the shipped ensemble, minus that of this way

Scores are points (hundredths) of macro-F1, with standard errors. With tpe, two ways do not have the
same trials, so their differences have larger errors. A sweep takes about three seconds of one core
with random parameters and ten with tpe.
"""

import argparse
import dataclasses
import math
import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import optuna
import torch
from kept import Record, simulated
from optuna.trial import TrialState
from report import print_header
from samplers import Problem, make_spec, random_point
from simulated_sweep import F1, Ended, SimulatedSweep, Way
from world import CENTRE, FOLDS, SPREADS, TRIALS, World

from sweeps.results.ensemble import fit_ensemble
from sweeps.search.mirror import Mirror
from sweeps.search.race import Standing
from sweeps.study.records import FOLD_SCORES
from trainer.seeds import derive

WAYS = {
    "no race": Way(0.0),
    "0.005": Way(0.005),
    "0.005, finish 4": Way(0.005, 4),
    "0.02, finish 4": Way(0.02, 4),
    "0.05": Way(0.05),
    "0.05, finish 4": Way(0.05, 4),
    "0.1, finish 4": Way(0.1, 4),
    "0.2, finish 6": Way(0.2, 6),
}
BASELINE = "0.005"  # the default until 2026-11-28
PERSONS = 429
SAMPLERS = ("random", "tpe")
TABLES = ("slight", "clear")


@dataclasses.dataclass(frozen=True)
class Task:
    """A sweep to simulate each way; spread is a name of SPREADS."""

    spread: str
    sampler: str
    sweep: int


class Search:
    """The parameters of a simulated sweep's trials, and how good they are."""

    def __init__(self, task: Task) -> None:
        self.spec = make_spec(task.sampler, seed=task.sweep, race=True)
        self._problem = Problem(task.sweep, ratio=1.0)
        self._spread = SPREADS[task.spread]
        points = [random_point(self.spec, number) for number in range(TRIALS)]
        qualities = [self._problem.quality(point) for point in points]
        self._mean, self._deviation = statistics.fmean(qualities), statistics.stdev(qualities)
        self.random_skills = [self._skill(quality) for quality in qualities]

    def skill(self, params: dict[str, object]) -> float:
        """The macro-F1 of a trial; random trials have the mean CENTRE and the task's spread."""
        return self._skill(self._problem.quality(params))

    def _skill(self, quality: float) -> float:
        return CENTRE + self._spread * (quality - self._mean) / self._deviation


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sweeps", type=int, default=80, help="per table")
    parser.add_argument("--tables", nargs="*", default=list(TABLES), choices=TABLES)
    parser.add_argument("--samplers", nargs="*", default=list(SAMPLERS), choices=SAMPLERS)
    parser.add_argument("--processes", type=int, help="as many as cores if absent")
    parser.add_argument(
        "--continue",
        dest="file",
        type=Path,
        help="a file with one simulated sweep a line; those that it lacks are added",
    )
    options = parser.parse_args()
    print_header("optuna", "torch", "scipy", "numpy")
    for sampler in options.samplers:
        for spread in options.tables:
            tasks = [Task(spread, sampler, sweep) for sweep in range(options.sweeps)]
            print_table(tasks, file=options.file, processes=options.processes)


def measure(task: Task) -> Record:
    """Simulate a sweep each way."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    torch.set_num_threads(1)
    world = World(derive(0, "finishing", task.spread, task.sweep), persons=PERSONS)
    search = Search(task)
    drawn = SimulatedSweep(
        world, [world.trial(number, skill) for number, skill in enumerate(search.random_skills)]
    )
    found = {}
    for name, way in WAYS.items():
        if task.sampler == "random":
            sweep, ended = drawn, drawn.race(way)
        else:
            sweep, ended = searched(world, search, way)
        found.update({f"{name}: {key}": value for key, value in figures(sweep, ended).items()})
    return found


def searched(world: World, search: Search, way: Way) -> tuple[SimulatedSweep, Ended]:
    """Simulate a sweep whose sampler learns from the trials that are over."""
    sweep = SimulatedSweep(world)
    mirror = Mirror(search.spec, [])
    standings: list[Standing] = []
    for number in range(TRIALS):
        trial = mirror.propose()
        assert trial.state == TrialState.RUNNING  # numbers are never proposed twice
        scores = sweep.add(world.trial(number, search.skill(trial.params)))
        standings.append(way.raced(standings, number, scores))
        trained = standings[-1].fold_scores
        complete = len(trained) == FOLDS
        mirror.change(
            number,
            TrialState.COMPLETE if complete else TrialState.PRUNED,
            score=statistics.fmean(trained) if complete else None,
            attributes={FOLD_SCORES: list(trained)},
        )
    return sweep, sweep.finish(Ended(tuple(standings)), way)


def figures(sweep: SimulatedSweep, ended: Ended) -> Record:
    """What became of a sweep; scores from 0 to 1."""
    means = [statistics.fmean(scores) for scores in sweep.scores]
    best = max(ended.complete, key=lambda number: means[number])
    mixture = fit_ensemble(sweep.library(ended.complete), metric=F1)
    return {
        "fold runs": ended.fold_runs,
        "best lost": float(np.argmax(means) != best),
        "score lost": max(means) - means[best],
        "single": sweep.alone(best),
        "ensemble": sweep.mixed(mixture, mixture.decision)[0],
        "complete": len(ended.complete),
    }


def print_table(tasks: Sequence[Task], *, file: Path | None, processes: int | None) -> None:
    """Simulate the sweeps of one spread and sampler, and print a line for each way."""
    records = simulated(tasks, measure, file=file, processes=processes)
    print(f"\n{tasks[0].spread}, {tasks[0].sampler}, {TRIALS} trials, {len(tasks)} sweeps")
    print(
        f"  {'race':<18}{'fold runs, %':>14}{'complete':>10}{'best lost, %':>14}"
        f"{'score lost':>15}{'single':>15}{'ensemble':>15}"
    )
    for name in WAYS:
        columns = {
            key: [record[f"{name}: {key}"] for record in records]
            for key in ("fold runs", "complete", "best lost", "score lost")
        }
        gains = {
            key: [record[f"{name}: {key}"] - record[f"{BASELINE}: {key}"] for record in records]
            for key in ("single", "ensemble")
        }
        print(
            f"  {name:<18}{100 * statistics.fmean(columns['fold runs']):14.1f}"
            f"{statistics.fmean(columns['complete']):10.1f}{points(columns['best lost'], 1):>14}"
            f"{points(columns['score lost']):>15}{points(gains['single'], sign='+'):>15}"
            f"{points(gains['ensemble'], sign='+'):>15}",
            flush=True,
        )


def points(values: Sequence[float], digits: int = 2, *, sign: str = "") -> str:
    """The mean in hundredths, with its standard error."""
    error = 100 * statistics.stdev(values) / math.sqrt(len(values))
    return f"{100 * statistics.fmean(values):{sign}.{digits}f} ± {error:.{digits}f}"


if __name__ == "__main__":
    main()
