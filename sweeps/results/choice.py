"""What a sweep ships: the ensemble or the best trial, and what to expect of it on new groups.

The choice is computed from the out-of-fold predictions of all complete trials, and kept in a file
beside the sweep by a hash of everything that went in.
"""

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pydantic

from sweeps.errors import InputError, NothingCompletedError
from sweeps.paths import SweepFiles, TrialFiles
from sweeps.results.candidates import Candidate, Candidates, find_candidates
from sweeps.results.chosen import Choice, Ranked
from sweeps.results.ensemble import MAX_MEMBERS, Library, fit_ensemble, mixture_of, predict
from sweeps.results.estimate import (
    EnsembleEstimate,
    SingleEstimate,
    epoch_flattery,
    estimate_ensemble,
    estimate_single,
    rare_classes,
)
from sweeps.results.fold_evidence import FoldEvidence, fold_evidence
from sweeps.results.foreign import Foreign
from sweeps.results.metric import Metric
from sweeps.results.ranking import trial_directory
from sweeps.results.sweep_metric import metric_of
from sweeps.results.view import SweepView
from sweeps.space.spec import result_field, user_metric
from sweeps.study.records import Origin, fold_scores, origin, with_fold_scores
from trainer.data.folds import Folds
from trainer.files import atomic_write, file_digest, fold_directories
from trainer.metrics import Goal
from trainer.prediction.decision import Decision
from trainer.prediction.mixture import Mixture
from trainer.seeds import derive
from trainer.training.oof import OOF
from trainer.training.result import WEIGHTS, read_curve

FORMAT = 2  # of the file of a choice and of the methods; another number is computed again
KEPT = 8  # choices of one sweep that stay in its folder
FEWEST_GROUPS = 10  # with fewer groups nothing can be said about new ones

Tell = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Wish:
    """What a user asks of the choice.

    Attributes:
        others: further sweeps over the same folds.
        foreign: files of predictions made elsewhere.
        max_members: the most members of the ensemble.
        rule: which single trial is chosen, see `estimate_single`.
    """

    others: Sequence[SweepView] = ()
    foreign: Sequence[Foreign] = ()
    max_members: int = MAX_MEMBERS
    rule: str = "best"


NO_WISH = Wish()


def choose(
    view: SweepView, *, runs: Path, wish: Wish = NO_WISH, tell: Tell = lambda text: None
) -> Choice:
    """Return the choice of a sweep, from its file or computed now.

    Args:
        tell: is given a line of progress before each step that takes seconds.

    Raises:
        NothingCompletedError: no trial is complete.
        InputError: other sweeps or files do not fit, or no complete trial has whole files.
    """
    views = [view, *wish.others]
    refuse_without_trials(views)
    folds = SweepFiles.of(runs, view.name).folds()
    file = _file(views, folds, runs=runs, wish=wish)
    known = _read(file)
    if known is not None:
        return known
    tell(f"reading the out-of-fold predictions of {sum(len(v.ranked()) for v in views)} trials")
    candidates = find_candidates(views, runs=runs, foreign=wish.foreign)
    if not any(trial.sweep for trial in candidates.trials):
        raise InputError(
            "no complete trial has readable files:\n  " + "\n  ".join(candidates.left_out)
        )
    metric = metric_of(view, SweepFiles.of(runs, view.name), folds)
    choice = _choose(
        candidates,
        metric=metric,
        wish=wish,
        field=result_field(view.metric),
        evidence=_fold_evidence(views, metric, k=folds.k),
        tell=tell,
    )
    _write(file, choice)
    return choice


