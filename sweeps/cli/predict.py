"""`sweeps predict`: predictions of new images, in the form of a submission."""

import enum
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweeps.cli.choice_options import From, MaxMembers, Refit, TopK, Trial, wish_of
from sweeps.cli.options import Runs, Storage, SweepName, runs_folder, stored

if TYPE_CHECKING:
    from sweeps.shipping.shipped import Shipped
    from sweeps.shipping.submission import Submission, Wanted

MOST_CLASSES = 30  # lines of the table of classes
MOST_BAD = 10


class Tta(enum.StrEnum):
    """Test-time augmentation."""

    NONE = "none"
    FLIP = "flip"
    CROPS = "crops"
    FLIP_CROPS = "flip_crops"


class Rows(enum.StrEnum):
    """Which rows are written if the template and the images differ."""

    TEMPLATE = "template"
    IMAGES = "images"


class ClassCodes(enum.StrEnum):
    """What stands for a class in the template."""

    NAMES = "names"
    INDEX = "index"
    PROBABILITY = "probability"


class Device(enum.StrEnum):
    """Where the networks run."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


def predict(
    sweep: SweepName = None,
    *,
    source: Annotated[
        str,
        typer.Option(
            "--source",
            metavar="DIR|CSV",
            help="A folder of images, or a CSV or Parquet file with the sweep's names of columns.",
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE.csv", help="The submission to write.")
    ],
    template: Annotated[
        Path | None,
        typer.Option(
            "--template",
            metavar="FILE",
            help="A sample submission: its columns, ids and order are kept.",
        ),
    ] = None,
    trial: Trial = None,
    topk: TopK = None,
    others: From = None,
    max_members: MaxMembers = 5,
    tta: Annotated[
        Tta | None, typer.Option("--tta", help="Test-time augmentation (default: as trained).")
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(
            "--folds", metavar="N", min=1, help="Fold models of each trial that predict (fast: 1)."
        ),
    ] = None,
    refit: Refit = False,
    image: Annotated[
        str | None,
        typer.Option(
            "--image",
            metavar="COLUMN",
            help="The CSV's column with the paths, or a pattern (default: data.image).",
        ),
    ] = None,
    folder: Annotated[
        list[str] | None,
        typer.Option(
            "--folder",
            metavar="DIR",
            help="Where the CSV's images lie (default: relative to the CSV). May be repeated.",
        ),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(
            "--group",
            metavar="COLUMN|folder",
            help="Average over a group what its images share, e.g. the age of a person.",
        ),
    ] = None,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="A column per class instead of the class alone.")
    ] = False,
    ids: Annotated[
        Rows | None,
        typer.Option("--ids", help="Whose rows to write if template and images differ."),
    ] = None,
    codes: Annotated[
        ClassCodes | None,
        typer.Option("--codes", help="What stands for a class, if the template does not show it."),
    ] = None,
    skip_bad: Annotated[
        bool,
        typer.Option("--skip-bad", help="Exit code 0 although some images cannot be read."),
    ] = False,
    device: Annotated[
        Device, typer.Option("--device", help="Where the networks run (default: GPU if any).")
    ] = Device.AUTO,
    address: Annotated[
        str | None,
        typer.Option(
            "--address", help="Predict on the workers of the Ray cluster at this address."
        ),
    ] = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="Print lines instead of a progress bar.")
    ] = False,
    storage: Storage = None,
    runs: Runs = None,
) -> None:
    """Predict new images and write a submission.

    The sweep's ensemble predicts. Beside the submission, a .json has everything that made it. A
    killed command goes on where it was.
    """
    from sweeps.cli.progress import reading_images, telling
    from sweeps.results.view import SweepView, sweep_files
    from sweeps.shipping.codes import Codes
    from sweeps.shipping.members import with_weights
    from sweeps.shipping.predicting import computing, make_submission
    from sweeps.shipping.shipped import what_ships
    from sweeps.shipping.submission import Wanted, check
    from sweeps.shipping.template import Ids, TemplateOptions

    where = runs_folder(runs)
    found = stored(sweep, storage, runs)
    files = sweep_files(found, runs=where)
    view = SweepView.read(found)
    wish = wish_of(others, storage, runs, max_members=max_members)
    wanted = Wanted(
        source=source,
        out=out,
        template=template,
        options=TemplateOptions(
            ids=None if ids is None else Ids(ids.value),
            codes=None if codes is None else Codes(codes.value),
            probabilities=probabilities,
        ),
        image=image,
        folder=folder,
        group=group,
        tta=None if tta is None else tta.value,
        folds=folds,
        refit=refit,
    )
    check(wanted, files=files)
    with computing(address=address, device=device.value, files=files, source=source) as compute:
        with telling() as tell:
            shipped = what_ships(view, runs=where, wish=wish, trial=trial, topk=topk, tell=tell)
        with reading_images(plain=plain) as progress:
            done = make_submission(
                shipped,
                wanted,
                files=files,
                kept=lambda: with_weights(view, runs=where),
                say=lambda text: print(f"note: {text}", file=sys.stderr, flush=True),
                compute=compute(progress),
            )
    _print(shipped, wanted, done)
    if done.bad and not skip_bad:
        raise typer.Exit(1)


def _print(shipped: "Shipped", wanted: "Wanted", done: "Submission") -> None:
    from sweeps.cli.tables import print_table

    print(f"{wanted.out}: {done.rows:,} rows, {done.images:,} images predicted by {shipped.title}")
    expected = shipped.expected
    if expected is not None:
        groups = "images" if shipped.folds.manifest.groups is None else "groups"
        print(
            f"{shipped.metric.name} on new {groups}: {expected.value:.4f} "
            f"(95 %: {expected.low:.4f} to {expected.high:.4f})"
        )
    print_table(
        ("class", "training", "predicted"),
        mix_rows(done.mix, most=MOST_CLASSES),
        right=("training", "predicted"),
    )
    if done.bad:
        shown = [f"  {name}: {reason}" for name, reason in list(done.bad.items())[:MOST_BAD]]
        more = [f"  and {len(done.bad) - MOST_BAD:,} more"] if len(done.bad) > MOST_BAD else []
        print(
            f"warning: {len(done.bad):,} of {done.images:,} images cannot be read; they get the "
            f"shares of the classes in the training data ({wanted.beside('.skipped.csv')})",
            *shown,
            *more,
            sep="\n",
            file=sys.stderr,
        )


def mix_rows(mix: Mapping[str, tuple[float, float]], *, most: int) -> list[list[str]]:
    """Return the lines of the table of classes: the share in the training data, and predicted.

    Of more than `most` classes, those that differ most are shown, in the order of the classes.

    Example:
        >>> mix_rows({"cat": (0.5, 0.3), "dog": (0.25, 0.25), "owl": (0.25, 0.45)}, most=2)
        [['cat', '50.0 %', '30.0 %'], ['owl', '25.0 %', '45.0 %'], ['1 more', '', '']]
    """
    by_difference = sorted(mix, key=lambda name: -abs(mix[name][0] - mix[name][1]))
    shown = set(by_difference[:most])
    rows = [
        [name, *(f"{share:.1%}".replace("%", " %") for share in shares)]
        for name, shares in mix.items()
        if name in shown
    ]
    left = len(mix) - len(rows)
    return [*rows, [f"{left:,} more", "", ""]] if left else rows
