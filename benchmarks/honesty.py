"""How honest is what `sweeps best` says of its choice, and what does the ensemble really win?

    python benchmarks/honesty.py

The benchmark simulates sweeps of 60 trials and 5 folds under the fold race (see `world.py`), on 86
or 429 persons with seven photos each. The trials are equally good, slightly or clearly different.
The functions that `sweeps best` calls choose a trial and an ensemble from the out-of-fold
predictions of the complete trials, and estimate their macro-F1 on new persons. The truth is the
macro-F1 of the same fold models on 3,600 new persons, as many of each gender and age, reweighted:
for a single trial the mean over its fold models, for an ensemble the average of the fold models'
probabilities, as `sweeps predict` ships it. The numbers are points (hundredths) of macro-F1.

The error of an estimate is the estimate minus the truth. Much of it is the luck of the drawn
persons, which all trials share. "Less control" subtracts the error of four trials that nobody
chose, drawn from all 60: their pooled score, corrected for its small sample by the bootstrap, minus
their truth. Beside the estimate of `sweeps best` stand BBC-CV as published (scores on the persons
that were not drawn, percentiles as the interval), the pooled out-of-fold score of the chosen trial,
and the mean over folds of the trial that is best by it.

"Shipped" is the ensemble, or the single trial where the nested comparison says so. In the cells
"rare under" and "rare over", which have to be asked for with --cells, all networks predict rare
classes too rarely or too often. A sweep takes about one second of one core with 86 persons and two
with 429; with --best, which needs the truth of every complete trial, about eight.
"""

import argparse
import dataclasses
import functools
import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from kept import Record, simulated
from report import print_header
from simulated_sweep import ARGMAX, F1, Ended, SimulatedSweep, Way
from world import CLASS_WEIGHTS, FOLDS, SPREADS, World

from sweeps.results.ensemble import Library, fit_ensemble
from sweeps.results.estimate import SingleEstimate, estimate_ensemble, estimate_single
from sweeps.results.fold_evidence import fold_evidence
from sweeps.results.resampling import Bootstrap
from sweeps.space.spec import Folds
from trainer.metrics import Goal, macro_f1
from trainer.prediction.mixture import Member, Mixture
from trainer.seeds import derive


@dataclasses.dataclass(frozen=True)
class Cell:
    """A column of the table.

    Attributes:
        spread: a name of SPREADS.
        class_weights: the lowest and the highest of the trials, see `world.CLASS_WEIGHTS`.
    """

    spread: str
    persons: int
    class_weights: tuple[float, float] = CLASS_WEIGHTS


MAIN = {f"{spread} {persons}": Cell(spread, persons) for persons in (86, 429) for spread in SPREADS}
CELLS = {
    **MAIN,
    "rare under 429": Cell("slight", 429, (-0.7, -0.2)),
    "rare over 429": Cell("slight", 429, (0.2, 0.7)),
}
CONTROLS = 4
GREEDY_ROUNDS = 25


@dataclasses.dataclass(frozen=True)
class Task:
    """A sweep to simulate.

    Attributes:
        cell: the cell of the table.
        sweep: its number there.
        way: how it saves fold runs.
        best: see `measure`.
    """

    cell: str
    sweep: int
    way: Way
    best: bool


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sweeps", type=int, default=300, help="per cell")
    parser.add_argument("--cells", nargs="*", default=list(MAIN), choices=list(CELLS))
    parser.add_argument("--processes", type=int, help="as many as cores if absent")
    race = Folds().race_rule
    assert race is not None
    parser.add_argument(
        "--error-rate", type=float, default=race.error_rate, help="of the race; 0 for no race"
    )
    parser.add_argument(
        "--finish", type=int, default=Folds().finish, help="pruned trials finished at the end"
    )
    parser.add_argument(
        "--continue",
        dest="file",
        type=Path,
        help="a file with one simulated sweep a line; those that it lacks are added",
    )
    parser.add_argument(
        "--best", action="store_true", help="find out how often the chosen trial is the best"
    )
    options = parser.parse_args()
    print_header("numpy", "scipy")
    way = Way(options.error_rate, options.finish)
    print(f"race at {way.error_rate:g}, {way.finish} finished at the end\n")
    tasks = [
        Task(cell, sweep, way, options.best)
        for sweep in range(options.sweeps)
        for cell in options.cells
    ]
    records = simulated(tasks, measured, file=options.file, processes=options.processes)
    cells: dict[str, list[Record]] = {}
    for task, record in zip(tasks, records, strict=True):
        cells.setdefault(task.cell, []).append(record)
    print_tables(cells)


def measured(task: Task) -> Record:
    """Simulate a sweep and measure its choice."""
    cell = CELLS[task.cell]
    world = World(
        derive(0, "honesty", cell.spread, cell.persons, task.sweep),
        persons=cell.persons,
        class_weights=cell.class_weights,
    )
    sweep = SimulatedSweep(world, world.trials(SPREADS[cell.spread]))
    return measure(sweep, sweep.race(task.way), seed=task.sweep, best=task.best)


