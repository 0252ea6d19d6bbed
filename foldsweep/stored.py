"""A stored sweep as a notebook looks at it: tables, predictions, configurations."""

import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from foldsweep.shown import Best, best_table, paragraph
from sweeps.errors import InputError
from sweeps.paths import SweepFiles, make_folder
from sweeps.reporting.export import epochs_table, folds_table, frame_of, trials_table
from sweeps.reporting.trial_file import trial_file
from sweeps.results import named
from sweeps.results.choice import Wish, choose
from sweeps.results.ensemble import MAX_MEMBERS
from sweeps.results.leaderboard import leaderboard, refuse_empty
from sweeps.results.out_of_fold import OutOfFold, out_of_fold
from sweeps.results.summary import Summary, summarise
from sweeps.results.view import SweepView, names, newer, sweep_files
from sweeps.running.events import Notice, ProgressView, Silent
from sweeps.running.plain_lines import PlainLines
from sweeps.study.stored_sweep import StoredSweep
from trainer.errors import TrainerError
from trainer.fields.evaluation import Tta

if TYPE_CHECKING:
    import pandas as pd

    from sweeps.shipping.submission import Submission

Folder = str | os.PathLike[str]
Rule = Literal["best", "one_se"]
Ids = Literal["template", "images"]
ClassCodes = Literal["names", "index", "probability"]
Device = Literal["auto", "cpu", "cuda"]
SHOWN = 5  # trials of the table that a notebook shows


def open(
    sweep: str | None = None, *, storage: str | None = None, runs: Folder | None = None
) -> "Sweep":
    """A sweep that is stored: finished, stopped, or running now, on this machine or another.

    Args:
        sweep: its name or the path of its search space; None for the latest sweep.
        storage: the database URL; None for `$SWEEPS_STORAGE`, else a SQLite file in the runs
            folder.
        runs: the folder of all results; None for `$SWEEPS_RUNS`, else `runs`.

    Raises:
        InputError: there is no such storage, or no such sweep in it.
    """
    folder = _folder(runs)
    return Sweep(named.stored(sweep, storage, folder), runs=folder)


def sweeps(*, storage: str | None = None, runs: Folder | None = None) -> "list[Sweep]":
    """All sweeps of a storage, ordered by the start of the last driver, the latest at the end.

    Sweeps of a newer version of foldsweep, which this one cannot read, are left out.

    Args:
        storage, runs: see `open`.

    Raises:
        InputError: the storage does not exist or cannot be opened.
    """
    folder = _folder(runs)
    if named.nothing_yet(storage, folder):
        return []
    found = named.opened(storage, folder)
    known = [StoredSweep.find(found, name) for name in names(found) if name not in newer(found)]
    return [Sweep(sweep, runs=folder) for sweep in known if sweep is not None]


