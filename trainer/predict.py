"""`python -m trainer.predict MODEL IMAGES`: what a packed model says of new images, as CSV.

MODEL is a folder that `sweeps pack` wrote. IMAGES is a folder of images, at any depth, or a CSV or
Parquet file with the columns that the training data had. The bytes are those that `sweeps predict`
writes without a template. The CSV goes to stdout, everything else to stderr. No network connection
is needed, and no part of foldsweep but this package.
Exit codes: 0 done, 1 some images cannot be read, 2 wrong input, 130 interrupted.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np

from trainer.errors import TrainerError
from trainer.fields.evaluation import Tta
from trainer.files import csv_bytes, write_csv
from trainer.prediction.packed import Packed, read_packed
from trainer.prediction.predicting import Predicted, answers, mix, needs_boxes, plan_of
from trainer.prediction.rows import prediction_header, prediction_rows
from trainer.prediction.store import Store
from trainer.prediction.unseen import Unseen, read_unseen, table_options
from trainer.training.fit import pick_device

MOST_BAD = 10  # images that cannot be read and are named
EVERY_S = 10.0  # between two lines of progress


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m trainer.predict", description="Predict images with a packed model."
    )
    parser.add_argument("model", type=Path, help="folder that `sweeps pack` wrote")
    parser.add_argument("images", help="folder of images, or CSV or Parquet with their paths")
    parser.add_argument(
        "--image",
        metavar="COLUMN",
        help="column of the paths, or a pattern such as 'images/{id}.png' (default: as in the "
        "training data)",
    )
    parser.add_argument(
        "--folder",
        action="append",
        metavar="DIR",
        help="where the images of a table lie (default: paths are relative to it); may be repeated",
    )
    parser.add_argument("--out", type=Path, help="file for the CSV (default: stdout)")
    parser.add_argument(
        "--probabilities", action="store_true", help="add a column with each class's probability"
    )
    parser.add_argument(
        "--tta", choices=get_args(Tta), help="test-time augmentation (default: as trained)"
    )
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument(
        "--skip-bad", action="store_true", help="exit code 0 although images cannot be read"
    )
    options = parser.parse_args(arguments)
    try:
        return _predict(options)
    except TrainerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _predict(options: argparse.Namespace) -> int:
    packed = read_packed(options.model)
    data = table_options(packed.source, options.images, image=options.image, folder=options.folder)
    unseen = read_unseen(data, boxes=needs_boxes(packed.models))
    header = prediction_header(packed.classes, probabilities=options.probabilities)
    plan = plan_of(packed.predictor, unseen, tta=options.tta)
    device = pick_device(options.device)
    found = answers(plan, device=device, store=Store(), progress=_Progress())
    predicted = mix(packed.predictor, unseen, found)
    rows = prediction_rows(
        unseen.paths,
        packed.predictor.decide(predicted.probs_NK, predicted.bad),
        predicted.probs_NK,
        classes=packed.classes,
        probabilities=options.probabilities,
    )
    if options.out is None:
        sys.stdout.buffer.write(csv_bytes(header, rows))
        sys.stdout.buffer.flush()
    else:
        write_csv(options.out, header, rows)
    _name_bad(packed, unseen, predicted)
    return 1 if predicted.bad and not options.skip_bad else 0


def _name_bad(packed: Packed, unseen: Unseen, predicted: Predicted) -> None:
    if not predicted.bad:
        return
    bad = sorted(predicted.bad.items())
    commonest = packed.classes.names[int(np.argmax(packed.predictor.prior_K))]
    print(
        f"warning: {len(bad):,} of {len(unseen):,} images cannot be read; they get the shares of "
        f"the classes in the training data, and the class {commonest!r}",
        *(f"  {unseen.where(row)}: {reason}" for row, reason in bad[:MOST_BAD]),
        *([f"  and {len(bad) - MOST_BAD:,} more"] if len(bad) > MOST_BAD else []),
        sep="\n",
        file=sys.stderr,
    )


class _Progress:
    """Prints how far a prediction is, if it takes long."""

    def __init__(self) -> None:
        self._printed_at = time.monotonic()

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._printed_at >= EVERY_S:
            self._printed_at = now
            print(f"{what}: {done / total:.0%}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
