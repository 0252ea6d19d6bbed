"""The values of a choice: what a sweep ships, and what is known of its trials."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sweeps.results.estimate import EnsembleEstimate
from sweeps.results.resampling import Interval
from trainer.metrics import Goal
from trainer.prediction.mixture import Member, Mixture


@dataclasses.dataclass(frozen=True)
class Ranked:
    """A candidate and what is known of it.

    Attributes:
        name: see `sweeps.results.candidates.Candidate`.
        oof_score: the metric over all out-of-fold predictions together.
        chance: the chance to be the best trial; None where nothing can be estimated.
        expected: what the trial is expected to score on new groups; None for a user's metric.
    """

    name: str
    sweep: str | None
    number: int | None
    seconds: float
    oof_score: float
    chance: float | None
    expected: Interval | None


@dataclasses.dataclass(frozen=True)
class Choice:
    """The choice of a sweep.

    Attributes:
        images, groups: how many are scored; `groups` is None without groups.
        trials: the candidates, best first.
        chosen: the trial that the rule chooses; "best" or "one_se", see `estimate_single`.
        single: the estimate for `chosen`; None with fewer than FEWEST_GROUPS groups.
        alike: the trials that cannot be told apart from the best.
        ensemble: the mixture of members.
        oof_score: the score of `ensemble` on the predictions that it was fitted on.
        estimate: the estimate for `ensemble`; None where `single` is None.
        flattery: by how much the choice of epochs on the folds flatters the chosen trial and the
            ensemble; it is subtracted from their estimates.
        rare: classes with images of fewer than three groups.
        left_out: complete trials that are not considered, one line each.
    """

    metric: str
    goal: Goal
    folds_hash: str
    images: int
    groups: int | None
    trials: tuple[Ranked, ...]
    chosen: str
    rule: str
    single: Interval | None
    alike: tuple[str, ...]
    ensemble: Mixture
    oof_score: float
    estimate: EnsembleEstimate | None
    flattery: tuple[float, float]
    rare: tuple[str, ...]
    left_out: tuple[str, ...]

    @property
    def ships_ensemble(self) -> bool:
        """Whether the ensemble is shipped; if not, the chosen trial is."""
        return self.estimate is None or self.estimate.ships

    @property
    def mixture(self) -> Mixture:
        """What `sweeps predict` uses: the ensemble, or the chosen trial as it is."""
        return self.ensemble if self.ships_ensemble else Mixture((Member(self.chosen, 1.0),))

    @property
    def expected(self) -> Interval | None:
        """The honest estimate for what is shipped."""
        if self.estimate is None:
            return None
        return self.estimate.interval if self.ships_ensemble else self.single

    def directories(self, runs: Path) -> dict[str, Path]:
        """Return the directories of the members of `mixture`, except foreign predictions."""
        trained = {trial.name for trial in self.trials if trial.sweep is not None}
        return {m.name: runs / m.name for m in self.mixture.members if m.name in trained}

    def as_json(self) -> dict[str, Any]:
        """The choice as `sweeps best --json` prints it."""
        by_name = {trial.name: trial for trial in self.trials}
        members = [
            {
                "trial": by_name[member.name].number,
                "weight": member.weight,
                "sweep": by_name[member.name].sweep,
                "name": member.name,
            }
            for member in self.ensemble.members
        ]
        estimate = self.estimate
        ensemble = {
            "members": members,
            "oof_score": self.oof_score,
            "gain": None if estimate is None else estimate.gain,
            "gain_error": None if estimate is None else estimate.gain_error,
            "rule": self.ensemble.decision.rule,
            "rule_gain": None if estimate is None else estimate.rule_gain,
            "rule_gain_error": None if estimate is None else estimate.rule_gain_error,
            "ships": self.ships_ensemble,
            **_as_json(None if estimate is None else estimate.interval),
        }
        chosen = by_name[self.chosen]
        return {
            "ensemble": ensemble,
            "choice": {
                "trial": chosen.number,
                "sweep": chosen.sweep,
                "rule": self.rule,
                "oof_score": chosen.oof_score,
                **_as_json(self.single),
                "alike": list(self.alike),
                "images": self.images,
                "groups": self.groups,
                "flattery": list(self.flattery),
                "rare_classes": list(self.rare),
                "left_out": list(self.left_out),
            },
        }

    def of(self, name: str) -> Ranked:
        """Return the candidate of this name."""
        return next(trial for trial in self.trials if trial.name == name)


def _as_json(interval: Interval | None) -> dict[str, Any]:
    if interval is None:
        return {"estimate": None, "ci95": None, "evidence": None}
    return {
        "estimate": interval.value,
        "ci95": [interval.low, interval.high],
        "evidence": interval.evidence,
    }


def names_of(choice: Choice) -> Mapping[str, str]:
    """Return how a reader knows each candidate.

    That is "trial 12", or "trial 12 of mask" if there are several sweeps. A file of foreign
    predictions has its name.
    """
    several = len({trial.sweep for trial in choice.trials if trial.sweep}) > 1
    return {
        trial.name: trial.name
        if trial.sweep is None
        else f"trial {trial.number}" + (f" of {trial.sweep}" if several else "")
        for trial in choice.trials
    }
