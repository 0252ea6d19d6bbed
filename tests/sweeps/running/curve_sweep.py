"""A stored sweep over CURVE_SPACE with drivers that may die, and what a worker tells them."""

import contextlib
import copy
import math
import statistics
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, create_trial

from sweeps.errors import LeaseLostError
from sweeps.paths import SweepFiles
from sweeps.running.asking import Next
from sweeps.running.driver import Driver
from sweeps.running.events import EpochFinished, Event
from sweeps.running.messages import Assignment, Outcome, RunTrial, Share, TrialReport, TrialReporter
from sweeps.running.patience import GRACE_S
from sweeps.running.plan import Plan
from sweeps.running.take_over import open_driver
from sweeps.search.history import history
from sweeps.space.spec import SweepSpec
from sweeps.space.spec_reader import read_spec
from sweeps.study.stored_sweep import StoredSweep
from tests.fakes import CURVE_SPACE, TroubledStorage, hasty_storage

GRID = (
    "method=grid",
    "parameters.lr={values: [0.003, 0.1, 0.00003]}",
    "parameters.optimizer={value: adam}",
)
NO_RACE = "folds.race=false"
MEDIAN = "early_terminate={type: median, startup_trials: 1, warmup_epochs: 0, keep_at_least: 0}"
# three points by chance
THREE = (
    "method=random",
    "run_cap=100",
    "parameters.optimizer={value: adam}",
    "parameters.lr={values: [0.003, 0.1, 0.3]}",
)


class Sweep:
    """A stored sweep over CURVE_SPACE, and drivers for it."""

    def __init__(self, folder: Path, *settings: str, storage: BaseStorage | None = None) -> None:
        (folder / "curve.yaml").write_text(CURVE_SPACE)
        self.spec: SweepSpec = read_spec(folder / "curve.yaml", settings=settings)
        self.folder = folder
        self.storage = TroubledStorage(storage or hasty_storage(folder))
        self.stored = StoredSweep.create(self.storage, self.spec, identity="an identity")  # type: ignore[arg-type]
        self.events: list[Event] = []

    def driver(self, **options: Any) -> Driver:
        share = Share(
            **{
                name: options.pop(name)
                for name in ("device", "gpu", "threads", "streamed")
                if name in options
            }
        )
        plan = Plan(
            self.spec,
            SweepFiles(self.folder),
            share,
            options.pop("trial_cap", self.spec.trial_cap),
            grace_s=options.pop("grace_s", GRACE_S),
        )
        return open_driver(
            plan, self.stored, **{"listener": self.events.append, "clock": lambda: 0.0, **options}
        )

    def trial(self, number: int) -> FrozenTrial:
        return self.stored.trials()[number]

    def writes(self, method: str) -> int:
        return sum(name == method for name, _ in self.storage.written)

    def spent(self) -> tuple[float, float]:
        """Seconds and GPU-seconds, as stored."""
        record = self.stored.record()
        return record.elapsed_s, record.gpu_s

    def told(self, kind: type[Event]) -> list[Any]:
        """The events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    def remember(self, number: int, *scores: float, **params: Any) -> None:
        """Add a finished trial of the sweep `other`, as `warm_start` does;
        one score stands for three equal ones.
        """
        fold_scores = list(scores) if len(scores) > 1 else [*scores] * 3
        kinds = {
            "lr": FloatDistribution(1e-5, 1.0),
            "optimizer": CategoricalDistribution(("adam", "adamw", "sgd")),
        }
        trained = create_trial(
            value=statistics.fmean(fold_scores),
            params=params,
            distributions={name: kinds[name] for name in params},
            user_attrs={"fold_scores": fold_scores},
        )
        trained.number = number
        (fitting,) = history(
            self.spec.space, [trained], source="other", source_space=self.spec.space
        )
        self.stored.add(fitting)

    def milestones(self) -> list[Event]:
        """The events, without one for each epoch."""
        return [event for event in self.events if not isinstance(event, EpochFinished)]

    @contextlib.contextmanager
    def mortal(self, death: "Death | None" = None, **options: Any) -> Iterator[Driver]:
        """A driver that is killed, not left."""
        death = death or Death()
        entered = threading.Event()
        driver = self.driver(fence=lambda: death() if entered.is_set() else None, **options)
        driver.__enter__()
        entered.set()
        try:
            yield driver
        finally:
            death.come()
            driver._closed.set()
            driver._recorder.close()  # its thread ends; death lets nothing through

    def grown(self, *settings: str) -> "Sweep":
        """The same stored sweep with another search space, as after `--update`."""
        other = copy.copy(self)
        other.spec = read_spec(self.folder / "curve.yaml", settings=settings)
        other.stored = self.stored.update_spec(other.spec.fixed_part())
        return other


class Death:
    """Lets a number of writes through.

    What a driver writes later never reaches the storage, as after kill -9.
    """

    def __init__(self, writes: float = math.inf) -> None:
        self._left = writes
        self.has_come = False

    def __call__(self) -> None:
        self._left -= 1
        if self._left < 0 or self.has_come:
            self.come()
            raise LeaseLostError("killed")

    def come(self) -> None:
        self.has_come = True


def handed_out(driver: Driver) -> Assignment:
    """The next trial, asked for until its start is recorded."""
    while (answer := driver.next()) is Next.WAIT:
        threading.Event().wait(0.005)
    assert isinstance(answer, Assignment)
    return answer


def report(fold: int, epoch: int, value: float, *fold_scores: float) -> TrialReport:
    """A report of a space with two epochs."""
    return TrialReport(
        step=2 * fold + epoch,
        value=value,
        fold=fold,
        epoch=epoch,
        epochs=2,
        fold_scores=tuple(fold_scores),
    )


def completed(*scores: float) -> Outcome:
    return Outcome("completed", scores)


def ending_after(count: int, driver: Driver, outcome: Outcome) -> RunTrial:
    """Trials that all end like this; more than `count` of them end the sweep as Ctrl-C does."""
    left = iter(range(count))

    def trial(assignment: Assignment, reporter: TrialReporter) -> Outcome:
        if next(left, None) is None:
            driver.stop()
        return outcome

    return trial


def table(trials: Iterable[FrozenTrial]) -> list[tuple[Any, ...]]:
    """All that a sweep says of its trials, except whether they were interrupted."""
    return [
        (
            trial.number,
            trial.state,
            trial.params,
            trial.values,
            trial.intermediate_values,
            {key: value for key, value in trial.user_attrs.items() if key != "interrupted"},
        )
        for trial in trials
    ]
