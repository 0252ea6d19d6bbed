"""The pictures of a trial, which the Optuna dashboard and trackers show.

They are drawn when the trial ends, before its end is stored: Optuna takes no artifact for a trial
that is over.

| picture       | of                           | shows                                             |
|---------------|------------------------------|---------------------------------------------------|
| curves.svg    | a trial with a finished fold | the metric of each fold over its epochs           |
| confusion.svg | a complete trial             | actual against predicted classes, out of fold     |
| errors.jpg    | a complete trial             | the images with the surest wrong answers          |

Shapes: N images with an out-of-fold prediction, K classes.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from sweeps.paths import SweepFiles, TrialFiles
from sweeps.preparing.inspection import small_image
from sweeps.reporting.charts import learning_curves
from sweeps.reporting.contact_sheet import Cell, contact_sheet, drawable
from sweeps.reporting.matrix import confusion_matrix
from sweeps.reporting.one_trial import confident_errors, confusion_counts, fold_curves
from sweeps.reporting.svg import Chart, standalone
from sweeps.reporting.thumbnails import cached_images, views_of
from sweeps.results.metric import Ints, Predicted
from sweeps.running.events import EndState
from trainer.data.folds import Folds
from trainer.files import atomic_write
from trainer.images.images import Decoded, Pixels
from trainer.images.preprocessing import Preprocessing
from trainer.training.oof import read_oof

MOST_ERRORS = 24
CURVES, CONFUSION, ERRORS = "curves.svg", "confusion.svg", "errors.jpg"


class TrialPictures:
    """Draws the pictures of the trials of one sweep into their directories.

    Example:
        >>> draw = TrialPictures(SweepFiles.of(Path("runs"), "mask"), metric="valid/f1", field="f1")
        >>> paths = list(draw(7, EndState.COMPLETED))  # doctest: +SKIP
    """

    def __init__(
        self,
        files: SweepFiles,
        *,
        metric: str,
        field: str,
        fence: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare; nothing is read yet.

        Args:
            metric: the name of the sweep's metric, for titles.
            field: its name in the files of a fold run.
            fence: called before each file is written, because to draw it took a moment; see
                Recorder.
        """
        self._files = files
        self._metric = metric
        self._field = field
        self._fence = fence
        self._decoded: dict[tuple[Preprocessing, ...], Decoded | None] = {}

    def __call__(self, number: int, state: EndState) -> Iterator[Path]:
        """Draw what can be drawn of a trial that is over, and yield each file when it is written.

        Raises:
            DataError: out-of-fold predictions are missing or damaged.
            LeaseLostError: another driver has the sweep.
        """
        directory = self._files.trial(number).directory
        for name, content in self._pictures(number, state):
            path = directory / name
            self._fence()
            with atomic_write(path) as file:
                file.write(content)
            yield path

    def _pictures(self, number: int, state: EndState) -> Iterator[tuple[str, bytes]]:
        """The names and contents of the pictures."""
        trial = self._files.trial(number)
        curves = fold_curves(trial.directory, self._field)
        if curves:
            yield CURVES, _file(learning_curves({number: curves}, metric=self._metric))
        if state is not EndState.COMPLETED:
            return
        folds = self._folds
        rows_N = folds.scored_rows()
        predicted = Predicted.by_argmax(read_oof(trial.directory, folds)[rows_N])
        labels_N = folds.manifest.labels_N[rows_N]
        classes = folds.manifest.classes
        counts_KK = confusion_counts(predicted, labels_N, n_classes=len(classes))
        chart = confusion_matrix(counts_KK, classes, trial=number)
        if chart is not None:
            yield CONFUSION, _file(chart)
        wrong = confident_errors(predicted, labels_N, most=MOST_ERRORS)
        images = self._images(trial, rows_N[wrong])
        cells = [
            Cell(
                image_HWC,
                _lines(
                    classes,
                    actual=int(labels_N[index]),
                    said=int(predicted.class_N[index]),
                    sure=float(predicted.probs_NK[index].max()),
                ),
            )
            for index, image_HWC in zip(wrong, images, strict=True)
            if image_HWC is not None
        ]
        if cells:
            yield ERRORS, contact_sheet(cells)

    @functools.cached_property
    def _folds(self) -> Folds:
        return self._files.folds()

    def _images(self, trial: TrialFiles, rows_B: Ints) -> Sequence[Pixels | None]:
        """The images of these rows; None for one that cannot be read any more.

        They come from the decoded images that the trial trained on, if this machine has them.
        """
        views = views_of(trial.config)
        manifest = self._folds.manifest
        if views not in self._decoded:
            self._decoded[views] = cached_images(manifest, views)
        decoded = self._decoded[views]
        if decoded is not None:
            return list(decoded.take(rows_B))
        return [small_image(manifest, int(row)) for row in rows_B]


def _lines(classes: Sequence[str], *, actual: int, said: int, sure: float) -> tuple[str, str]:
    """What stands below an image; a name in another alphabet is given by its number."""
    names = [
        classes[label] if drawable(classes[label]) else f"class {label}" for label in (actual, said)
    ]
    return f"actual {names[0]}", f"said {names[1]} ({sure:.0%})"


def _file(chart: Chart) -> bytes:
    return standalone(chart).encode(errors="backslashreplace")
