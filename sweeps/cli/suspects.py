"""`sweeps suspects`: show labels that are probably wrong."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweeps.cli.options import Runs, Storage, SweepName, runs_folder, stored
from sweeps.errors import InputError, NothingCompletedError

if TYPE_CHECKING:
    from sweeps.results.suspects import Suspect
    from trainer.images.manifest import Manifest

SHEET_SUFFIXES = (".html", ".htm")


def suspects(
    sweep: SweepName = None,
    top: Annotated[
        int | None,
        typer.Option(
            "--top",
            metavar="N",
            min=1,
            help="How many suspects (default: 1 % of the images, from 50 to 200).",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="CSV",
            help="Write proposals for data.corrections. Delete the rows whose label was right.",
        ),
    ] = None,
    sheet: Annotated[
        Path | None,
        typer.Option("--sheet", metavar="HTML", help="Write a page with the images, by group."),
    ] = None,
    storage: Storage = None,
    runs: Runs = None,
) -> None:
    """Show the labels that are probably wrong.

    The surest come first.
    """
    _refuse_other_sheets(sheet)
    from sweeps.results.candidates import find_candidates
    from sweeps.results.suspects import believed, find_suspects, usual_count
    from sweeps.results.sweep_metric import metric_of
    from sweeps.results.view import SweepView, sweep_files
    from trainer.prediction.classes import Classes

    view = SweepView.read(stored(sweep, storage, runs))
    files = sweep_files(view.sweep, runs=runs_folder(runs))
    candidates = find_candidates([view], runs=runs_folder(runs))
    library, manifest = candidates.library, candidates.folds.manifest
    for line in candidates.left_out:
        print(f"note: {line}", file=sys.stderr)
    probs_NK = None
    if len(library):
        probs_NK = believed(library, metric=metric_of(view, files, candidates.folds))
    elif library.groups_N is None:
        raise NothingCompletedError(
            f"sweep {view.name!r} has no {'readable' if candidates.left_out else 'completed'} "
            "trial, and without groups nothing else shows wrong labels. `sweeps status` shows how "
            "it goes"
        )
    found = find_suspects(probs_NK, library.labels_N, Classes.of(manifest), library.groups_N)
    shown = found[: top or usual_count(len(library.labels_N))]
    rows = candidates.rows.tolist()
    _tell(view.name, shown, found, images=len(rows), has_trials=probs_NK is not None)
    _print(shown, rows, manifest)
    if out is not None:
        _write_corrections(out, shown, rows, manifest, view.sweep.spec["data"].get("corrections"))
    if sheet is not None:
        _write_sheet(sheet, view.name, shown, rows, manifest)


def _refuse_other_sheets(sheet: Path | None) -> None:
    if sheet is not None and sheet.suffix.lower() not in SHEET_SUFFIXES:
        raise InputError(f"--sheet {sheet}: it is a page for a browser, so its name ends in .html")


def _tell(
    name: str, shown: "list[Suspect]", found: "list[Suspect]", *, images: int, has_trials: bool
) -> None:
    of_groups = sum(suspect.others is not None for suspect in shown)
    first = f", the first {len(shown):,} shown" if len(found) > len(shown) else ""
    print(
        f"{name}: {len(found):,} of {images:,} labels in doubt{first}; of these, "
        f"{of_groups:,} differ from their group"
    )
    if not has_trials:
        print(
            "note: without a complete trial only differences within groups are shown",
            file=sys.stderr,
        )


def _print(shown: "list[Suspect]", rows: list[int], manifest: "Manifest") -> None:
    if not shown:
        return
    from sweeps.cli.tables import print_table

    print_table(
        ("column", "given", "proposed", "probability", "others", "image"),
        [
            [
                suspect.column,
                suspect.given,
                suspect.proposed,
                "-" if suspect.probability is None else f"{suspect.probability:.3f}",
                "-" if suspect.others is None else "{} of {}".format(*suspect.others),
                manifest.where(rows[suspect.row]),
            ]
            for suspect in shown
        ],
        right=("probability", "others"),
    )


def _write_corrections(
    path: Path,
    shown: "list[Suspect]",
    rows: list[int],
    manifest: "Manifest",
    earlier: str | None,
) -> None:
    import numpy as np

    from sweeps.paths import make_folder
    from sweeps.results.suspects import correction_header, correction_rows
    from trainer.files import write_csv
    from trainer.prediction.classes import Classes

    make_folder(path.parent, option="--out")
    header = correction_header(Classes.of(manifest))
    lines = list(correction_rows(shown, manifest, np.array(rows, dtype=np.int64)))
    write_csv(path, header, lines)
    skipped = len({suspect.row for suspect in shown}) - len(lines)
    if skipped:
        print(
            f"note: {skipped:,} suspects are not in {path}: their images are in several rows of "
            "the data, which a correction would all change",
            file=sys.stderr,
        )
    then = (
        f"set data.corrections: {path} in a new sweep"
        if earlier is None
        else f"append the others to {earlier}, the corrections of this sweep"
    )
    print(
        f"{path}: proposals for {len(lines):,} images. Look at each image, delete the rows whose "
        f"label was right, write drop as the label of unusable images, then {then}",
        file=sys.stderr,
    )


def _write_sheet(
    path: Path, name: str, shown: "list[Suspect]", rows: list[int], manifest: "Manifest"
) -> None:
    from sweeps.paths import make_folder
    from sweeps.preparing.check_page import write_page
    from sweeps.shipping.suspect_sheet import suspect_page

    make_folder(path.parent, option="--sheet")
    by_row: dict[int, list[Suspect]] = {}
    for suspect in shown:
        by_row.setdefault(rows[suspect.row], []).append(suspect)
    write_page(suspect_page(name, by_row, manifest), path)
    print(f"{path}: the images, to be opened in a browser", file=sys.stderr)