def mixture_for(
    view: SweepView, numbers: Sequence[int], *, runs: Path, wish: Wish = NO_WISH
) -> tuple[Mixture, Candidates]:
    """Return the mixture of these trials of the sweep with equal weights.

    Raises:
        InputError: a trial is not complete, or its files are not whole.
    """
    views = [view, *wish.others]
    refuse_without_trials(views)
    candidates = find_candidates(views, runs=runs)
    index_of = {
        trial.number: index
        for index, trial in enumerate(candidates.trials)
        if trial.sweep == view.name
    }
    unknown = [number for number in numbers if number not in index_of]
    if unknown:
        complete = ", ".join(map(str, sorted(number for number in index_of if number is not None)))
        raise InputError(
            f"--trial {unknown[0]}: not a completed trial of {view.name} with whole files. "
            f"Completed are {complete}" + "".join(f"\n  {line}" for line in candidates.left_out)
        )
    metric = metric_of(view, SweepFiles.of(runs, view.name), candidates.folds)
    chosen = [index_of[number] for number in numbers]
    return mixture_of(candidates.library, chosen, metric=metric), candidates


def refuse_without_trials(views: Sequence[SweepView]) -> None:
    """Check that a trial is complete.

    Raises:
        NothingCompletedError: no trial of any of the sweeps is complete.
    """
    if not any(view.ranked() for view in views):
        raise NothingCompletedError(
            f"sweep {views[0].name!r} has no completed trial yet. `sweeps status` shows how it goes"
        )


def _fold_evidence(views: Sequence[SweepView], metric: Metric, *, k: int) -> FoldEvidence | None:
    """Return what the fold scores of all trials say, also of stopped ones.

    Sweeps with another metric than the first do not count. `valid/loss` says nothing, because each
    trial has its own loss function.
    """
    if metric.name not in (result_field(views[0].metric), user_metric(views[0].metric)):
        return None
    scores: dict[Origin, tuple[float, ...]] = {}
    for view in views:
        if view.metric == views[0].metric:
            for trial in with_fold_scores(view.trials):
                scores.setdefault(origin(trial, sweep=view.name), fold_scores(trial))
    return fold_evidence(list(scores.values()), k=k, goal=metric.goal)


def _choose(
    candidates: Candidates,
    *,
    metric: Metric,
    wish: Wish,
    field: str,
    evidence: FoldEvidence | None,
    tell: Tell,
) -> Choice:
    library = candidates.library
    folds = candidates.folds
    groups = None if library.groups_N is None else len(np.unique(library.groups_N))
    seed = derive(0, "choice")
    enough = (len(library.labels_N) if groups is None else groups) >= FEWEST_GROUPS
    single: SingleEstimate | None = None
    estimate: EnsembleEstimate | None = None
    if enough:
        tell(f"estimating the best of {len(library)} trials")
        single = estimate_single(library, metric=metric, seed=seed, rule=wish.rule, folds=evidence)
    tell("choosing the members of the ensemble")
    members = _able(candidates)
    mixture = fit_ensemble(members, metric=metric, max_members=wish.max_members)
    if enough:
        tell("estimating the ensemble: choosing it again without the images that it predicts")
        estimate = estimate_ensemble(
            members, metric=metric, max_members=wish.max_members, seed=seed
        )
        if not estimate.rule_ships:
            mixture = dataclasses.replace(mixture, decision=Decision())
    trials = _ranked(candidates, metric=metric, single=single)
    chosen = trials[0].name if single is None else library.names[single.chosen]
    flattery = _flattery(candidates, chosen, mixture, field=field, goal=metric.goal)
    sign = metric.goal.sign
    if estimate is not None:
        estimate = dataclasses.replace(
            estimate, interval=estimate.interval.shifted(-sign * flattery[1])
        )
    return Choice(
        metric=metric.name,
        goal=metric.goal,
        folds_hash=folds.hash,
        images=len(library.labels_N),
        groups=groups,
        trials=trials,
        chosen=chosen,
        rule=wish.rule,
        single=None if single is None else single.interval.shifted(-sign * flattery[0]),
        alike=() if single is None else tuple(library.names[index] for index in single.alike),
        ensemble=mixture,
        oof_score=metric.score(predict(library, mixture), library.labels_N),
        estimate=estimate,
        flattery=flattery,
        rare=tuple(
            folds.manifest.classes[index]
            for index in rare_classes(library, n_classes=len(folds.manifest.classes))
        ),
        left_out=tuple(candidates.left_out),
    )


