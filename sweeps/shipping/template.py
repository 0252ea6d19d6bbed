"""A submission in the form of a template such as a competition's sample_submission.csv.

Everything about the template is understood before anything is predicted; then the rows are filled
in. The functions are pure, except those that read or write a file.

Shapes: N images, K classes, R rows of the submission.
"""

import collections
import dataclasses
import enum
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sweeps.errors import InputError
from sweeps.shipping.codes import Codes, Filling, fillings
from sweeps.shipping.ids import (
    IdColumns,
    examples,
    find_id_columns,
    refuse_bad_ids,
    style_of,
)
from sweeps.shipping.sheets import Sheet
from trainer.files import write_csv
from trainer.metrics import Probs
from trainer.prediction.classes import Classes
from trainer.prediction.rows import number_texts


class Ids(enum.StrEnum):
    """Which rows a submission has if the template and the images differ.

    TEMPLATE: the rows of the template; an id without an image gets the shares of the classes in the
    training data. IMAGES: one row per image, those of the template first.
    """

    TEMPLATE = "template"
    IMAGES = "images"


@dataclasses.dataclass(frozen=True)
class TemplateOptions:
    """What the user says about a template.

    Attributes:
        ids: which rows to write if the template and the images differ; None to refuse it.
        codes: what stands for a class; None to see it from the template.
        probabilities: refuse a template that has no column for the probability of each class.
    """

    ids: Ids | None = None
    codes: Codes | None = None
    probabilities: bool = False


NO_OPTIONS = TemplateOptions()


@dataclasses.dataclass(frozen=True)
class Layout:
    """A template that is understood: where each of the R rows gets its cells from.

    Attributes:
        header: the names of the columns, as the template has them.
        separator: what separates the cells.
        id_at: the position of the id column among the columns.
        ids: the id of each row, as the template writes it.
        image_R: the number of each row's image, or -1 for an id without an image.
        fillings: how the other columns are filled in, in their order.
        notes: sentences about what was understood, for the user.
    """

    header: tuple[str, ...]
    separator: str
    id_at: int
    ids: tuple[str, ...]
    image_R: npt.NDArray[np.int64]
    fillings: tuple[Filling, ...]
    notes: tuple[str, ...] = ()


def lay_out(
    sheet: Sheet,
    images: Mapping[str, Sequence[str]],
    classes: Classes,
    options: TemplateOptions = NO_OPTIONS,
) -> Layout:
    """Understand a template.

    The id column is the one that has the most ids of images, and the order of its rows is kept. Ids
    may be written with and without folder and suffix (see `sweeps.shipping.ids`).

    Args:
        images: the columns of the source that may have the ids; the first one has the paths of the
            N images.

    Raises:
        InputError: the ids of the template and of the images differ and `options.ids` does not
            say what counts; ids are empty or occur twice; the label columns cannot be understood;
            or the template has other classes.
    """
    found = find_id_columns(sheet.columns, images)
    refuse_bad_ids(sheet.name, sheet.columns[found.name], lines=sheet.lines)
    _refuse_repeated(images[found.other])
    at = list(sheet.columns).index(found.name)
    names = [name for name in sheet.columns if name != found.name]
    filled, notes = fillings(sheet, names, classes, codes=options.codes)
    if options.probabilities and any(filling.texts for filling in filled):
        raise InputError(
            f"{sheet.name}: --probabilities needs a template with one column per class, and this "
            f"one has {', '.join(map(repr, names))}. Leave out --probabilities or --template"
        )
    ids, image_R = _rows(sheet, found, images[found.other], options.ids)
    return Layout(
        sheet.header,
        sheet.separator,
        at,
        tuple(ids),
        np.array(image_R, dtype=np.int64),
        tuple(filled),
        (*_id_notes(sheet, found, images[found.other]), *notes),
    )


