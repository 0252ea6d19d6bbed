"""`sweeps refit`: train trials on all images, with nothing held out."""

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweeps.cli.options import Runs, Storage, SweepName, runs_folder, stored
from sweeps.errors import EXIT_INTERRUPTED, InputError
from sweeps.running.signals import ending_signals

if TYPE_CHECKING:
    from sweeps.results.view import SweepView
    from sweeps.shipping.refit import Refittable, Watch
    from trainer.training.refit_result import RefitResult
    from trainer.training.reporter import EpochReport

NO_SCORE = (
    "these models have no honest score of their own, because no image was held out. On digits "
    "three of them together predicted a little better than the average of five fold models, one "
    "a little worse"
)
COLUMNS = ("trial", "model", "images", "epochs", "train loss")


def refit(
    sweep: SweepName = None,
    trials: Annotated[
        list[int] | None,
        typer.Option("--trial", metavar="N", min=0, help="A completed trial. Repeatable."),
    ] = None,
    ensemble: Annotated[
        bool, typer.Option("--ensemble", help="All members of what the sweep ships.")
    ] = False,
    seeds: Annotated[
        int,
        typer.Option("--seeds", metavar="S", min=1, help="Models of each trial (default: 3)."),
    ] = 3,
    holdout: Annotated[
        bool, typer.Option("--holdout", help="Train on the images of the holdout, too.")
    ] = False,
    device: Annotated[
        str, typer.Option("--device", help="auto, cpu or cuda (default: the GPU if there is one).")
    ] = "auto",
    storage: Storage = None,
    runs: Runs = None,
) -> None:
    """Train trials on all images.

    They train for the epochs that their folds agreed on. The models lie beside the fold models of
    their trial, and `sweeps predict --refit` and `sweeps pack --refit` use them. Interrupted, the
    same command continues.
    """
    from sweeps.results.view import SweepView
    from sweeps.shipping.refit import Watch, refittable, run_refits
    from trainer.training.fit import Ended, pick_device

    if bool(trials) == ensemble:
        raise InputError("give either --trial N, or --ensemble for all members of the ensemble")
    if device not in ("auto", "cpu", "cuda"):
        raise InputError(f"--device {device}: must be auto, cpu or cuda")
    view = SweepView.read(stored(sweep, storage, runs))
    chosen = [
        refittable(directory)
        for directory in _directories(view, trials or (), runs=runs_folder(runs))
    ]
    _note_a_running_sweep(view)
    done: list[tuple[Refittable, list[RefitResult]]] = []
    for trial in chosen:
        results: list[RefitResult] = []
        _say(_plan(trial, seeds, with_holdout=holdout))
        with _ctrl_c(Watch(_teller(trial, seeds))) as watch:
            for result in run_refits(
                trial,
                numbers=range(seeds),
                with_holdout=holdout,
                device=pick_device(device),
                watch=watch,
            ):
                if isinstance(result, Ended):
                    print("interrupted; run the same command again to continue", file=sys.stderr)
                    raise typer.Exit(EXIT_INTERRUPTED)
                results.append(result)
        done.append((trial, results))
    _print(done)


def _directories(view: "SweepView", trials: "Sequence[int]", *, runs: "Path") -> "list[Path]":
    """The directories of the chosen trials; without numbers, of the members of the ensemble."""
    from sweeps.results.choice import choose
    from sweeps.shipping.refit import directory_of, member_directories

    if trials:
        return [directory_of(view, number, runs=runs) for number in dict.fromkeys(trials)]
    return member_directories(choose(view, runs=runs, tell=_say), runs=runs)


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _note_a_running_sweep(view: "SweepView") -> None:
    from sweeps.study.lease import find_holder

    holder = find_holder(view.sweep.storage.engine, view.name)
    if holder is not None and not holder.is_dead_on_this_machine():
        _say(f"note: sweep {view.name!r} is running ({holder}); it goes on, and shares the machine")


def _plan(trial: "Refittable", seeds: int, *, with_holdout: bool) -> str:
    """One line about what is trained, and why for so many epochs."""
    images = len(trial.folds.all_rows(with_holdout=with_holdout))
    epochs = trial.agreed.epochs
    scored = ", ".join(map(str, trial.scored))
    planned = f" of {trial.planned} planned" if epochs != trial.planned else ""
    models = f"{seeds} model{'s' if seeds > 1 else ''}"
    return (
        f"{trial.name}: {models} on all {images:,} images for {epochs}{planned} epochs "
        f"(epochs that score the folds: {scored})"
    )


def _teller(trial: "Refittable", seeds: int) -> "Callable[[int, EpochReport], None]":
    def tell(number: int, report: "EpochReport") -> None:
        m = report.metrics
        _say(
            f"{trial.name}  model {number + 1} of {seeds}  epoch {report.epoch}/{report.epochs}  "
            f"train loss {m['train_loss']:.4f}  lr {m['lr']:.3g}  {m['seconds']:.1f} s"
        )

    return tell


@contextlib.contextmanager
def _ctrl_c(watch: "Watch") -> "Iterator[Watch]":
    """While the context is open, Ctrl-C and the like let the refit write a checkpoint and end."""
    before = {number: signal.signal(number, watch.stop) for number in ending_signals()}
    try:
        yield watch
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _print(done: "Sequence[tuple[Refittable, Sequence[RefitResult]]]") -> None:
    from sweeps.cli.tables import print_table

    rows = [
        [
            trial.name,
            trial.files.refit(number).directory.name,
            f"{result.images:,}",
            str(result.epochs),
            f"{result.train_loss:.4f}",
        ]
        for trial, results in done
        for number, result in enumerate(results)
    ]
    print_table(COLUMNS, rows, right=COLUMNS[2:])
    _say(NO_SCORE)
