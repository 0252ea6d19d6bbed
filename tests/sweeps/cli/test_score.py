"""`sweeps score`."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.sweeps.cli.conftest import Ended

PREDICTIONS = "path,class,mask,age\n1.png,a / x,a,x\n2.png,a / y,a,y\n3.png,b / x,b,x\n"
TRUTH = "path,mask,age\n1,a,x\n2,a,x\n3,b,x\n"


def written(name: str, text: str) -> Path:
    Path(name).write_text(text)
    return Path(name)


def test_metrics_of_all_and_of_each_label_column_are_printed(sweeps: Callable[..., Ended]):
    predictions, truth = written("p.csv", PREDICTIONS), written("t.csv", TRUTH)
    assert sweeps("score", "--predictions", predictions, "--truth", truth) == Ended(
        0,
        "3 images, 3 classes\n"
        "metric                all    mask     age\n"
        "f1                 0.5556  1.0000  0.4000\n"
        "accuracy           0.6667  1.0000  0.6667\n"
        "balanced_accuracy  0.7500  1.0000  0.6667\n",
        "note: ids are compared without suffixes\n",
    )


def test_json_has_the_same_numbers(sweeps: Callable[..., Ended]):
    predictions, truth = written("p.csv", PREDICTIONS), written("t.csv", TRUTH)
    ended = sweeps("score", "--predictions", predictions, "--truth", truth, "--json")
    value = json.loads(ended.out)
    assert (ended.code, ended.err) == (0, "")
    assert value["classes"] == ["a / x", "a / y", "b / x"]
    assert value["metrics"]["accuracy"] == pytest.approx(2 / 3)
    assert value["f1_per_class"] == pytest.approx([2 / 3, 0, 1])


def test_one_label_column_and_common_images(sweeps: Callable[..., Ended]):
    predictions = written("p.csv", "id,ans\n1,0\n2,1\n9,1\n")
    truth = written("t.csv", "id,label\n1,cat\n2,cat\n3,dog\n")
    labels = written("labels.json", '{"classes": {"0": "cat", "1": "dog"}}')
    arguments = ["score", "--predictions", predictions, "--truth", truth, "--labels", labels]
    assert sweeps(*arguments).code == 2
    assert sweeps(*arguments, "--common") == Ended(
        0,
        "2 images, 2 classes\n"
        "metric              value\n"
        "f1                 0.3333\n"
        "accuracy           0.5000\n"
        "balanced_accuracy  0.5000\n",
        "",
    )


@pytest.mark.parametrize(
    ("predictions", "error"),
    [
        ("", "p.csv: the file is empty. It needs a header line and one row per image"),
        ("path,class\n", "p.csv: no rows below the header"),
        (
            "path,class\n1.png,a / x\n1.png,a / x\n",
            "p.csv: 1 ids occur more than once. Keep one row of each\n  1.png in lines 2 and 3",
        ),
        (None, "p.csv: no such file. Give a CSV or Parquet file"),
    ],
)
def test_bad_files_are_one_error(sweeps: Callable[..., Ended], predictions: str | None, error: str):
    if predictions is not None:
        written("p.csv", predictions)
    truth = written("t.csv", TRUTH)
    assert sweeps("score", "--predictions", "p.csv", "--truth", truth) == Ended(
        2, "", f"error: {error}\n"
    )