def measure(sweep: SimulatedSweep, ended: Ended, *, seed: int, best: bool = False) -> Record:
    """Choose, estimate, and compare with the truth; in macro-F1 from 0 to 1.

    Args:
        best: whether to find out which complete trial is really the best.
    """
    complete = ended.complete
    library = sweep.library(complete)
    folds = fold_evidence(ended.fold_scores(sweep.scores), k=FOLDS, goal=Goal.MAXIMIZE)
    single = estimate_single(library, metric=F1, seed=seed, folds=folds)
    chosen = complete[single.chosen]
    shown = max(complete, key=lambda number: statistics.fmean(sweep.scores[number]))
    nested = estimate_ensemble(library, metric=F1, seed=seed)
    mixture = fit_ensemble(library, metric=F1)
    ruled, argmax = sweep.mixed(mixture, mixture.decision, ARGMAX)
    ensemble = ruled if nested.rule_ships else argmax
    greedy = greedy_on_f1(library)
    truth, averaged = sweep.alone(chosen), sweep.averaged(chosen)
    return {
        "complete": len(complete),
        "fold_runs": ended.fold_runs,
        "control": _control(sweep, seed=seed),
        "single": truth,
        "averaged": averaged,
        "honest": single.interval.value,
        "honest_low": single.interval.low,
        "honest_high": single.interval.high,
        "pooled": single.shown,
        **(_best_of(sweep, complete, single) if best else {}),
        "naive": statistics.fmean(sweep.scores[shown]),
        "naive_single": sweep.alone(shown),
        **_published(library, seed=seed),
        "ensemble": ensemble,
        "nested": nested.interval.value,
        "nested_low": nested.interval.low,
        "nested_high": nested.interval.high,
        "ships": nested.ships,
        "gain": nested.gain,
        "gain_error": nested.gain_error,
        "rule_ships": nested.rule_ships,
        "ruled": ruled,
        "argmax": argmax,
        "rule_gain": nested.rule_gain,
        "greedy": sweep.mixed(greedy, ARGMAX)[0],
        "members": len(mixture.members),
    }


def greedy_on_f1(library: Library) -> Mixture:
    """Greedy selection on the metric itself, of trials as they are: what others do."""
    labels_N = library.labels_N
    total_NK = np.zeros_like(library.probs[0])
    picked: list[int] = []
    scores = []
    for _ in range(GREEDY_ROUNDS):
        found = [macro_f1(total_NK + probs_NK, labels_N) for probs_NK in library.probs]
        picked.append(int(np.argmax(found)))
        scores.append(found[picked[-1]])
        total_NK += library.probs[picked[-1]]
    picked = picked[: int(np.argmax(scores)) + 1]
    members = [
        Member(library.names[index], picked.count(index) / len(picked)) for index in set(picked)
    ]
    return Mixture(tuple(members))


def _control(sweep: SimulatedSweep, *, seed: int) -> float:
    """The mean error of trials that nobody chose."""
    rng = np.random.default_rng(derive(seed, "control"))
    numbers = rng.choice(len(sweep.trials), CONTROLS, replace=False).tolist()
    library = sweep.library(numbers)
    bootstrap = _bootstrap(library, seed=seed)
    scored = [bootstrap.scored(predicted) for predicted in library.by_argmax]
    return statistics.fmean(
        one.score - one.lift - sweep.alone(number)
        for one, number in zip(scored, numbers, strict=True)
    )


def _best_of(
    sweep: SimulatedSweep, complete: Sequence[int], single: SingleEstimate
) -> dict[str, float]:
    """What the estimate says of which trial is the best, and what is true."""
    best = int(np.argmax([sweep.alone(number) for number in complete]))
    return {
        "chance": single.chances[single.chosen],
        "is_best": single.chosen == best,
        "alike": len(single.alike),
        "best_alike": best in single.alike,
    }


def _published(library: Library, *, seed: int) -> Record:
    """BBC-CV: the score of each resample's best trial on the persons that were not drawn."""
    bootstrap = _bootstrap(library, seed=seed)
    drawn_BG = bootstrap.drawn_BG
    inside, outside = [], []
    for predicted in library.by_argmax:
        sums_GC = F1.sums(predicted, library.labels_N, bootstrap.blocks_N, drawn_BG.shape[1])
        inside.append(F1.of(drawn_BG @ sums_GC))
        outside.append(F1.of((drawn_BG == 0).astype(np.float32) @ sums_GC))
    best_B = np.stack(inside).argmax(axis=0)
    values_B = np.stack(outside)[best_B, np.arange(len(best_B))]
    low, high = np.quantile(values_B, [0.025, 0.975])
    return {"bbc": float(values_B.mean()), "bbc_low": float(low), "bbc_high": float(high)}