class Sweep:
    """A stored sweep. Everything is read anew from the storage, so it is as of now.

    The storage is enough for `trials` and `status`; the rest needs the runs folder, too.

    Attributes:
        name: the sweep's name.
        runs: the folder of all results, an absolute path.
    """

    def __init__(self, stored: StoredSweep, *, runs: Path) -> None:
        self._stored = stored
        self.name = stored.name
        self.runs = runs

    def __repr__(self) -> str:
        return f"<foldsweep.Sweep {self.name!r}>"

    def _repr_html_(self) -> str:
        """The state of the sweep and its best trials, as a notebook shows them."""
        view = self._view()
        state = summarise(view)
        head = f"{self.name}: {state.state}, {state.completed} completed, {state.pruned} pruned, "
        lines = [head + f"{state.failed} failed, {state.running} running"]
        try:
            table = best_table(leaderboard(view, runs=self.runs, topk=SHOWN))
        except (InputError, TrainerError) as error:  # the files are on another machine
            return paragraph([*lines, str(error)])
        return paragraph(lines) + table

    @property
    def trials(self) -> "pd.DataFrame":
        """A row for each trial, also of pruned, failed and running ones.

        It has the columns of `sweeps export --trials`: state, score, std, reason, times, and a
        column for each parameter. The row's number is the trial's.
        """
        return frame_of(trials_table(self._view()))

    @property
    def folds(self) -> "pd.DataFrame":
        """A row for each finished fold run, with all its metrics (`sweeps export --folds`)."""
        return frame_of(folds_table(self._view(), self._files()))

    @property
    def epochs(self) -> "pd.DataFrame":
        """A row for each epoch: learning curves (`sweeps export --epochs`)."""
        return frame_of(epochs_table(self._view(), self._files()))

    def status(self) -> Summary:
        """How far the sweep is, who drives it and what is left of its limits."""
        return summarise(self._view())

    def best(
        self,
        topk: int = 5,
        *,
        fast: bool = False,
        max_members: int = MAX_MEMBERS,
        rule: Rule = "best",
    ) -> Best:
        """The best trials; in `choice` the ensemble, and what to expect of both on new images.

        To choose an ensemble takes seconds to minutes the first time, and is kept until the sweep
        has more trials.

        Args:
            topk: the largest number of trials.
            fast: True for the table alone: no estimates, no ensemble.
            max_members: the most members of the ensemble.
            rule: which single trial is chosen: the best, or the cheapest within one standard error.

        Raises:
            NothingCompletedError: no trial is complete.
            InputError: no complete trial has readable files.
            DataError: the sweep's folds are missing or damaged.
        """
        if topk < 1 or max_members < 1:
            raise InputError("topk and max_members must be at least 1")
        _refuse_unknown("rule", rule, get_args(Rule))
        view = self._view()
        choice = None
        if view.ranked() and not fast:
            wish = Wish(max_members=max_members, rule=rule)
            choice = choose(view, runs=self.runs, wish=wish)
        found = leaderboard(view, runs=self.runs, topk=topk, choice=choice)
        refuse_empty(found)
        return Best(**vars(found))

    def oof(self, trial: int) -> OutOfFold:
        """The out-of-fold predictions of a trial: of a pruned one, those of its finished folds.

        Raises:
            InputError: there is no such trial, none of its folds is finished, or the runs folder
                is not the sweep's.
            DataError: a file of predictions is missing or damaged.
        """
        self._files()
        return out_of_fold(self._view(), trial, runs=self.runs)

    def config(self, trial: int) -> dict[str, Any]:
        """A trial as a search space of one point, as `sweeps export --trial` prints it.

        `foldsweep.run` takes it, changed or not. Unchanged, it gives the same scores; a warning
        names what stands in the way, such as the file of a user function.

        Raises:
            InputError: there is no such trial, or the sweep's copy of its search space is missing.
        """
        found = trial_file(self._view(), self._files(), trial)
        for note in found.notes:
            warnings.warn(note, stacklevel=2)
        return dict(found.content)

    def predict(
        self,
        source: Folder,
        *,
        out: Folder,
        template: Folder | None = None,
        trial: int | None = None,
        topk: int | None = None,
        max_members: int = MAX_MEMBERS,
        tta: Tta | None = None,
        folds: int | None = None,
        refit: bool = False,
        image: str | None = None,
        folder: str | Sequence[str] | None = None,
        group: str | None = None,
        probabilities: bool = False,
        ids: Ids | None = None,
        codes: ClassCodes | None = None,
        device: Device = "auto",
        silent: bool = False,
    ) -> "Submission":
        """Predict new images with the ensemble, and write a submission; as `sweeps predict`.

        Args:
            source: a folder of images, or a CSV or Parquet file with the sweep's names of columns.
            out: the CSV to write. Beside it, a `.json` has everything that made it.
            template: a sample submission, whose columns, ids and order are kept.
            trial: one trial in place of the ensemble.
            topk: the best trials with equal weights in place of the ensemble.
            tta: test-time augmentation; None for that of the training.
            folds: how many fold models of each trial predict; None for all.
            refit: True for the models of `sweeps refit` in place of the fold models.
            image, folder, group: how the source is read, see `sweeps predict --help`.
            probabilities: True for a column per class in place of the class alone.
            ids, codes: how the template is understood, see `sweeps predict --help`.
            device: where the networks run; "auto" is the GPU if there is one.
            silent: True to print nothing.

        Returns:
            What was written; `bad` names the images that cannot be read.

        Raises:
            InputError, TrainerError: the source, the template or an option cannot be used.
            NothingCompletedError: no trial is complete.
        """
        from sweeps.shipping import template as templates
        from sweeps.shipping.codes import Codes
        from sweeps.shipping.members import with_weights
        from sweeps.shipping.predicting import computing, make_submission
        from sweeps.shipping.shipped import what_ships
        from sweeps.shipping.submission import Wanted, check

        _refuse_unknown("tta", tta, (None, *get_args(Tta)))
        _refuse_unknown("ids", ids, (None, *get_args(Ids)))
        _refuse_unknown("codes", codes, (None, *get_args(ClassCodes)))
        _refuse_unknown("device", device, get_args(Device))
        lines: ProgressView = Silent() if silent else PlainLines(sys.stdout)
        files = self._files()
        view = self._view()
        wanted = Wanted(
            source=os.fspath(source),
            out=Path(out),
            template=None if template is None else Path(template),
            options=templates.TemplateOptions(
                ids=None if ids is None else templates.Ids(ids),
                codes=None if codes is None else Codes(codes),
                probabilities=probabilities,
            ),
            image=image,
            folder=[folder] if isinstance(folder, str) else folder,
            group=group,
            tta=tta,
            folds=folds,
            refit=refit,
        )
        check(wanted, files=files)
        wish = Wish(max_members=max_members)
        with computing(address=None, device=device, files=files, source=wanted.source) as compute:
            shipped = what_ships(view, runs=self.runs, wish=wish, trial=trial, topk=topk)
            return make_submission(
                shipped,
                wanted,
                files=files,
                kept=lambda: with_weights(view, runs=self.runs),
                say=lambda text: lines.notify(Notice(f"note: {text}")),
                compute=compute(lines.images),
            )

    def report(self, out: Folder | None = None) -> Path:
        """Write the page that explains the sweep, and return its path; as `sweeps report`.

        Args:
            out: the file; None for `report.html` in the sweep's folder.

        Raises:
            InputError: no trial is finished, or the file cannot be written.
            DataError: the sweep's folds are missing or damaged.
        """
        from sweeps.reporting.document import write_html
        from sweeps.reporting.report import make_report, refuse_unfinished

        path = self._files().report if out is None else Path(out)
        view = self._view()
        refuse_unfinished(view)
        make_folder(path.parent, option="out")
        if path.is_dir():
            raise InputError(f"out={path}: a folder. Give the name of a file, e.g. report.html")
        choice = None
        if view.ranked():
            try:
                choice = choose(view, runs=self.runs)
            except InputError as error:  # the rest can be explained
                warnings.warn(str(error), stacklevel=2)
        write_html(make_report(view, runs=self.runs, choice=choice), path)
        return path

    def _view(self) -> SweepView:
        return SweepView.read(self._stored)

    def _files(self) -> SweepFiles:
        """The sweep's files, checked to be those of this sweep."""
        return sweep_files(self._stored, runs=self.runs)


def _folder(runs: Folder | None) -> Path:
    """The runs folder; absolute, because a notebook may change its working directory."""
    return named.runs_folder(None if runs is None else Path(runs)).absolute()


def _refuse_unknown(option: str, value: object, allowed: Sequence[object]) -> None:
    if value not in allowed:
        raise InputError(f"{option}={value!r}: expected one of {', '.join(map(repr, allowed))}")
