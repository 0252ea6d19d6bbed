"""The fold models of the members of a mixture: those that are left, and what is gone.

`sweeps gc`, and the end of a trial, remove weights. A member whose fold models are gone in part is
averaged over the others. A member whose files are damaged is left out. A member without any fold
model, because they were removed, stops the command: the user decides what to do without it.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sweeps.errors import InputError
from sweeps.paths import TrialFiles
from sweeps.results.ranking import trial_directory
from sweeps.results.view import SweepView
from sweeps.shipping.shipped import Shipped
from trainer.errors import CheckpointError
from trainer.prediction.mixture import Mixture
from trainer.training.refit_result import refit_models
from trainer.training.result import WEIGHTS

if TYPE_CHECKING:
    from trainer.prediction.fold_model import FoldModel

MOST_NAMED = 10


@dataclasses.dataclass(frozen=True)
class MemberModels:
    """The fold models of one member.

    Attributes:
        models: those whose weights can be used.
        gone: the folds whose weights do not exist.
        damaged: the reason for each file of weights that cannot be used.
    """

    models: tuple["FoldModel", ...]
    gone: tuple[int, ...] = ()
    damaged: tuple[str, ...] = ()


Found = Mapping[str, MemberModels]


def find_models(shipped: Shipped, *, refit: bool = False) -> Found:
    """Return the fold models of each member that this machine trained. No weights are loaded.

    Args:
        refit: return the models that were trained on all images in place of the fold models.

    Raises:
        InputError: `refit` is asked, and a member has no such model.
    """
    return {
        name: _find(shipped, name, _refits(shipped, name) if refit else _folds(shipped, name))
        for name in shipped.trained
    }


def _folds(shipped: Shipped, name: str) -> list[Path]:
    files = TrialFiles(shipped.trained[name])
    return [files.fold(fold) for fold in range(shipped.folds.k)]


def _refits(shipped: Shipped, name: str) -> list[Path]:
    found = refit_models(shipped.trained[name])
    if not found:
        raise InputError(
            f"--refit: {shipped.names[name]} has no model that was trained on all images. "
            f"{_refit_command(shipped, name)} trains them"
        )
    return found


def _refit_command(shipped: Shipped, name: str) -> str:
    directory = shipped.trained[name]
    trial = int(directory.name.rpartition("-")[2])
    return f"`sweeps refit {directory.parent.name} --trial {trial}`"


def _find(shipped: Shipped, name: str, directories: Sequence[Path]) -> MemberModels:
    from trainer.prediction.fold_model import read_fold_model

    config = TrialFiles(shipped.trained[name]).config
    models = []
    gone = []
    damaged = []
    for number, directory in enumerate(directories):
        if not (directory / WEIGHTS).is_file():
            gone.append(number)
            continue
        try:
            model = read_fold_model(
                directory, config=config, folds=shipped.folds, code=shipped.code(name)
            )
            models.append(model)
        except CheckpointError as error:
            damaged.append(str(error))
    return MemberModels(tuple(models), tuple(gone), tuple(damaged))


def loaded(found: Found, *, most: int | None = None) -> Found:
    """Load the weights of the fold models; those that do not load count as damaged.

    Args:
        most: the most fold models of a member that are used; None for all.

    Raises:
        ConfigError: a network cannot be built, e.g. because a user's file is gone.
    """
    return {name: _loaded(member, most) for name, member in found.items()}


def _loaded(member: MemberModels, most: int | None) -> MemberModels:
    usable: list[FoldModel] = []
    damaged = list(member.damaged)
    for model in member.models:
        if len(usable) == most:
            break
        try:
            _ = model.network
            usable.append(model)
        except CheckpointError as error:
            damaged.append(str(error))
    if len(usable) == most:  # no other fold model is missed
        return MemberModels(tuple(usable))
    return dataclasses.replace(member, models=tuple(usable), damaged=tuple(damaged))


def settle(
    shipped: Shipped, found: Found, *, kept: Callable[[], Sequence[int]]
) -> tuple[Mixture, list[str]]:
    """Return the mixture of the members that have fold models, and what a user should know.

    Args:
        kept: returns the numbers of the sweep's trials that still have weights.

    Raises:
        InputError: the weights of a member were removed, or no member has any that can be used.
    """
    notices: list[str] = []
    left = []
    for member in shipped.mixture.members:
        if member.name in found:
            models = found[member.name]
            if not (models.models or models.damaged):
                raise InputError(_all_gone(shipped, member.name, kept()))
            notices += _notices(shipped.names[member.name], models)
            if not models.models:
                continue
        left.append(member)
    if not left:
        raise InputError("no weights can be used:\n  " + "\n  ".join(notices))
    if len(left) == len(shipped.mixture.members):
        return shipped.mixture, notices
    total = sum(member.weight for member in left)
    members = tuple(dataclasses.replace(each, weight=each.weight / total) for each in left)
    notices.append("the estimate and the rule are those of the mixture with all its members")
    return dataclasses.replace(shipped.mixture, members=members), notices


def _notices(known: str, member: MemberModels) -> list[str]:
    damaged = "; ".join(member.damaged)
    if not member.models:
        return [f"{known} is left out, because none of its fold models can be used: {damaged}"]
    notices = [f"{known} is averaged without a damaged fold model: {damaged}"] if damaged else []
    if member.gone:
        folds = ", ".join(map(str, member.gone))
        several = "s" if len(member.gone) > 1 else ""
        notices.append(f"{known} is averaged without fold{several} {folds}, whose weights are gone")
    return notices


def with_weights(view: SweepView, *, runs: Path) -> list[int]:
    """Return the numbers of the complete trials that have weights of a fold run, best first."""
    return [
        trial.number
        for trial in view.ranked()
        if _has_weights(trial_directory(runs.resolve(), trial, sweep=view.name))
    ]


def _has_weights(directory: Path) -> bool:
    return any((fold / WEIGHTS).is_file() for fold in TrialFiles(directory).folds())


def _all_gone(shipped: Shipped, name: str, kept: Sequence[int]) -> str:
    shown = ", ".join(map(str, kept[:MOST_NAMED])) + (", ..." if len(kept) > MOST_NAMED else "")
    others = (
        f"Trials that still have theirs: {shown} (--trial, or --topk as far as they are the best)"
        if kept
        else "No complete trial of the sweep has any"
    )
    return (
        f"{shipped.names[name]}: the weights of all its {shipped.folds.k} fold models were "
        "removed, because only the best trials keep theirs (`keep` in the search space, `sweeps "
        "gc`). "
        f"{others}. {_refit_command(shipped, name)} trains it again on all images, for "
        "`sweeps predict --refit`"
    )


def all_models(found: Iterable[MemberModels]) -> list["FoldModel"]:
    """Return the fold models of all members."""
    return [model for member in found for model in member.models]