def _able(candidates: Candidates) -> Library:
    """Return the trials that can predict new images; all trials if none can.

    The best trials keep their weights (`keep` in the search space), so this leaves out few that an
    ensemble would want.
    """
    able = [index for index, trial in enumerate(candidates.trials) if trial.predicts]
    return candidates.library.trials(able) if able else candidates.library


def _ranked(
    candidates: Candidates, *, metric: Metric, single: SingleEstimate | None
) -> tuple[Ranked, ...]:
    library: Library = candidates.library
    scores = [metric.score(predicted, library.labels_N) for predicted in library.by_argmax]
    rows = [
        Ranked(
            trial.name,
            trial.sweep,
            trial.number,
            trial.seconds,
            scores[index],
            None if single is None else single.chances[index],
            None if single is None or not single.expected else single.expected[index],
        )
        for index, trial in enumerate(candidates.trials)
    ]
    return tuple(sorted(rows, key=lambda row: (-metric.goal.sign * row.oof_score, row.name)))


def _flattery(
    candidates: Candidates, chosen: str, mixture: Mixture, *, field: str, goal: Goal
) -> tuple[float, float]:
    """Return by how much chosen epochs flatter the chosen trial and the mixture."""
    trials = {trial.name: trial for trial in candidates.trials}

    def of(name: str) -> float:
        trial = trials[name]
        if trial.directory is None or not _chooses_epochs(trial):
            return 0.0
        curves = [read_curve(fold) for fold in fold_directories(trial.directory)]
        epochs = [result.scored_epoch for result in trial.results]
        return epoch_flattery(curves, epochs, metric=field, goal=goal) or 0.0

    members = sum(member.weight * of(member.name) for member in mixture.members)
    return of(chosen), members


def _chooses_epochs(trial: Candidate) -> bool:
    """Whether epochs were chosen by their scores: one per fold, or one for all folds."""
    if any(result.biased for result in trial.results):
        return True
    assert trial.directory is not None
    try:
        config = json.loads(TrialFiles(trial.directory).config.read_text())
    except (OSError, ValueError):
        return False
    return bool(config.get("checkpoint") == "best")


def _file(views: Sequence[SweepView], folds: Folds, *, runs: Path, wish: Wish) -> Path:
    """Return the file of the choice, whose name is the hash of everything that goes in."""
    trials = [
        (
            str(directory),
            [
                (path.stat().st_size, path.stat().st_mtime_ns)
                for fold in fold_directories(directory)
                if (path := fold / OOF).is_file()
            ],
            any((fold / WEIGHTS).is_file() for fold in fold_directories(directory)),
        )
        for view in views
        for trial in view.ranked()
        for directory in [trial_directory(runs.resolve(), trial, sweep=view.name)]
    ]
    parts = [
        FORMAT,
        folds.hash,
        views[0].metric,
        wish.max_members,
        wish.rule,
        [(file.name, file_digest(file.path)) for file in wish.foreign],
        trials,
    ]
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
    return SweepFiles.of(runs, views[0].name).choices / f"{digest}.json"


_CHOICES = pydantic.TypeAdapter(Choice)


def _read(file: Path) -> Choice | None:
    try:
        return _CHOICES.validate_json(file.read_bytes())
    except (OSError, ValueError):  # not there, or of another version
        return None


def _write(file: Path, choice: Choice) -> None:
    """Keep a choice. A folder that cannot be written only costs the time of the next command."""
    with contextlib.suppress(OSError):
        with atomic_write(file) as stream:
            stream.write(_CHOICES.dump_json(choice, indent=2))
        kept = sorted(file.parent.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
        for old in kept[:-KEPT]:
            old.unlink(missing_ok=True)