def _bootstrap(library: Library, *, seed: int) -> Bootstrap:
    return Bootstrap(
        library.labels_N,
        library.groups_N,
        metric=F1,
        n_classes=library.probs[0].shape[1],
        seed=seed,
    )


@dataclasses.dataclass(frozen=True)
class Line:
    """A line of the table: a number of each sweep, and how it is summarised."""

    name: str
    value: Callable[[Record], float]
    share: bool = False

    def cell(self, records: Sequence[Record]) -> str:
        """The mean with its standard error."""
        values = [100 * self.value(record) for record in records]
        error = statistics.stdev(values) / math.sqrt(len(values))
        sign = "" if self.share else "+"
        digits = 1 if self.share else 2
        return f"{statistics.fmean(values):{sign}.{digits}f} ± {error:.{digits}f}"


def _error(estimate: str, truth: str, *, control: bool = True) -> Callable[[Record], float]:
    return lambda r: r[estimate] - r[truth] - (r["control"] if control else 0)


def _covers(estimate: str, truth: str) -> Callable[[Record], float]:
    return lambda r: r[f"{estimate}_low"] <= r[truth] <= r[f"{estimate}_high"]


def _shipped(record: Record) -> float:
    return record["ensemble"] if record["ships"] else record["averaged"]


def _lines() -> dict[str, list[Line]]:
    """The lines of each table."""
    share = functools.partial(Line, share=True)
    return {
        "the chosen trial: estimate minus truth, less control": [
            Line("sweeps best", _error("honest", "single")),
            Line("  raw", _error("honest", "single", control=False)),
            share("  interval covers, %", _covers("honest", "single")),
            share("  low end below the average, %", lambda r: r["honest_low"] <= r["averaged"]),
            Line("BBC-CV as published", _error("bbc", "single")),
            share("  interval covers, %", _covers("bbc", "single")),
            Line("pooled score as shown", _error("pooled", "single")),
            Line("mean over folds as shown", _error("naive", "naive_single")),
        ],
        "the ensemble: nested estimate minus the truth of the average": [
            Line("sweeps best, less control", _error("nested", "ensemble")),
            Line("  raw", _error("nested", "ensemble", control=False)),
            share("  interval covers, %", _covers("nested", "ensemble")),
        ],
        "true gains": [
            Line("shipped over the single's average", lambda r: _shipped(r) - r["averaged"]),
            share("  worse, % (wrong ships)", lambda r: _shipped(r) < r["averaged"]),
            Line("  if always shipped", lambda r: r["ensemble"] - r["averaged"]),
            Line("  the nested estimate of it", lambda r: r["gain"]),
            share("  ensemble not shipped, %", lambda r: not r["ships"]),
            Line("shipped over greedy on macro-F1", lambda r: _shipped(r) - r["greedy"]),
            Line("the F1 rule over argmax", lambda r: r["ruled"] - r["argmax"]),
            share("  worse, %", lambda r: r["ruled"] < r["argmax"]),
            Line(
                "  the nested estimate minus it",
                lambda r: r["rule_gain"] - r["ruled"] + r["argmax"],
            ),
            Line("average over one fold model", lambda r: r["averaged"] - r["single"]),
        ],
        "the sweeps": [
            share("fold runs trained, %", lambda r: r["fold_runs"]),
            share("complete trials", lambda r: r["complete"] / 100),
            share("members", lambda r: r["members"] / 100),
            share("truth of the chosen trial", lambda r: r["single"]),
        ],
    }


def _best_lines() -> dict[str, list[Line]]:
    """The lines of the table that --best adds."""
    share = functools.partial(Line, share=True)
    return {
        "which trial is the best": [
            share("chance of the chosen trial, %", lambda r: r["chance"]),
            share("  it is the best, %", lambda r: r["is_best"]),
            share("the best is not told apart, %", lambda r: r["best_alike"]),
            share("  trials not told apart", lambda r: r["alike"] / 100),
        ],
    }


def print_tables(cells: dict[str, list[Record]]) -> None:
    """Print means with standard errors, a column for each cell."""
    print(f"{'':<34}" + "".join(f"{cell:>15}" for cell in cells))
    print(f"{'n':<34}" + "".join(f"{len(records):>15}" for records in cells.values()))
    tables = _lines()
    if all("is_best" in record for records in cells.values() for record in records):
        tables |= _best_lines()
    for title, lines in tables.items():
        print(f"\n{title}")
        for line in lines:
            print(f"  {line.name:<32}" + _row(line.cell(records) for records in cells.values()))
            if line.name in ("sweeps best", "sweeps best, less control"):
                deviations = [
                    statistics.stdev([100 * line.value(record) for record in records])
                    for records in cells.values()
                ]
                print(f"  {'  standard deviation':<32}" + _row(f"{d:.2f}" for d in deviations))


def _row(cells: Iterable[str]) -> str:
    return "".join(f"{cell:>15}" for cell in cells)


if __name__ == "__main__":
    main()
