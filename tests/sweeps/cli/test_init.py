"""`sweeps init`, `check` and `run`: from somebody's data to a sweep in three commands, no edit."""

import csv
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import huggingface_hub.constants
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from sweeps.preparing import first_space
from sweeps.space.schema import FILE_NAME, HEADER, schema_text
from sweeps.space.spec_reader import read_spec
from tests.sweeps.cli.checks import shown
from tests.sweeps.cli.conftest import Ended
from trainer.model import hub

Sweeps = Callable[..., Ended]
N = 24
NONE_HERE = (
    "  # The model hub does not answer here, and its cache lacks pretrained weights, so networks\n"
)


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without the model hub, on which only the smallest networks are quick."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))

    def pace(device: str, side: int, batch_size: int, backbone: str) -> float:
        return 1e-4 if backbone.startswith("test_") else 10.0

    monkeypatch.setattr(first_space, "measured", pace)


def picture(path: Path | str, number: int) -> None:
    """An image whose brightness is that of its class, number % 2."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(number).integers(0, 100, (24, 24, 3))
    Image.fromarray((noise + 150 * (number % 2)).astype(np.uint8)).save(path)


def table(path: Path | str, header: str, rows: Iterable[Iterable[object]]) -> str:
    with Path(path).open("w", newline="") as file:
        csv.writer(file).writerows([header.split(","), *rows])
    return str(path)


def class_folders() -> str:
    for number in range(N):
        picture(f"내 사진/{['고양이', '강아지'][number % 2]}/{number}.jpg", number)
    return "내 사진"


def parts() -> str:
    for number in range(2 * N):
        part = "train" if number < N else "val"
        picture(f"photos/{part}/{'ab'[number % 2]}/{number}.png", number)
    return "photos"


def paths() -> str:
    for number in range(N):
        picture(f"data/images/{number}.png", number)
    rows = ((f"images/{n}.png", ["고양이", "강아지"][n % 2]) for n in range(N))
    return table("data/표.csv", "경로,분류", rows)


def ids() -> str:
    for number in range(N):
        picture(f"retina/train_images/{number:06}.png", number)
    return table("retina/train.csv", "id_code,diagnosis", ((f"{n:06}", n % 2) for n in range(N)))


def one_column_per_class() -> str:
    for number in range(N):
        picture(f"ham/{number}.jpg", number)
    rows = ([n, *(int(n % 3 == k) for k in range(3))] for n in range(N))
    return table("ham/labels.csv", "image,MEL,NV,BCC", rows)


def parquet() -> str:
    for number in range(N):
        picture(f"scans/{number}.png", number)
    rows = {
        "file": [f"{number}.png" for number in range(N)],
        "patient_id": [number // 2 for number in range(N)],
        "grade": [number // 2 % 2 for number in range(N)],
    }
    pd.DataFrame(rows).to_parquet("scans/all.parquet")
    return "scans/all.parquet"


def profiles() -> str:
    for number in range(12):
        name = f"{number:06}_{['male', 'female'][number % 2]}_Asian_{[20, 65][number // 2 % 2]}"
        for photo in ("mask1", "incorrect_mask", "normal"):
            picture(f"faces/images/{name}/{photo}.jpg", number)
    return "faces"


def rare() -> str:
    for number in range(N):
        picture(f"birds/{number}.jpg", number)
    kinds = ["owl", "crow"] * 11 + ["ibis", "kite"]
    return table("birds/birds.csv", "file,species", ((f"{n}.jpg", kinds[n]) for n in range(N)))


DATA: dict[Callable[[], str], tuple[str, list[str]]] = {
    class_folders: ("one sub-folder per class", ["source: 내 사진", "folds: {k: 5, seed: 42}"]),
    parts: (
        "a folder for training and one for validation, with one sub-folder per class in each",
        ["source: photos/train", "valid: photos/val", "folds: {column: fold}"],
    ),
    paths: ("a table of images and classes", ["image: 경로", "label: 분류"]),
    ids: (
        "a table of images and classes",
        ["image: id_code", "folder: train_images", "suffix: .png", "label: diagnosis"],
    ),
    one_column_per_class: (
        "a table of images and classes",
        ["image: image", "suffix: .jpg", "class_columns: [MEL, NV, BCC]"],
    ),
    parquet: ("a table of images and classes", ["label: grade", "group: patient_id"]),
    profiles: (
        "one folder per person, named <id>_<gender>_<race>_<age>",
        ["layout: profile_folders", "group: person", "heads: {values: [joint, separate]}"],
    ),
    rare: (
        "a table of images and classes",
        ["folds: {k: 5, seed: 42, rare: train}", "class_weights: {values: [none, balanced]}"],
    ),
}


SLOW = (paths, one_column_per_class, rare)


@pytest.mark.parametrize(
    "data",
    [pytest.param(data, marks=[pytest.mark.slow] * (data in SLOW)) for data in DATA],
    ids=lambda data: data.__name__,
)
def test_three_commands_lead_to_a_sweep(sweeps: Sweeps, data: Callable[[], str]):
    layout, lines = DATA[data]
    ended = sweeps("init", data(), "--out", "mine.yaml")
    assert (ended.code, ended.out) == (0, "")
    told = shown(ended).err.splitlines()
    assert told[0] == f"layout     {layout}"
    assert told[-3:] == [
        "space      mine.yaml",
        "next       sweeps check mine.yaml",
        "           sweeps run mine.yaml",
    ]
    written = [line.strip() for line in Path("mine.yaml").read_text().splitlines()]
    assert [line for line in lines if not any(w.startswith(line) for w in written)] == []
    assert sweeps("check", "mine.yaml").code == 0
    # all of a sweep but its length
    quick = ("--trials", 1, "--set", "parameters.epochs={value: 1}")
    assert sweeps("run", "mine.yaml", "--local", *quick).code == 0


def test_the_schema_for_editors_lies_beside_the_file(sweeps: Sweeps):
    assert sweeps("init", parquet(), "--out", "mine/space.yaml").code == 0
    assert sorted(path.name for path in Path("mine").iterdir()) == [FILE_NAME, "space.yaml"]
    assert Path("mine/space.yaml").read_text().splitlines()[0] == HEADER
    assert Path("mine", FILE_NAME).read_text() == schema_text()


def test_the_file_as_a_whole(sweeps: Sweeps):
    ended = sweeps("init", parquet(), "--hours", 0.5, "--out", "-")
    assert ended.code == 0
    assert shown(ended).err == (
        "layout     a table of images and classes\n"
        "data       24 images, 2 classes, 12 groups, 5 folds; no row rejected\n"
        "editors    sweeps schema --out .foldsweep.schema.json   beside the new file\n"
    )
    text = re.sub(r"\d CPUs? and no GPU here", "2 CPUs and no GPU here", ended.out)
    assert text == WHOLE


WHOLE = """\
# yaml-language-server: $schema=.foldsweep.schema.json
# Written by `sweeps init scans/all.parquet`. It runs as it is; change what you know better.
#
#   sweeps check search_spaces/scans.yaml   classes, folds, leaks, and a page with pictures
#   sweeps run search_spaces/scans.yaml
#
# Layout: a table of images and classes.
# 24 images in 2 classes: 0 12, 1 12.

