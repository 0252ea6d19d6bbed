"""A simulated sweep: its trials, what the fold race leaves of it, and the truth about its choice.

Shapes: N images, K classes.
"""

import dataclasses
import statistics
from collections.abc import Sequence

import numpy as np
from world import COLUMNS, FOLDS, Trial, World

from sweeps.results.ensemble import Library, fit_ensemble, predict
from sweeps.results.metric import Metric
from sweeps.results.runners_up import RunnerUp, best_by_gain
from sweeps.search.race import Standing, race_reason
from sweeps.space.stopping import Race
from trainer.metrics import Goal, Probs
from trainer.prediction.decision import Decision
from trainer.prediction.mixture import Mixture, mean

F1 = Metric.named("f1", Goal.MAXIMIZE)
ARGMAX = Decision()


@dataclasses.dataclass(frozen=True)
class Way:
    """How a sweep saves fold runs.

    Attributes:
        error_rate: of the fold race; 0 for no race.
        finish: at most this number of pruned trials are finished at the end, as `folds.finish`.
    """

    error_rate: float
    finish: int = 0

    def raced(
        self, standings: Sequence[Standing], number: int, scores: tuple[float, ...]
    ) -> Standing:
        """Return the folds that the next trial trains.

        Args:
            standings: the trials that are over.
            scores: what the trial scores on all folds.
        """
        folds = 1 if self.error_rate else FOLDS
        while folds < FOLDS and not race_reason(
            standings,
            scores[:folds],
            rule=Race(error_rate=self.error_rate),
            k=FOLDS,
            goal=Goal.MAXIMIZE,
        ):
            folds += 1
        return Standing(number, scores[:folds])


@dataclasses.dataclass(frozen=True)
class Ended:
    """What became of the trials of a sweep.

    Attributes:
        standings: the folds that each trial trained before the end of the sweep.
        finished: the numbers of the pruned trials that were finished at the end.
    """

    standings: tuple[Standing, ...]
    finished: tuple[int, ...] = ()

    @property
    def complete(self) -> list[int]:
        """The numbers of the trials that have all folds."""
        return [
            standing.number
            for standing in self.standings
            if len(standing.fold_scores) == FOLDS or standing.number in self.finished
        ]

    @property
    def fold_runs(self) -> float:
        """The share of all fold runs that were trained."""
        trained = sum(
            FOLDS if standing.number in self.finished else len(standing.fold_scores)
            for standing in self.standings
        )
        return trained / (FOLDS * len(self.standings))

    def fold_scores(self, scores: Sequence[tuple[float, ...]]) -> list[tuple[float, ...]]:
        """The scores that are known at the end; `scores` has those of all folds of each trial."""
        return [
            scores[one.number] if one.number in self.finished else one.fold_scores
            for one in self.standings
        ]


class SimulatedSweep:
    """Trials of a world, as far as they were looked at; what is expensive is kept."""

    def __init__(self, world: World, trials: Sequence[Trial] = ()) -> None:
        self.world = world
        self.trials: list[Trial] = []
        self.oof: list[Probs] = []
        self.scores: list[tuple[float, ...]] = []
        self._models: dict[int, list[Probs]] = {}
        for trial in trials:
            self.add(trial)

    def add(self, trial: Trial) -> tuple[float, ...]:
        """Add the next trial and return what it scores on all folds."""
        assert trial.number == len(self.trials)
        self.trials.append(trial)
        self.oof.append(self.world.oof(trial))
        self.scores.append(self.world.fold_scores(self.oof[-1]))
        return self.scores[-1]

    def race(self, way: Way) -> Ended:
        """Return what the race stops, one trial after another, and what is finished at the end."""
        standings: list[Standing] = []
        for number, scores in enumerate(self.scores):
            standings.append(way.raced(standings, number, scores))
        return self.finish(Ended(tuple(standings)), way)

    def finish(self, ended: Ended, way: Way) -> Ended:
        """Finish the pruned trials that help the ensemble most."""
        most = min(way.finish, len(ended.standings) // 4)
        if not most:
            return ended
        library = self.library(ended.complete)
        ensemble_NK = predict(library, fit_ensemble(library, metric=F1)).probs_NK
        pruned = [one for one in ended.standings if len(one.fold_scores) < FOLDS]
        runners_up = [
            RunnerUp(one.number, self._known(one.number, folds=len(one.fold_scores)))
            for one in pruned
        ]
        chosen = best_by_gain(library, ensemble_NK, runners_up, most=most)
        return dataclasses.replace(ended, finished=tuple(chosen))

    def library(self, numbers: Sequence[int]) -> Library:
        """Return the out-of-fold predictions of these trials."""
        photos = self.world.photos
        return Library(
            [str(number) for number in numbers],
            [self.oof[number] for number in numbers],
            photos.labels_N,
            groups_N=photos.persons_N,
            columns=COLUMNS,
        )

    def alone(self, number: int) -> float:
        """The truth of one fold model of a trial, averaged over its fold models."""
        return statistics.fmean(
            self.world.new.score(probs_NK.argmax(axis=1)) for probs_NK in self._fold_models(number)
        )

    def averaged(self, number: int) -> float:
        """The truth of the average of a trial's fold models."""
        return self.world.new.score(mean(self._fold_models(number)).argmax(axis=1))

    def mixed(self, mixture: Mixture, *decisions: Decision) -> list[float]:
        """The truth of a mixture of averages of fold models, with each of these decisions."""
        names = [member.name for member in mixture.members]
        probs_NK = mixture.of({name: self._fold_models(int(name)) for name in names})
        return [self.world.new.score(decision.of(probs_NK)) for decision in decisions]

    def _fold_models(self, number: int) -> list[Probs]:
        if number not in self._models:
            self._models[number] = self.world.fold_models(self.trials[number])
        return self._models[number]

    def _known(self, number: int, *, folds: int) -> Probs:
        """The predictions of a trial's first folds."""
        missing_N1 = (self.world.fold_N >= folds)[:, None]
        known_NK: Probs = np.where(missing_N1, np.float32(np.nan), self.oof[number])
        return known_NK
