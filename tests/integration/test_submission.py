"""From two sweeps over the same folds to one submission in the mask competition's format."""

import csv
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from sweeps.samples.faces import write_faces
from tests.integration.conftest import called
from trainer.data.fold_files import load_folds

SPACE = """\
name: {name}
method: grid
metric: {{name: valid/f1, goal: maximize}}
seed: 7
data:
  source: faces.csv
  image: path
  label: [mask, gender, age]
  group: person
  box: [left, top, right, bottom]
folds: {{k: 2, seed: 1, race: false}}
resources: {{gpu: 0, cpu: 1}}
parameters:
  backbone: {{value: test_resnet}}
  weights: {{value: none}}
  resize: {{value: 32}}
  epochs: {{value: 2}}
  batch_size: {{value: 16}}
  optimizer: {{value: adamw}}
  scheduler: {{value: none}}
  loss: {{value: cross_entropy}}
  heads: {{value: {heads}}}
  tta: {{value: flip}}
  lr: {{values: [0.003, 0.01]}}
"""
CROPS = "  crop: {value: none}\n  head_crops.mask: {value: box}\n"
HEADER = ("path", "mask", "gender", "age", "person", "left", "top", "right", "bottom")
SIZE_HW = (64, 48)


def write_table(folder: Path, name: str, *, persons: int, seed: int) -> list[dict[str, str]]:
    """Photos of drawn persons, and a CSV with labels, persons and boxes of the faces."""
    images = write_faces(folder / name, persons=persons, size_HW=SIZE_HW, seed=seed)
    rows = []
    for path in sorted(images.rglob("*.jpg")):
        _, gender, _, years = path.parent.name.split("_")
        mask = {"m": "wear", "i": "incorrect", "n": "not"}[path.stem[0]]
        age = "young" if int(years) < 30 else "middle" if int(years) < 60 else "old"
        place = (str(path.relative_to(folder)), mask, gender, age, path.parent.name)
        rows.append(dict(zip(HEADER, (*place, "6", "8", "42", "56"), strict=True)))
    with (folder / f"{name}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, HEADER)
        writer.writeheader()
        writer.writerows(rows)
    return rows


def sweeps(*arguments: object, cwd: Path) -> str:
    done = called(*arguments, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two finished sweeps: joint classes, and one head per column with a crop of its own."""
    folder = tmp_path_factory.mktemp("masks")
    write_table(folder, "faces", persons=36, seed=0)
    for name, heads, more in (("joint", "joint", ""), ("heads", "separate", CROPS)):
        (folder / f"{name}.yaml").write_text(SPACE.format(name=name, heads=heads) + more)
        sweeps("run", f"{name}.yaml", "--local", "--plain", cwd=folder)
    return folder


def read(path: Path) -> Sequence[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_an_ensemble_of_two_sweeps_answers_in_the_form_of_a_template(folder: Path):
    new = write_table(folder, "new", persons=6, seed=1)
    names = [f"{number:03d}.jpg" for number in range(len(new))]
    (folder / "eval").mkdir()
    for name, row in zip(names, new, strict=True):
        shutil.copyfile(folder / row["path"], folder / "eval" / name)
    order = names[::2] + names[1::2]
    (folder / "info.csv").write_text("ImageID,ans\n" + "".join(f"{n},0\n" for n in order))
    with (folder / "eval" / "images.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "person", "left", "top", "right", "bottom"))
        for name, row in zip(names, new, strict=True):
            writer.writerow((name, *(row[key] for key in HEADER[4:])))

    best = json.loads(sweeps("best", "heads", "--from", "joint", "--json", cwd=folder))
    members = best["ensemble"]["members"]
    assert {member["sweep"] for member in members} <= {"heads", "joint"}
    assert sum(member["weight"] for member in members) == pytest.approx(1)
    assert best["choice"]["groups"] == 36

    told = called(
        *("predict", "heads", "--from", "joint", "--source", "eval/images.csv"),
        *("--template", "info.csv", "--codes", "index", "--group", "person", "--out", "sub.csv"),
        cwd=folder,
    )
    assert told.returncode == 0, told.stderr
    assert "note: --group: gender, age averaged over each group" in told.stderr
    answers = read(folder / "sub.csv")
    assert [row["ImageID"] for row in answers] == order
    assert (folder / "sub.csv").read_text().startswith("ImageID,ans\n")
    labels = json.loads((folder / "runs/heads/labels.json").read_text())
    assert {row["ans"] for row in answers} <= set(labels["classes"])
    made = json.loads((folder / "sub.json").read_text())
    assert made["group"]["columns"] == ["gender", "age"]
    shipped = {member["name"] for member in made["mixture"]["members"]}
    if best["ensemble"]["ships"]:
        assert shipped == {member["name"] for member in members}
    else:
        assert shipped == {f"{best['choice']['sweep']}/trial-{best['choice']['trial']:04d}"}


def test_an_image_held_out_is_predicted_as_its_out_of_fold_prediction_says(folder: Path):
    """Crops per head, boxes, normalisation and test-time augmentation are those of training."""
    import numpy as np

    folds = load_folds(folder / "runs/heads/folds.npz")
    rows = folds.valid_rows(0)
    lines = (folder / "faces.csv").read_text().splitlines()
    by_path = {line.split(",")[0]: line for line in lines[1:]}
    some = [by_path[folds.manifest.paths[row]] for row in rows[:10].tolist()]
    (folder / "some.csv").write_text("\n".join([lines[0], *some]) + "\n")
    shutil.copytree(folder / "runs", folder / "one-model" / "runs", dirs_exist_ok=True)
    (folder / "one-model/runs/heads/trial-0001/fold-1/model.safetensors").unlink()
    sweeps(
        *("predict", "heads", "--trial", 1, "--source", "some.csv", "--out", "some-out.csv"),
        *("--runs", "one-model/runs", "--probabilities"),
        cwd=folder,
    )
    with np.load(folder / "runs/heads/trial-0001/fold-0/oof.npz") as file:
        assert (file["rows"] == rows).all()
        plain_NK = file["probs"][:10]
    from trainer.prediction.mixture import Mixture

    made = json.loads((folder / "some-out.json").read_text())
    mixture = Mixture.from_json(made["mixture"])
    expected_NK = mixture.of({mixture.members[0].name: [plain_NK]})
    with np.load(folder / "some-out.probs.npz") as file:
        assert file["probs"] == pytest.approx(expected_NK, abs=1e-5)
