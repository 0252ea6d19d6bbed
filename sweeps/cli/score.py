"""`sweeps score`: score predictions in a file."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from sweeps.cli.options import Common, Json

Labels = Annotated[
    list[str] | None,
    typer.Option(
        "--label",
        metavar="COLUMN",
        help="The label column (default: those that both files have). Repeatable.",
    ),
]
LabelMap = Annotated[
    Path | None,
    typer.Option(
        "--labels",
        metavar="JSON",
        help="The labels.json of the sweep: all classes, and what their numbers mean.",
    ),
]


def score(
    predictions: Annotated[
        Path,
        typer.Option(
            "--predictions",
            metavar="CSV",
            help="Ids with classes or probabilities, as sweeps predict writes them.",
            show_default=False,
        ),
    ],
    truth: Annotated[
        Path,
        typer.Option("--truth", metavar="CSV", help="Ids with labels.", show_default=False),
    ],
    label: Labels = None,
    labels: LabelMap = None,
    common: Common = False,
    as_json: Json = False,
) -> None:
    """Score predictions in a file by all metrics."""
    from sweeps.cli.tables import print_table
    from sweeps.shipping.answers import read_label_map
    from sweeps.shipping.scoring import score_sheets
    from sweeps.shipping.sheets import read_sheet

    found = score_sheets(
        read_sheet(predictions),
        read_sheet(truth),
        labels=label or (),
        classes=None if labels is None else read_label_map(labels),
        common=common,
    )
    if as_json:
        print(json.dumps(found.as_json(), indent=2))
        return
    for note in found.notes:
        print(f"note: {note}", file=sys.stderr)
    print(f"{found.images:,} images, {len(found.classes):,} classes")
    print_table(
        ("metric", "all" if found.columns else "value", *found.columns),
        [
            [
                name,
                f"{value:.4f}",
                *(f"{of_column[name]:.4f}" for of_column in found.columns.values()),
            ]
            for name, value in found.metrics.items()
        ],
        right=("all", "value", *found.columns),
    )
