"""`sweeps compare-submissions`: what changes from one submission to another one."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweeps.cli.options import Common, Runs, Storage, begun_sweeps, runs_folder, stored
from sweeps.errors import InputError

if TYPE_CHECKING:
    from sweeps.results.candidates import Candidates
    from sweeps.results.metric import Metric
    from sweeps.shipping.answers import Pair
    from sweeps.shipping.compare import Answers
    from trainer.metrics import Probs
    from trainer.prediction.classes import Classes

SHOWN = 20  # kinds of changes; the others are counted


def compare_submissions(
    a: Annotated[Path, typer.Argument(metavar="A", help="A submission.", show_default=False)],
    b: Annotated[Path, typer.Argument(metavar="B", help="Another one.", show_default=False)],
    sweep: Annotated[
        str | None,
        typer.Option(
            "--sweep",
            metavar="SWEEP",
            help="The sweep of both: names of classes, and how much of a public score is chance.",
            autocompletion=begun_sweeps,
        ),
    ] = None,
    probabilities: Annotated[
        Path | None,
        typer.Option(
            "--probabilities",
            metavar="CSV",
            help="What `sweeps predict --probabilities` wrote for these images (default: "
            "those in A and B).",
        ),
    ] = None,
    public: Annotated[
        float,
        typer.Option(
            "--public", metavar="SHARE", help="Part of the images that the public score uses."
        ),
    ] = 0.3,
    common: Common = False,
    storage: Storage = None,
    runs: Runs = None,
) -> None:
    """Show what changes from one submission to another.

    And whether the change can be told from chance.
    """
    if not 0 < public <= 1:
        raise InputError(f"--public {public:g}: a share above 0 and at most 1, e.g. 0.3")
    from sweeps.results.metric import Metric
    from sweeps.shipping.answers import pair_up
    from sweeps.shipping.compare import changes, expected_gain, read_answers
    from sweeps.shipping.sheets import read_sheet
    from trainer.metrics import Goal
    from trainer.prediction.classes import Classes

    pair = pair_up(read_sheet(a), read_sheet(b), common=common)
    metric = Metric.named("f1", Goal.MAXIMIZE)
    candidates = known = None
    if sweep is not None:
        candidates, own = _candidates(sweep, storage, runs)
        known = Classes.of(candidates.folds.manifest)
        metric = own if own.decides else metric
    classes, first, second = read_answers(pair, known)
    believed_NK = _believed(first, second, pair, probabilities, classes)
    found = changes(first, second, classes)
    _print_changes(found, len(first.class_N), names=(a.name, b.name))
    if found and believed_NK is not None:
        gain = expected_gain(first, second, believed_NK, metric=metric, seed=0)
        print(
            f"expected gain of {b.name} in {metric.name}: {gain.expected:+.4f}; it is better with "
            f"a chance of {gain.chance:.0%}, if the probabilities are right"
        )
    if candidates is None:
        print(
            "note: --sweep NAME says how far two public scores must differ to mean anything",
            file=sys.stderr,
        )
        return
    changed = sum(count for _, _, count in found) / len(first.class_N)
    _print_noise(candidates, metric, images=len(first.class_N), public=public, changed=changed)


def _candidates(sweep: str, storage: str | None, runs: Path | None) -> "tuple[Candidates, Metric]":
    """The complete trials of the sweep, and its metric."""
    from sweeps.results.candidates import find_candidates
    from sweeps.results.choice import refuse_without_trials
    from sweeps.results.sweep_metric import metric_of
    from sweeps.results.view import SweepView, sweep_files

    view = SweepView.read(stored(sweep, storage, runs))
    files = sweep_files(view.sweep, runs=runs_folder(runs))
    refuse_without_trials([view])
    candidates = find_candidates([view], runs=runs_folder(runs))
    for line in candidates.left_out:
        print(f"note: {line}", file=sys.stderr)
    if not len(candidates.library):
        raise InputError(f"sweep {view.name!r}: no complete trial has readable files")
    return candidates, metric_of(view, files, candidates.folds)


def _believed(
    first: "Answers", second: "Answers", pair: "Pair", path: Path | None, classes: "Classes"
) -> "Probs | None":
    """The probabilities of the classes: those of the user's file, else those of the submissions."""
    from sweeps.shipping.answers import probabilities_of, rows_in
    from sweeps.shipping.sheets import read_sheet
    from trainer.prediction.mixture import mean

    if path is None:
        own = [a.probs_NK for a in (first, second) if a.probs_NK is not None]
        return mean(own) if own else None
    sheet = read_sheet(path)
    probs_NK = probabilities_of(sheet, rows_in(sheet, pair), classes)
    if probs_NK is None:
        raise InputError(
            f"--probabilities {path}: it has not one column for each of the {len(classes)} "
            f"classes ({', '.join(classes.names[:3])}, ...)"
        )
    return probs_NK


def _print_changes(
    found: list[tuple[str, str, int]], images: int, *, names: tuple[str, str]
) -> None:
    from sweeps.cli.tables import print_table

    changed = sum(count for _, _, count in found)
    print(f"{changed:,} of {images:,} images change ({changed / images:.1%})")
    if found:
        rows = [[f"{count:,}", before, after] for before, after, count in found[:SHOWN]]
        print_table(("images", f"in {names[0]}", f"in {names[1]}"), rows, right=("images",))
    if len(found) > SHOWN:
        rest = sum(count for _, _, count in found[SHOWN:])
        print(f"{rest:>6,} in {len(found) - SHOWN:,} more kinds of change")


def _print_noise(
    candidates: "Candidates", metric: "Metric", *, images: int, public: float, changed: float
) -> None:
    from sweeps.results.ensemble import best_trials
    from sweeps.results.noise import PublicPart, score_noise

    library = candidates.library
    best = best_trials(library, metric=metric, most=2)
    noise = score_noise(
        library.by_argmax[best[0]],
        library.by_argmax[best[-1]],
        library.labels_N,
        library.groups_N,
        metric=metric,
        part=PublicPart(images, public),
        seed=0,
    )
    print(
        f"a public score of {noise.images:,} images ({public:.0%}) is within ± {noise.score:.4f} "
        f"of the {metric.name} on very many images, in 95 of 100 cases"
    )
    reach = noise.difference_for(changed)
    if reach is not None and changed:
        print(
            f"two public scores of submissions that differ as these do must differ by more than "
            f"{reach:.4f} to mean anything (measured on the two best trials, which differ in "
            f"{noise.changed:.1%})"
        )