name: scans
method: bayes
# f1 counts every class alike, valid/accuracy every image.
metric: {name: valid/f1, goal: maximize}
# The sweep ends after 60 trials or 0.5 h, whatever comes first (2 CPUs and no GPU here). With more
# of both it goes on where it stopped.
run_cap: 60
budget: {hours: 0.5}
seed: 1

data:
  source: scans/all.parquet
  image: file
  label: grade
  # group: column patient_id looks like it says which images belong together (12 groups of 24
  # images). Delete the line if that is not so.
  group: patient_id

folds: {k: 5, seed: 42}

parameters:
  # About what a trial takes here that trains all its folds: test_resnet 5 s, test_efficientnet 5 s,
  # test_convnext 5 s.
  backbone: {values: [test_resnet, test_efficientnet, test_convnext]}
  # The model hub does not answer here, and its cache lacks pretrained weights, so networks begin
  # from nothing. `sweeps init` on a machine with the hub proposes pretrained ones, which learn far
  # more from few images.
  weights: {value: none}
  # The images are 24 x 24 pixels (median); 32 x 32 is what is trained.
  resize: {value: 32}
  batch_size: {value: 8}
  epochs: {value: 30}
  optimizer: {values: [adamw, sgd]}
  lr: {distribution: log_uniform_values, min: 5e-4, max: 2e-2}
  weight_decay: {distribution: log_uniform_values, min: 1e-4, max: 1e-1, when: {optimizer: adamw}}
  momentum: {value: 0.9, when: {optimizer: sgd}}
  scheduler: {value: cosine}
  warmup_epochs: {value: 0.5}
  loss: {values: [cross_entropy, label_smoothing]}
  flip: {values: [0.0, 0.5]}   # delete if left and right differ, as in digits and text
  jitter: {values: [0.0, 0.5]}   # brightness, contrast, saturation, hue
