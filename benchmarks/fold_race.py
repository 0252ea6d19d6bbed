"""How many fold runs does pruning save,
and how often does it stop the trial that would have been the best?

    python benchmarks/fold_race.py

The benchmark simulates sweeps of 60 trials, one after another. A score is the sum of the trial's
skill, the fold's effect (standard deviation 1.0) and a residual (0.6). The skill is normal, of the
standard deviation named "spread", or lies evenly between 0 and "width". Within a fold, epochs
approach the score from below, each trial at its own pace, with noise of 0.3 that fades. The
functions that the driver asks decide what is pruned. These methods prune the same sweeps:

    race       after each fold, at several error rates and with a protection of near-ties
    wilcoxon   after each fold, Optuna's signed-rank test against the best trial
    median     after each fold, Optuna's rule on the mean over the folds so far
    hyperband  at epochs: W&B's rule, bands at 3, 9, 27 epochs, as documented and strict

The last three have keep_at_least 0 here, except in one line, which has the default. For each
method the benchmark prints the share of the fold runs (for hyperband of the epochs) that it saved,
as mean ± standard deviation over the sweeps. It also prints how often the best trial by its mean
over all folds was pruned, with the standard error, and how many of the best five were kept. This
takes about ten minutes of one core, most of it in the signed-rank tests. The settings run side by
side.

What the race and the end of a sweep do to the ensemble follows in tables of their own, for which
out-of-fold predictions are simulated; `finishing.py` says how, and how long they take.
"""

import argparse
import dataclasses
import functools
import itertools
import math
import multiprocessing
import statistics
from collections.abc import Callable, Iterator

import finishing
import numpy as np
import numpy.typing as npt
import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial
from report import print_header

from sweeps.search.pruning import fold_reason, stop_reason
from sweeps.search.race import Standing
from sweeps.space.domains import Constant
from sweeps.space.parameters import Parameter, Space
from sweeps.space.spec import Folds, Metric, SweepSpec
from sweeps.space.stopping import EarlyTerminate, Hyperband, Median, NoRule, Race, Wilcoxon
from trainer.data.options import DataOptions

# T trials, F folds, E epochs
Array = npt.NDArray[np.float64]

TRIALS = 60
EPOCHS = 6
TOP = 5
FOLD_EFFECT = 1.0
RESIDUAL = 0.6
EPOCH_NOISE = 0.3
NO_RULE = NoRule()
MAIN = (
    ("spread 2.0", 5),
    ("width 2.0", 5),
)  # of them more sweeps are simulated: two readings of "spread by 2.0"
SKILLS: dict[str, Callable[[np.random.Generator], Array]] = {
    "spread 0.5": lambda rng: rng.normal(0, 0.5, TRIALS),
    "spread 2.0": lambda rng: rng.normal(0, 2.0, TRIALS),
    "spread 5.0": lambda rng: rng.normal(0, 5.0, TRIALS),
    "width 2.0": lambda rng: rng.uniform(0, 2.0, TRIALS),
}


@dataclasses.dataclass(frozen=True)
class Simulated:
    """A sweep as it would go without pruning; a fold's score is its last epoch's value."""

    epochs_TFE: Array

    @property
    def scores_TF(self) -> Array:
        """Of every fold run."""
        return self.epochs_TFE[..., -1]


@dataclasses.dataclass(frozen=True)
class Pruned:
    """What pruning did to a sweep."""

    saved: float
    lost_the_best: bool
    kept_of_the_top: int


Method = Callable[[Simulated], Pruned]


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sweeps", type=int, default=300, help="per setting")
    parser.add_argument(
        "--main-sweeps",
        type=int,
        default=1000,
        help="of the race where scores spread by 2.0 and K = 5",
    )
    parser.add_argument("--finishing-sweeps", type=int, default=80, help="per table of ensembles")
    options = parser.parse_args()
    print_header("optuna", "scipy", "numpy")
    settings = [
        (skill, folds)
        for skill in SKILLS
        for folds in ((5,) if skill == "width 2.0" else (3, 5, 10))
    ]
    table = functools.partial(_table, sweeps=options.sweeps, main_sweeps=options.main_sweeps)
    with multiprocessing.Pool() as pool:
        for lines in pool.imap(table, settings):
            print("\n".join(lines), flush=True)
    for sampler, spread in itertools.product(finishing.SAMPLERS, finishing.TABLES):
        tasks = [
            finishing.Task(spread, sampler, sweep) for sweep in range(options.finishing_sweeps)
        ]
        finishing.print_table(tasks, file=None, processes=None)


def _table(setting: tuple[str, int], *, sweeps: int, main_sweeps: int) -> list[str]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    skill, folds = setting
    race_sweeps = main_sweeps if setting in MAIN else sweeps
    lines = [f"\n{skill}, {folds} folds, {TRIALS} trials"]
    lines.append(
        f"  {'method':<32}{'saved, %':>14}{'best lost, %':>16}{f'kept of top {TOP}':>16}{'n':>7}"
    )
    for name, method in _methods(folds).items():
        count = race_sweeps if name.startswith("race") else sweeps
        results = [method(sweep) for sweep in simulate(skill, folds, count)]
        saved = [100 * result.saved for result in results]
        lost = statistics.fmean(result.lost_the_best for result in results)
        error = math.sqrt(lost * (1 - lost) / count)
        kept = statistics.fmean(result.kept_of_the_top for result in results)
        columns = f"{statistics.fmean(saved):8.1f} ± {statistics.stdev(saved):3.1f}"
        lines.append(
            f"  {name:<32}{columns:>14}{f'{100 * lost:.1f} ± {100 * error:.1f}':>16}"
            f"{kept:16.1f}{count:7}"
        )
    return lines


