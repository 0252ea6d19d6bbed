"""The trials that workers evaluate at this moment: how far they are, and how fast they go."""

import dataclasses
from collections.abc import Callable, Iterable

from optuna.trial import FrozenTrial

from sweeps.running.events import Running
from sweeps.running.messages import TrialReport
from sweeps.running.pace import Pace
from sweeps.running.patience import Silence
from sweeps.running.shown import CONTINUING, STARTING, after_report
from sweeps.space.spec import SweepSpec
from sweeps.study.records import finish_of


class UnderWay:
    """The running trials of one driver. The caller of each method holds the driver's lock."""

    def __init__(
        self, spec: SweepSpec, clock: Callable[[], float], *, expected_s: float | None
    ) -> None:
        """
        Args:
            clock, expected_s: see Pace.
        """
        self._spec = spec
        self._running: dict[int, Running] = {}
        self._notes: dict[int, list[str]] = {}
        self._pace = Pace(clock, expected_s=expected_s, epochs=spec.folds.k * spec.max_epochs)

    def __contains__(self, number: int) -> bool:
        return number in self._running

    def __len__(self) -> int:
        return len(self._running)

    @property
    def numbers(self) -> set[int]:
        """The numbers of the trials."""
        return set(self._running)

    def began(self, trial: FrozenTrial, *, continued: bool) -> None:
        """A trial goes to a worker now.

        Args:
            continued: whether it was interrupted before.
        """
        self._running[trial.number] = Running(
            trial.number,
            0,
            0,
            self._spec.max_epochs,
            None,
            finish_of(trial),
            params=dict(trial.params),
            doing=CONTINUING if continued else STARTING,
        )
        self._notes[trial.number] = []
        self._pace.started(trial.number)

    def restarted(self, number: int) -> None:
        """Another worker process begins a trial anew now, because the last one died."""
        self._pace.restarted(number)

    def reported(self, number: int, report: TrialReport, *, best: FrozenTrial | None) -> None:
        """A trial reports now.

        Args:
            best: the best trial so far.
        """
        self._running[number] = after_report(self._running[number], report, best=best)
        self._pace.reported(number, done=report.fold * report.epochs + report.epoch)
        self.note(number, report.notes)

    def note(self, number: int, notes: Iterable[str]) -> None:
        """Keep what a reader of the trial's score should know, each note once."""
        known = self._notes[number]
        known += [note for note in notes if note not in known]

    def ended(self, number: int, *, counts: bool) -> list[str]:
        """A trial leaves its worker now.

        Args:
            counts: see `Pace.ended`.

        Returns:
            The notes about the trial.
        """
        del self._running[number]
        self._pace.ended(number, counts=counts)
        return self._notes.pop(number)

    def silent(self) -> list[Silence]:
        """The trials that have not reported for too long, see `Pace.silent`."""
        return self._pace.silent(self._spec.stuck_after)

    def shown(self) -> tuple[Running, ...]:
        """The trials as the progress shows them, ordered by number."""
        return tuple(
            dataclasses.replace(running, left_s=self._left_s(running))
            for _, running in sorted(self._running.items())
        )

    def eta_s(self, trials: int) -> float | None:
        """Seconds until `trials` trials are over, see `Pace.eta_s`."""
        return self._pace.eta_s(trials)

    def _left_s(self, running: Running) -> float | None:
        return self._pace.left_s(running.number, total=running.epochs * self._spec.folds.k)
