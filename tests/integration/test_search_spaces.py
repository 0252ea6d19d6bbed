"""The search spaces, as users run them, on small generated data of their own kind;
only `--set` shortens them.
"""

import csv
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sweeps.samples.faces import write_faces
from sweeps.space.spec_reader import read_spec
from tests.integration.conftest import called
from trainer.data.fold_column import ALWAYS_TRAINED
from trainer.data.fold_files import load_folds
from trainer.data.folds import Folds
from trainer.images.cache import find_images
from trainer.images.preprocessing import Preprocessing

SPACES = Path(__file__).parents[2] / "search_spaces"
SHORTER = (
    "parameters.backbone={value: test_resnet}",
    "parameters.weights={value: none}",
    "parameters.resize={value: 32}",
    "parameters.epochs={value: 3}",  # more than any warm-up
    "parameters.batch_size={value: 16}",
    "resources.gpu=0",
)


def run(
    name: str, *settings: str, cwd: Path, trials: int = 2, options: Sequence[str] = ("--local",)
) -> str:
    """Run a search space to its end; what was said meanwhile."""
    words = [word for setting in (*SHORTER, *settings) for word in ("--set", setting)]
    done = called(
        "run", SPACES / f"{name}.yaml", "--trials", str(trials), *options, *words, cwd=cwd
    )
    assert done.returncode == 0, done.stderr
    assert f": {trials} completed, 0 pruned, 0 failed\n" in done.stdout
    assert "will fail" not in done.stderr
    return done.stderr


def scores(folder: Path) -> list[dict[str, float]]:
    files = sorted(folder.glob("trial-*/fold-*/result.json"))
    return [json.loads(file.read_text())["metrics"] for file in files]


def rejected(folder: Path) -> Counter[str]:
    with (folder / "rejected.csv").open() as file:
        return Counter(row["reason"] for row in csv.DictReader(file))


def sides_of_groups(folds: Folds) -> dict[str, set[int]]:
    assert folds.manifest.groups is not None
    sides: dict[str, set[int]] = defaultdict(set)
    for group, fold in zip(folds.manifest.groups, folds.fold_N.tolist(), strict=True):
        sides[group].add(fold)
    return sides


def scene(*seed: int) -> Image.Image:
    """96 x 72 pixels of clouds in a colour of the class (the first number):
    no two alike, learnable.
    """
    rng = np.random.default_rng(seed)
    tint = np.array([[230, 80, 80], [80, 230, 80], [80, 80, 230], [200, 200, 60]])[seed[0] % 4]
    clouds_HWC = np.clip(tint + rng.normal(0, 70, (6, 8, 3)), 0, 255).astype(np.uint8)
    return Image.fromarray(clouds_HWC).resize((96, 72), Image.Resampling.BICUBIC)


def save(image: Image.Image, path: Path, *, quality: int = 92) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, quality=quality)


def test_mask_on_drawn_faces_keeps_persons_whole(tmp_path: Path):
    images = write_faces(tmp_path / "data" / "faces", persons=12, size_HW=(64, 48))
    save(scene(0), images / "000001_female_Caucasian_19" / "holiday.jpg")  # says nothing of a mask
    assert (
        read_spec(SPACES / "mask.yaml").data.source == "data/faces/images"
    )  # where `sweeps demo faces` writes
    said = run("mask", "folds.k=2", cwd=tmp_path)
    folder = tmp_path / "runs" / "mask"
    folds = load_folds(folder / "folds.npz")
    assert (len(folds.manifest), len(folds.manifest.classes), folds.k) == (84, 18, 2)
    sides = sides_of_groups(folds)
    assert len(sides) == 12
    assert all(len(found) == 1 for found in sides.values())
    assert (folds.counts() > 0).all()
    labels = json.loads((folder / "labels.json").read_text())
    assert labels["parts"]["0"] == {"mask": "mask", "gender": "male", "age": "<30"}
    assert rejected(folder) == {"not a row": 1}
    assert "rejected.csv" in said
    assert len(scores(folder)) == 4


def test_the_small_mask_search_space_cuts_and_asks_as_the_large_one_does(tmp_path: Path):
    write_faces(tmp_path / "data" / "faces", persons=12, size_HW=(64, 48))
    large, small = (read_spec(SPACES / f"{name}.yaml") for name in ("mask", "mask_small"))
    assert small.data == large.data
    for name in ("optimizer", "scheduler", "loss", "heads", "class_weights", "resize_mode"):
        assert small.raw["parameters"][name] == large.raw["parameters"][name]
    run("mask_small", "folds.k=2", cwd=tmp_path)
    assert len(scores(tmp_path / "runs" / "mask_small")) == 4