def simulate(skill: str, folds: int, count: int) -> Iterator[Simulated]:
    """The same sweeps for every method."""
    rng = np.random.default_rng([list(SKILLS).index(skill), folds])
    for _ in range(count):
        scores_TF = SKILLS[skill](rng)[:, None] + rng.normal(0, FOLD_EFFECT, folds)
        scores_TF = scores_TF + rng.normal(0, RESIDUAL, scores_TF.shape)
        pace_T = rng.uniform(0.4, 1.6, TRIALS)
        left_E = np.arange(EPOCHS - 1, -1, -1) / (EPOCHS - 1)
        missing_TFE = (
            4.0 * (left_E ** pace_T[:, None])[:, None]
        )  # straight at pace 1, late learners below
        noise_TFE = rng.normal(0, EPOCH_NOISE, (*scores_TF.shape, EPOCHS)) * left_E
        yield Simulated(scores_TF[..., None] - missing_TFE + noise_TFE)


def _methods(folds: int) -> dict[str, Method]:
    def after_folds(race: Race | bool = False, rule: EarlyTerminate = NO_RULE) -> Method:
        return functools.partial(_after_folds, spec=_spec(folds, race=race, rule=rule))

    def hyperband(strict: bool = False, keep: int = 0) -> Method:
        rule = Hyperband(type="hyperband", min_iter=3, strict=strict, keep_at_least=keep)
        return functools.partial(_at_epochs, spec=_spec(folds, rule=rule))

    default = Race()
    median = Median(type="median", warmup_epochs=0, keep_at_least=0)
    return {
        "no pruning": after_folds(),
        **{
            f"race, {rate}{' (default)' * (rate == default.error_rate)}": after_folds(
                race=Race(error_rate=rate)
            )
            for rate in (0.005, 0.01, 0.05)
        },
        "race, near_tie 0.5": after_folds(race=Race(near_tie=0.5)),
        **{
            f"wilcoxon, p {p}": after_folds(
                rule=Wilcoxon(type="wilcoxon", p_threshold=p, keep_at_least=0)
            )
            for p in (0.1, 0.2, 0.3)
        },
        "median on fold means": functools.partial(
            _on_fold_means, spec=_spec(folds, rule=median, epochs=1)
        ),
        "hyperband": hyperband(),
        "hyperband, keep_at_least 20": hyperband(keep=20),
        "hyperband, strict": hyperband(strict=True),
    }


def _spec(
    folds: int,
    *,
    race: Race | bool = False,
    rule: EarlyTerminate = NO_RULE,
    epochs: int = EPOCHS,
) -> SweepSpec:
    return SweepSpec(
        name="simulated",
        metric=Metric(name="valid/f1", goal="maximize"),
        data=DataOptions(source="none"),
        folds=Folds(k=folds, race=race),
        early_terminate=rule,
        space=Space((Parameter("epochs", Constant(epochs)),)),
        raw={},
    )


def _after_folds(sweep: Simulated, *, spec: SweepSpec) -> Pruned:
    finished: list[Standing] = []
    for number, scores in enumerate(sweep.scores_TF.tolist()):
        done = 1
        while done < len(scores) and fold_reason(finished, scores[:done], spec=spec) is None:
            done += 1
        finished.append(Standing(number, tuple(scores[:done])))
    return _pruned(sweep, [len(standing.fold_scores) / spec.folds.k for standing in finished])


def _on_fold_means(sweep: Simulated, *, spec: SweepSpec) -> Pruned:
    """As many epochs as folds: one report a fold."""
    folds = spec.folds.k
    means_TF = np.cumsum(sweep.scores_TF, axis=1) / np.arange(1, folds + 1)
    return _reported(sweep, means_TF, spec=spec)


def _at_epochs(sweep: Simulated, *, spec: SweepSpec) -> Pruned:
    trials, folds, epochs = sweep.epochs_TFE.shape
    before_TF = np.cumsum(sweep.scores_TF, axis=1) - sweep.scores_TF
    values_TFE = (before_TF[..., None] + sweep.epochs_TFE) / np.arange(1, folds + 1)[:, None]
    return _reported(sweep, values_TFE.reshape(trials, folds * epochs), spec=spec)


def _reported(sweep: Simulated, values_TR: Array, *, spec: SweepSpec) -> Pruned:
    """Report value by value until told to stop."""
    study = optuna.create_study(direction=spec.metric.goal)
    shares = []
    for values in values_TR.tolist():
        trial: FrozenTrial = create_trial(state=TrialState.RUNNING)
        reports = trial.intermediate_values
        for step, value in enumerate(values, start=1):
            reports[step] = value
            if step < len(values) and stop_reason(study, trial, spec) is not None:
                break
        shares.append(len(reports) / len(values))
        if len(reports) == len(values):
            study.add_trial(create_trial(value=values[-1], intermediate_values=reports))
        else:
            study.add_trial(create_trial(state=TrialState.PRUNED, intermediate_values=reports))
    return _pruned(sweep, shares)


def _pruned(sweep: Simulated, share_of_trials: list[float]) -> Pruned:
    ranking = np.argsort(-sweep.scores_TF.mean(axis=1))
    kept = [share_of_trials[number] == 1 for number in ranking[:TOP]]
    return Pruned(1 - statistics.fmean(share_of_trials), not kept[0], sum(kept))


if __name__ == "__main__":
    main()
