"""A submission in the form of a template, from the template's file to the written one."""

import re
from pathlib import Path

import numpy as np
import pytest

from sweeps.errors import InputError
from sweeps.shipping.sheets import read_sheet
from sweeps.shipping.template import Ids, TemplateOptions, fill, lay_out, write_submission
from trainer.errors import DataError
from trainer.prediction.classes import Classes

ANIMALS = Classes(("cat", "dog"))
IMAGES = {"path": ["b.jpg", "a.jpg", "c.jpg"]}
CLASS_N = np.array([0, 1, 1])
PROBS_NK = np.array([[0.75, 0.25], [0.125, 0.875], [0.5, 0.5]], dtype=np.float32)
PRIOR_K = np.array([0.9, 0.1], dtype=np.float32)


def written(
    folder: Path,
    template: str | bytes,
    options: TemplateOptions | None = None,
    *,
    images: dict[str, list[str]] = IMAGES,
    classes: Classes = ANIMALS,
) -> tuple[str, tuple[str, ...]]:
    """The text of the submission, and the notes."""
    path = folder / "sample.csv"
    path.write_bytes(template if isinstance(template, bytes) else template.encode())
    layout = lay_out(read_sheet(path), images, classes, options or TemplateOptions())
    rows = fill(layout, CLASS_N, PROBS_NK, prior_K=PRIOR_K)
    write_submission(folder / "submission.csv", layout, rows)
    return (folder / "submission.csv").read_bytes().decode(), layout.notes


def test_header_order_and_ids_are_those_of_the_template(tmp_path: Path):
    text, notes = written(tmp_path, "ans,ImageID\ncat,c.jpg\ncat,a.jpg\ncat,b.jpg\n")
    assert text == "ans,ImageID\ndog,c.jpg\ndog,a.jpg\ncat,b.jpg\n"
    assert notes == ()


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("\ufeffid;k\nc;cat\nb;cat\na;cat\n", "id;k\nc;dog\nb;cat\na;dog\n"),
        ("id\tk\r\nc\tcat\r\nb\tcat\r\na\tcat\r\n", "id\tk\nc\tdog\nb\tcat\na\tdog\n"),
        ('"id, of",k\nc,cat\nb,cat\na,cat', '"id, of",k\nc,dog\nb,cat\na,dog\n'),
        (",k\nc,0\nb,0\na,0\n", ",k\nc,1\nb,0\na,1\n"),
        ("id,k\n\nc,cat\nb,\na,\n", "id,k\nc,dog\nb,cat\na,dog\n"),
    ],
)
def test_tables_are_read_as_people_have_them(tmp_path: Path, template: str, expected: str):
    assert written(tmp_path, template)[0] == expected


def test_the_header_keeps_its_unicode_form(tmp_path: Path):
    decomposed = "\u1100\u1161"  # as a Mac writes one Korean syllable
    text, _ = written(tmp_path, f"{decomposed},k\na,cat\nb,cat\nc,cat\n")
    assert text.startswith(f"{decomposed},k\n")


def test_probabilities_go_to_the_column_of_their_class(tmp_path: Path):
    text, notes = written(
        tmp_path, "id,dog,cat\na,0,0\nb,0,0\nc,0,0\n", TemplateOptions(probabilities=True)
    )
    assert text == "id,dog,cat\na,0.875,0.125\nb,0.25,0.75\nc,0.5,0.5\n"
    path = tmp_path / "sample.csv"
    assert notes == (f"{path}: ids are compared without suffixes: a is a.jpg",)


def test_the_mask_competition_wants_the_index_of_the_joint_class(tmp_path: Path):
    parts = tuple(
        (mask, gender, age)
        for mask in ("mask", "incorrect", "normal")
        for gender in ("male", "female")
        for age in ("<30", "30-60", ">=60")
    )
    classes = Classes(tuple(" / ".join(part) for part in parts), ("mask", "gender", "age"), parts)
    path = tmp_path / "info.csv"
    path.write_text("ImageID,ans\nb5.jpg,0\na9.jpg,0\n")
    layout = lay_out(read_sheet(path), {"path": ["a9.jpg", "b5.jpg"]}, classes)
    probs_NK = np.eye(18, dtype=np.float32)[[17, 4]]
    rows = list(fill(layout, probs_NK.argmax(axis=1), probs_NK, prior_K=probs_NK[0]))
    assert (layout.header, rows) == (("ImageID", "ans"), [["b5.jpg", "4"], ["a9.jpg", "17"]])


def test_another_column_of_the_source_may_have_the_ids(tmp_path: Path):
    images = {**IMAGES, "number": ["12", "13", "14"]}
    text, _ = written(tmp_path, "id,k\n14,cat\n13,cat\n12,cat\n", images=images)
    assert text == "id,k\n14,dog\n13,dog\n12,cat\n"


DIFFERENT = "id,k\nx,cat\na,cat\ny,cat\n"