def fill(
    layout: Layout, class_N: npt.NDArray[np.int64], probs_NK: Probs, *, prior_K: Probs
) -> Iterator[list[str]]:
    """Yield the rows of the submission, with a cell for each column of the template's header.

    Args:
        class_N: the predicted class of each image.
        prior_K: the shares of the classes in the training data, for ids without an image.

    Raises:
        DataError: a probability is NaN or infinite.
    """
    for name, image in zip(layout.ids, layout.image_R.tolist(), strict=True):
        probs_K = prior_K if image < 0 else probs_NK[image]
        label = int(prior_K.argmax()) if image < 0 else int(class_N[image])
        numbers = number_texts(probs_K)
        cells = [
            filling.texts[label]
            if filling.probability_of is None
            else numbers[filling.probability_of]
            for filling in layout.fillings
        ]
        cells.insert(layout.id_at, name)
        yield cells


def write_submission(path: Path, layout: Layout, rows: Iterator[list[str]]) -> None:
    """Write the rows below the template's header, whole or not at all."""
    write_csv(path, layout.header, rows, separator=layout.separator)


def _refuse_repeated(images: Sequence[str]) -> None:
    repeated = [name for name, count in collections.Counter(images).items() if count > 1]
    if repeated:
        raise InputError(
            f"the source has {len(repeated):,} images more than once ({examples(repeated)}), so an "
            "id of the template would have several predictions. Keep one row of each"
        )


def _rows(
    sheet: Sheet, found: IdColumns, images: Sequence[str], wanted: Ids | None
) -> tuple[list[str], list[int]]:
    """The id and the image of each row."""
    matching = found.matching
    ids = list(sheet.columns[found.name])
    image_R = [-1 if row is None else row for row in matching.other_N]
    if matching.complete:
        return ids, image_R
    if not matching.matches or wanted is None:
        raise InputError(_difference(sheet, found, images))
    if wanted == Ids.TEMPLATE:
        return ids, image_R
    both = [(name, image) for name, image in zip(ids, image_R, strict=True) if image >= 0]
    style = style_of([name for name, _ in both], [images[image] for _, image in both])
    if matching.left and style is None:
        raise InputError(
            f"{sheet.name}: --ids images cannot write the ids of the images that are not in it: "
            f"its ids differ from the images in {matching.ignored}, not all in one way "
            f"({both[0][0]} is {images[both[0][1]]}). Add these rows to the template"
        )
    added = [] if style is None else [(style(images[row]), row) for row in matching.left]
    both += added
    return [name for name, _ in both], [image for _, image in both]


def _difference(sheet: Sheet, found: IdColumns, images: Sequence[str]) -> str:
    """The message about ids that only the template or only the images have."""
    matching = found.matching
    ids = sheet.columns[found.name]
    lost = [name for name, row in zip(ids, matching.other_N, strict=True) if row is None]
    others = [images[row] for row in matching.left]
    parts = []
    if lost:
        parts.append(f"{len(lost):,} of its {len(ids):,} ids have no image ({examples(lost)})")
    if others:
        parts.append(
            f"{len(others):,} of {len(images):,} images are not in it ({examples(others)})"
        )
    text = f"{sheet.name}: {', and '.join(parts)}"
    if matching.alike:
        text += (
            f". More would match by parts of their names, but then {matching.alike[0]} and "
            f"{matching.alike[1]} would be one image: give --source another folder, or write whole "
            "paths into the template"
        )
    if not matching.matches:
        return f"{text}. No column of it has the names of the images: is it the right template?"
    return (
        f"{text}. Write --ids template for the rows of the template (an id without an image gets "
        "the shares of the classes in the training data), or --ids images for one row per image"
    )


def _id_notes(sheet: Sheet, found: IdColumns, images: Sequence[str]) -> list[str]:
    """What a user should know about the ids, if it is not a plain match."""
    matching = found.matching
    ids = sheet.columns[found.name]
    notes = []
    if matching.ignored:
        pairs = zip(ids, matching.other_N, strict=True)
        name, image = next((name, image) for name, image in pairs if image is not None)
        notes.append(
            f"{sheet.name}: ids are compared without {matching.ignored}: {name} is {images[image]}"
        )
    if not matching.complete:
        notes.append(
            f"{sheet.name}: {len(ids) - matching.matches:,} of {len(ids):,} ids have no image, "
            f"{len(matching.left):,} of {len(images):,} images have no id"
        )
    return notes
