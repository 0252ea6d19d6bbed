"""Near-duplicates: grouped, or one of each cluster kept."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from tests.trainer.data.data_sets import BOX, BOXED, HOW, N, expected, pixels, read
from trainer.data.data_set import ReadOptions, read_data_set
from trainer.data.options import DataOptions

pytestmark = pytest.mark.usefixtures("work")


@pytest.fixture
def shots(tmp_path, work) -> Path:
    """Three scenes, of which three, two and one shots were taken,
    in the order s0 s1 s0 s1 s0 s2; s0's last is a b.
    """
    folder = tmp_path / "shots"
    folder.mkdir()
    rng = np.random.default_rng(3)
    scenes = [
        Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize(
            (96, 96), Image.Resampling.BICUBIC
        )
        for _ in range(3)
    ]
    lines = ["path,label\n"]
    for number, (scene, label) in enumerate(zip((0, 1, 0, 1, 0, 2), "aaaabb", strict=True)):
        shot = scenes[scene].filter(ImageFilter.GaussianBlur(0.4 * number / 5))
        shot.save(folder / f"{number}.jpg", quality=95 - 5 * number)
        lines.append(f"{number}.jpg,{label}\n")
    (folder / "train.csv").write_text("".join(lines))
    return folder / "train.csv"


def test_near_duplicates_are_grouped_and_named_by_their_first_image(shots):
    manifest = read(shots, group="near_duplicates").manifest
    assert manifest.groups == ("0.jpg", "1.jpg", "0.jpg", "1.jpg", "0.jpg", "5.jpg")


def test_clusters_are_looked_for_only_if_somebody_wants_them(shots, work):
    assert read(shots, HOW).clusters_N is None
    assert not work.fingerprints
    found = read_data_set(
        DataOptions(source=str(shots)), read=ReadOptions(choices=(HOW,), fingerprints=True)
    )
    assert found.clusters_N.tolist() == [0, 1, 0, 1, 0, 5]
    assert found.manifest.groups is None


def test_one_image_per_cluster_and_class_is_kept_and_the_others_are_listed(shots):
    found = read(shots, HOW, keep="one_per_cluster")
    assert found.manifest.paths == ("0.jpg", "1.jpg", "4.jpg", "5.jpg")
    assert found.manifest.lines == (2, 3, 6, 7)
    assert [found.manifest.classes[label] for label in found.manifest.labels_N] == [
        "a",
        "a",
        "b",
        "b",
    ]
    assert [(entry.line, entry.path, entry.reason, entry.detail) for entry in found.rejected] == [
        (4, "2.jpg", "near duplicate", "line 2: 0.jpg stands for it"),
        (5, "3.jpg", "near duplicate", "line 3: 1.jpg stands for it"),
    ]
    assert found.rows == 6
    assert len(found.sizes_N2) == len(found.clusters_N) == 4
    np.testing.assert_array_equal(pixels(found.manifest, HOW), expected(found.manifest, HOW))


def test_only_the_kept_images_are_planned_for_and_decoded(shots, work):
    """Two million frames of which one in twenty is kept must not be decoded all,
    nor be said not to fit.
    """
    room_gb = 4 * HOW.size_HW[0] * HOW.size_HW[1] * 3 / 1e9
    found = read(shots, HOW, keep="one_per_cluster", cache_gb=room_gb)
    assert found.plan.kept == (HOW,)
    assert sum(work.decodes.values()) == found.to_decode == 4
    assert read(shots, keep="one_per_cluster").to_decode == 4  # as `sweeps check` asks


def test_only_kept_images_count_as_repaired(shots):
    for number in range(5):
        with Image.open(shots.parent / f"{number}.jpg") as image:
            grey = image.convert("L")
        grey.save(shots.parent / f"{number}.jpg")
    assert read(shots).repairs == {"greyscale turned to RGB": 5}
    found = read(shots, keep="one_per_cluster")
    assert found.repairs == {"greyscale turned to RGB": len(found.manifest) - 1}


def test_all_boxes_of_a_photo_that_is_kept_are_kept(shots):
    rows = "0.jpg,a,0,0,40,40\n0.jpg,a,40,40,90,90\n2.jpg,a,0,0,40,40\n5.jpg,b,0,0,9,9\n"
    shots.write_text("path,label,l,t,r,b\n" + rows)
    found = read(shots, keep="one_per_cluster", box=["l", "t", "r", "b"])
    assert [found.manifest.paths.count(name) for name in ("0.jpg", "2.jpg", "5.jpg")] in (
        [2, 0, 1],
        [0, 1, 1],
    )


def test_copies_are_one_cluster_however_small(photos, tmp_path):
    source = photos(N, folder=tmp_path / "tiny", side=32)
    shutil.copy(source.parent / "0.png", source.parent / "3.png")
    groups = read(source, group="near_duplicates").manifest.groups
    assert groups[3] == "0.png"
    assert len(set(groups)) == N - 1


def test_of_a_video_the_middle_frame_is_kept(shots):
    shots.write_text("path,label\n0.jpg,a\n2.jpg,a\n4.jpg,a\n5.jpg,b\n")
    assert read(shots, keep="one_per_cluster").manifest.paths == ("2.jpg", "5.jpg")


def test_kept_images_keep_their_boxes_groups_and_fixed_folds(shots):
    rows = [
        (0, 0, 4, "p0", ""),
        (1, 1, 5, "p1", "0"),
        (2, 2, 6, "p0", "1"),
        (3, 3, 7, "", "0"),
        (5, 5, 9, "", "1"),
    ]
    lines = [
        f"{n}.jpg,{'ab'[n % 2]},{x},{x},{end},{end},{who},{fold}\n" for n, x, end, who, fold in rows
    ]
    shots.write_text("path,label,left,top,right,bottom,person,fold\n" + "".join(lines))
    data = DataOptions(source=str(shots), box=BOX, group="person", keep="one_per_cluster")
    found = read_data_set(data, fold_column="fold", read=ReadOptions(choices=(BOXED,)))
    assert found.manifest.paths == ("0.jpg", "1.jpg", "5.jpg")
    assert found.manifest.boxes_N4[:, 0].tolist() == [0, 1, 5]
    assert found.manifest.groups == ("p0", "p1", "image 5.jpg")
    assert found.fixed_N.tolist() == [-1, 0, 1]
    np.testing.assert_array_equal(pixels(found.manifest, BOXED), expected(found.manifest, BOXED))