"""


def test_the_same_data_and_options_print_what_would_be_written(sweeps: Sweeps):
    source = ids()
    assert sweeps("init", source).code == 0
    written = Path("search_spaces/retina.yaml").read_text()
    assert sweeps("init", source, "--out", "-").out == written
    assert read_spec(Path("search_spaces/retina.yaml")).name == "retina"


def test_folders_that_leak_become_groups_with_the_reason(sweeps: Sweeps):
    for number in range(4 * 20):
        picture(f"pets/{'ab'[number // 40]}/pet{number // 4:02}/{number % 4}.png", number)
    ended = sweeps("init", "pets", "--out", "-")
    assert "  group: folder\n" in ended.out
    comment = " ".join(line.strip().lstrip("# ") for line in ended.out.splitlines())
    assert "group: without it, 20 of 20 folders with several images have them in several folds" in (
        comment
    )
    assert "Delete the line if that is not so." in comment


def test_copies_become_groups_of_near_duplicates(sweeps: Sweeps):
    for number in range(N):
        picture(f"pets/{'ab'[number % 2]}/{chr(97 + number)}x.png", number)
    for number in range(8):
        picture(f"pets/{'ab'[number % 2]}/{chr(97 + number)}y.png", number)
    ended = sweeps("init", "pets", "--out", "-")
    assert "  group: near_duplicates\n" in ended.out


def test_pretrained_weights_are_proposed_where_they_can_be_had(
    sweeps: Sweeps, monkeypatch: pytest.MonkeyPatch
):
    source = ids()
    assert "  weights: {value: none}\n" in sweeps("init", source, "--out", "-").out
    monkeypatch.setattr(hub, "answers", lambda name: True)
    text = sweeps("init", source, "--out", "-").out
    assert "  weights: {value: pretrained}\n" in text
    assert "  epochs: {value: 5}\n" in text  # these networks are slow here
    monkeypatch.setattr(hub, "answers", lambda name: False)
    cached = ("resnet18", "resnet50", "convnext_tiny")
    here = {name: Path("w.safetensors") for name in cached}
    monkeypatch.setattr(hub, "cached_weights", here.get)
    text = sweeps("init", source, "--out", "-").out
    assert "  backbone: {values: [resnet18, resnet50, convnext_tiny]}\n" in text
    assert "the model hub does not answer; these weights are in its cache here" in text


def test_nothing_is_written_over_without_force(sweeps: Sweeps):
    source = ids()
    Path("mine.yaml").write_text("name: kept\n")
    ended = sweeps("init", source, "--out", "mine.yaml")
    assert (ended.code, ended.out, ended.err) == (
        2,
        "",
        "error: mine.yaml exists. Write over it with --force, or name another file with --out\n",
    )
    assert Path("mine.yaml").read_text() == "name: kept\n"
    assert sweeps("init", source, "--out", "mine.yaml", "--force").code == 0
    assert "name: mine\n" in Path("mine.yaml").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("nothing",), "nothing: no such file or folder. Set data.source to one "),
        (("d", "--out", "a.txt"), "a.txt: a search space is a .yaml file. Write --out a.txt.yaml"),
        (("d", "--out", "f.yaml"), "f.yaml is a folder. Name a file with --out"),
        (("d", "--hours", "0"), "--hours: a number of hours above 0, got 0"),
        (("d",), "d: its 1 images lie in no sub-folder of a class, so their classes are unknown."),
        (("one",), "one: only one class ('a'); classification needs at least two"),
        (("few",), "few: 2 of 2 classes have fewer images than the 2 folds: 'a' (1), 'b' (1)."),
    ],
)
def test_what_cannot_be_drafted_ends_with_what_to_do(
    sweeps: Sweeps, options: tuple[str, ...], message: str
):
    picture("d/1.png", 1)
    picture("one/a/1.png", 1)
    picture("few/a/1.png", 1)
    picture("few/b/2.png", 2)
    Path("f.yaml").mkdir()
    ended = shown(sweeps("init", *options))
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.replace(f"{Path.cwd()}/", "").startswith(f"error: {message}")
    assert not Path("search_spaces").exists()


def test_names_that_mean_something_in_yaml_and_shell_are_quoted(sweeps: Sweeps):
    for number in range(N):
        picture(f"my: data #1/{number}.png", number)
    rows = ((f"{n}.png", ["x: y", "no\n#thing"][n % 2]) for n in range(N))
    source = table("my: data #1/t.csv", "1e5,true", rows)
    ended = sweeps("init", source, "--out", "my file.yaml")
    assert ended.code == 0
    assert ended.err.endswith("sweeps check 'my file.yaml'\n           sweeps run 'my file.yaml'\n")
    spec = read_spec(Path("my file.yaml"))
    assert (spec.data.source, spec.data.image, spec.data.label) == (source, "1e5", ("true",))
    assert spec.name == "my-data-1"
    assert sweeps("check", "my file.yaml").code == 0