def test_ids_that_differ_are_refused_with_counts_and_examples(tmp_path: Path):
    with pytest.raises(InputError) as caught:
        written(tmp_path, DIFFERENT)
    assert str(caught.value) == (
        f"{tmp_path / 'sample.csv'}: 2 of its 3 ids have no image (x, y), and 2 of 3 images are "
        "not in it (b.jpg, c.jpg). Write --ids template for the rows of the template (an id "
        "without an image gets the shares of the classes in the training data), or --ids images "
        "for one row per image"
    )


def test_the_user_decides_whose_ids_count(tmp_path: Path):
    text, notes = written(tmp_path, DIFFERENT, TemplateOptions(Ids.TEMPLATE))
    assert text == "id,k\nx,cat\na,dog\ny,cat\n"
    path = tmp_path / "sample.csv"
    assert notes[1] == f"{path}: 2 of 3 ids have no image, 2 of 3 images have no id"
    text, _ = written(tmp_path, DIFFERENT, TemplateOptions(Ids.IMAGES))
    assert text == "id,k\na,dog\nb,cat\nc,dog\n"
    probable = "id,cat,dog\nx,0,0\na,0,0\n"
    text, _ = written(tmp_path, probable, TemplateOptions(Ids.TEMPLATE))
    assert text == "id,cat,dog\nx,0.9,0.1\na,0.125,0.875\n"


@pytest.mark.parametrize("ids", [None, Ids.TEMPLATE, Ids.IMAGES])
def test_a_template_of_other_images_is_refused_whatever_counts(tmp_path: Path, ids: Ids | None):
    what = (
        "2 of its 2 ids have no image (x, y), and 3 of 3 images are not in it (b.jpg, a.jpg, "
        "c.jpg). No column of it has the names of the images: is it the right template?"
    )
    with pytest.raises(InputError, match=re.escape(what)):
        written(tmp_path, "id,k\nx,cat\ny,cat\n", TemplateOptions(ids))


def test_names_that_occur_in_several_folders_are_named(tmp_path: Path):
    images = {"path": ["u/a.jpg", "v/a.jpg", "v/b.jpg"]}
    what = (
        "More would match by parts of their names, but then u/a.jpg and v/a.jpg would be one "
        "image: give --source another folder, or write whole paths into the template"
    )
    with pytest.raises(InputError, match=re.escape(what)):
        written(tmp_path, "id,k\na,cat\nb,cat\n", images=images)


@pytest.mark.parametrize(
    ("template", "options", "images", "what"),
    [
        (
            "id,k\na,cat\na,cat\n",
            TemplateOptions(),
            IMAGES,
            "1 ids occur more than once. Keep one row of each\n  a in lines 2 and 3",
        ),
        (
            "id,k\na,cat\nb,cat\n",
            TemplateOptions(),
            {"path": ["a.jpg", "b.jpg", "a.jpg"]},
            "the source has 1 images more than once (a.jpg), so an id of the template would have "
            "several predictions. Keep one row of each",
        ),
        (
            "id,k\na,cat\nb,cat\nc,cat\n",
            TemplateOptions(probabilities=True),
            IMAGES,
            "--probabilities needs a template with one column per class, and this one has 'k'. "
            "Leave out --probabilities or --template",
        ),
        (
            "id,k\na.JPG,cat\nb.jpg,cat\n",
            TemplateOptions(Ids.IMAGES),
            IMAGES,
            "--ids images cannot write the ids of the images that are not in it: its ids differ "
            "from the images in capitals in suffixes, not all in one way (a.JPG is a.jpg). Add "
            "these rows to the template",
        ),
        ("id,k\n", TemplateOptions(), IMAGES, "sample.csv: no rows below the header"),
        (
            "id,k\na,b,c\n",
            TemplateOptions(),
            IMAGES,
            "sample.csv: not a readable CSV file (Length of header or names does not match "
            "length of data",
        ),
    ],
)
def test_bad_templates_are_refused(
    tmp_path: Path,
    template: str,
    options: TemplateOptions,
    images: dict[str, list[str]],
    what: str,
):
    with pytest.raises((InputError, DataError), match=re.escape(what)):
        written(tmp_path, template, options, images=images)
    assert not (tmp_path / "submission.csv").exists()


def test_a_template_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(InputError, match=r"no\.csv: no such file\. Give a CSV or Parquet file$"):
        read_sheet(tmp_path / "no.csv")


def test_a_number_that_is_none_is_never_written(tmp_path: Path):
    path = tmp_path / "sample.csv"
    path.write_text("id,cat,dog\na,0,0\nb,0,0\nc,0,0\n")
    layout = lay_out(read_sheet(path), IMAGES, ANIMALS)
    probs_NK = PROBS_NK.copy()
    probs_NK[1, 0] = np.nan
    rows = fill(layout, CLASS_N, probs_NK, prior_K=PRIOR_K)
    with pytest.raises(DataError, match=r"^a predicted probability is not a number \(NaN or "):
        write_submission(tmp_path / "submission.csv", layout, rows)
    assert not (tmp_path / "submission.csv").exists()
