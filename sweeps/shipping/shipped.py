"""What leaves a sweep: its ensemble, or the trials that the user names, as a mixture of members."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from sweeps.errors import InputError
from sweeps.paths import SweepFiles
from sweeps.results.choice import Wish, choose, mixture_for
from sweeps.results.chosen import names_of
from sweeps.results.foreign import Foreign
from sweeps.results.metric import Metric
from sweeps.results.resampling import Interval
from sweeps.results.sweep_metric import metric_of
from sweeps.results.view import SweepView
from trainer.data.folds import Folds
from trainer.metrics import Probs
from trainer.prediction.mixture import Mixture
from trainer.training.oof import read_oof


@dataclasses.dataclass(frozen=True)
class Shipped:
    """A mixture, and where its members are.

    Attributes:
        title: what it is, for a person: "the ensemble", "trial 12".
        directories: the directory of each member that this machine trained, by the member's name.
        foreign: the file of each other member, by the member's name.
        names: how a person knows each member.
        expected: the honest estimate on new groups; None if there is none.
    """

    sweep: str
    title: str
    mixture: Mixture
    directories: Mapping[str, Path]
    foreign: Mapping[str, Foreign]
    names: Mapping[str, str]
    folds: Folds
    metric: Metric
    expected: Interval | None = None

    def code(self, name: str) -> Path:
        """The folder with the user's files that a member was trained with."""
        return SweepFiles(self.directories[name].parent).code

    @property
    def prior_K(self) -> tuple[float, ...]:
        """The share of each class among all images of the folds."""
        labels_N = self.folds.manifest.labels_N
        counts_K = np.bincount(labels_N, minlength=len(self.folds.manifest.classes))
        return tuple((counts_K / len(labels_N)).tolist())

    def oof(self) -> Probs:
        """Return the mixture's out-of-fold probabilities of the scored images.

        Raises:
            DataError, InputError: out-of-fold predictions of a member are missing or damaged.
        """
        rows = self.folds.scored_rows()
        probs = {name: [read_oof(path, self.folds)[rows]] for name, path in self.trained.items()}
        probs |= {name: [file.probs_for(self.folds)[rows]] for name, file in self.foreign.items()}
        return self.mixture.of(probs)

    @property
    def trained(self) -> Mapping[str, Path]:
        """The directories of the members of the mixture."""
        return {
            member.name: self.directories[member.name]
            for member in self.mixture.members
            if member.name in self.directories
        }


def what_ships(
    view: SweepView,
    *,
    runs: Path,
    wish: Wish,
    trial: int | None = None,
    topk: int | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> Shipped:
    """Return what a sweep ships: its choice, one trial, or its best trials with equal weights.

    Args:
        trial: the number of the trial.
        topk: the number of trials.
        tell: see `choose`.

    Raises:
        NothingCompletedError: no trial is complete.
        InputError: both `trial` and `topk` are given, or the trial is not complete.
    """
    if trial is not None and topk is not None:
        raise InputError("--trial and --topk name different trials: give one of them")
    folds = SweepFiles.of(runs, view.name).folds()
    metric = metric_of(view, SweepFiles.of(runs, view.name), folds)
    if trial is None and topk is None:
        choice = choose(view, runs=runs, wish=wish, tell=tell)
        alone = len(choice.mixture.members) == 1
        title = names_of(choice)[choice.mixture.members[0].name] if alone else "the ensemble"
        return Shipped(
            view.name,
            title,
            choice.mixture,
            choice.directories(runs.resolve()),
            _members(choice.mixture, {file.name: file for file in wish.foreign}),
            names_of(choice),
            folds,
            metric,
            choice.expected,
        )
    numbers = [trial] if trial is not None else [best.number for best in view.ranked()[:topk]]
    mixture, candidates = mixture_for(view, numbers, runs=runs, wish=wish)
    found = {each.name: each for each in candidates.trials}
    alone = len(numbers) == 1
    return Shipped(
        view.name,
        f"trial {numbers[0]}" if alone else f"the best {len(numbers)} trials",
        mixture,
        {m.name: runs.resolve() / m.name for m in mixture.members},
        {},
        {m.name: f"trial {found[m.name].number}" for m in mixture.members},
        folds,
        metric,
    )


def _members(mixture: Mixture, files: Mapping[str, Foreign]) -> Mapping[str, Foreign]:
    names: Sequence[str] = [member.name for member in mixture.members]
    return {name: file for name, file in files.items() if name in names}