def test_landmark_through_ray_without_room_for_a_cache_scores_as_decoded(tmp_path: Path):
    """Two shots of each place; decoded per batch on Ray,
    or once and in this process: the same bits.
    """
    for label in range(3):
        for place in range(8):
            shot = scene(label, place)
            drawn = np.random.default_rng([label, place]).bytes(4).hex()
            name = f"data/landmark/train/place {label}/{drawn}"
            save(shot, tmp_path / f"{name}.jpg")
            save(shot.resize((192, 144)), tmp_path / f"{name}b.jpg", quality=70)
    said = run(
        "landmark", "folds.k=2", "data.cache_gb=0", "name=streamed", cwd=tmp_path, options=()
    )
    assert "32x32-stretch does not fit into data.cache_gb: decoded batch by batch" in said
    run("landmark", "folds.k=2", cwd=tmp_path)
    streamed = tmp_path / "runs" / "streamed"
    decoded = tmp_path / "runs" / "landmark"
    folds = load_folds(decoded / "folds.npz")
    assert folds.hash == load_folds(streamed / "folds.npz").hash
    sides = sides_of_groups(folds)
    assert len(sides) == 24  # both shots of a place are one group
    assert all(len(found) == 1 for found in sides.values())
    assert rejected(decoded) == {}
    assert len(scores(decoded)) == 4
    assert scores(streamed) == scores(decoded)
    how = Preprocessing((32, 32), "stretch")
    assert find_images(folds.manifest, how) is not None


def test_pet_expression_on_frames_with_boxes_holds_the_second_csv_out(tmp_path: Path):
    """Four frames of each video, of which one is kept;
    boxes of three more leave the image or are empty.
    """
    bad_boxes = ([-5, 0, 40, 40], [30, 30, 30, 60], [200, 200, 300, 300])
    for part, videos in (("train", 5), ("valid", 2)):
        rows: list[list[object]] = []
        for label, video in np.ndindex(3, videos):
            pet = scene(label, video, int(part == "valid"))
            for frame in range(4):
                name = np.random.default_rng([label, video, frame]).bytes(4).hex()
                path = f"{part}/{label}/{name}.jpg"
                save(
                    pet.point(lambda value, frame=frame: value + frame),
                    tmp_path / "data/pet" / path,
                )
                rows.append([path, f"mood {label}", 10, 10, 80 + frame, 70])
        for number, box in enumerate(bad_boxes if part == "train" else ()):
            save(scene(number, 99), tmp_path / f"data/pet/train/bad{number}.jpg")
            rows.append([f"train/bad{number}.jpg", f"mood {number}", *box])
        with (tmp_path / f"data/pet/{part}.csv").open("w", newline="") as file:
            csv.writer(file).writerows(
                [["path", "expression", "left", "top", "right", "bottom"], *rows]
            )
    run("pet_expression", cwd=tmp_path)
    folder = tmp_path / "runs" / "pet_expression"
    folds = load_folds(folder / "folds.npz")
    assert (len(folds.manifest), folds.k) == (3 * (5 + 2), 1)
    assert rejected(folder) == {"bad box": 3, "near duplicate": 3 * 3 * (5 + 2)}
    for path, fold in zip(folds.manifest.paths, folds.fold_N.tolist(), strict=True):
        assert fold == (0 if path.startswith("valid/") else ALWAYS_TRAINED)
    best = json.loads(called("best", "pet_expression", "--json", cwd=tmp_path).stdout)
    assert (best["metric"], best["completed"]) == ("valid/f1", 2)
    for trial in best["trials"]:
        assert (len(trial["fold_scores"]), trial["std"]) == (1, None)
        assert trial["score"] == trial["fold_scores"][0]
    for crop in ("box", "none"):
        assert find_images(folds.manifest, Preprocessing((32, 32), "fit", crop)) is not None


def test_products_are_trained_with_and_without_their_background(tmp_path: Path):
    pytest.importorskip("cv2", reason="needs the extra 'crops', which CI installs")
    for label in range(4):
        for photo in range(6):
            shelf = scene(3 - label, label, photo)
            box = Image.new("RGB", (44, 34), (40, 60 * label, 40))
            shelf.paste(box, (26, 19))
            save(shelf, tmp_path / "data" / "products" / f"product {label}" / f"{label}{photo}.jpg")
    run("products", "folds.k=2", cwd=tmp_path, trials=6)
    best = json.loads(called("best", "products", "--json", "--topk", "6", cwd=tmp_path).stdout)
    assert {trial["params"]["background"] for trial in best["trials"]} == {"keep", "remove"}
    folds = load_folds(tmp_path / "runs" / "products" / "folds.npz")
    assert (len(folds.manifest), len(folds.manifest.classes)) == (24, 4)
    assert all(len(found) == 1 for found in sides_of_groups(folds).values())
    rows_N = np.arange(24)
    for mode in ("fit", "stretch"):
        kept, removed = (
            find_images(folds.manifest, Preprocessing((32, 32), mode, "none", background))
            for background in ("keep", "remove")
        )
        assert kept is not None
        assert removed is not None
        white = [(images.take(rows_N)[:, 14:18, :2] >= 250).all() for images in (kept, removed)]
        assert white == [False, True]  # data.fill, at the left edge
        centre = np.abs(
            kept.take(rows_N)[:, 15:17, 15:17].astype(int) - removed.take(rows_N)[:, 15:17, 15:17]
        )
        assert centre.max() <= 2
