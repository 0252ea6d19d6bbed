"""How many of the labels that `sweeps suspects` shows first are wrong?

    python benchmarks/suspects.py

Drawn faces: 500 persons with seven photos each, 18 classes of mask, gender and age. In 2 % of the
photos the label is made wrong: half of them have another mask, a quarter another gender in all
photos of a person, a quarter any other class. A small sweep of tiny networks, made from scratch, is
trained on these labels with grouped folds. The benchmark prints the share of wrong labels among the
first 25 and 50 and among as many as are wrong, and the average precision:

suspects    what the command shows
no groups   the same without knowing which photos belong to one person
trials      only the suspects that the trials found (the first are found by comparing photos)
mean        ranked by the probability of the whole class, mean of the same calibrated trials
best        the same of the best trial alone, as it is
"""

import argparse
import csv
import tempfile
import time
from pathlib import Path

import numpy as np
from report import print_header

from sweeps import RunOptions, SweepView, find_sweep, open_storage, read_spec, run_sweep
from sweeps.results.candidates import find_candidates
from sweeps.results.metric import Metric
from sweeps.results.suspects import believed, find_suspects
from sweeps.samples.faces import write_faces
from trainer.data.data_set import read_data_set
from trainer.data.options import DataOptions
from trainer.images.manifest import Manifest
from trainer.metrics import Goal
from trainer.prediction.classes import Classes
from trainer.seeds import derive

WRONG = 0.02
SPACE = """\
name: faces
method: grid
metric: {{name: valid/f1, goal: maximize}}
seed: {seed}
data: {{source: labels.csv, label: [mask, gender, age], group: person}}
folds: {{k: 3, race: false}}
resources: {{gpu: 0, cpu: 1}}
parameters:
  backbone: {{value: test_resnet}}
  weights: {{value: none}}
  resize: {{value: 64}}
  heads: {{values: [joint, separate]}}
  batch_size: {{value: 32}}
  epochs: {{value: {epochs}}}
  optimizer: {{value: adamw}}
  lr: {{value: 0.004}}
  scheduler: {{value: cosine}}
  loss: {{value: cross_entropy}}
  flip: {{value: 0.5}}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--persons", type=int, default=500)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print_header("torch", "timm", "numpy")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = write_faces(folder / "faces", persons=options.persons, size_HW=(96, 72))
        data = DataOptions(source=str(images), layout="profile_folders")
        wrong = write_labels(read_data_set(data).manifest, folder / "labels.csv", options.seed)
        start = time.perf_counter()
        evaluate(sweep(folder, options), folder, wrong)
        print(f"training and ranking took {time.perf_counter() - start:.0f} s")


def write_labels(manifest: Manifest, path: Path, seed: int) -> set[str]:
    """Write the labels, some of them wrong; returns the paths of the images with wrong ones."""
    rng = np.random.default_rng(derive(seed, "benchmark", "suspects"))
    classes = Classes.of(manifest)
    mask, gender, _ = classes.label_columns
    of = {parts: number for number, parts in enumerate(classes.parts)}
    given_N = manifest.labels_N.copy()
    images = len(given_N)
    count = round(WRONG * images)

    def other(row: int, column: int, values: tuple[str, ...]) -> int:
        parts = list(classes.parts[given_N[row]])
        parts[column] = str(rng.choice([value for value in values if value != parts[column]]))
        return of[tuple(parts)]

    for row in rng.choice(images, size=count // 2, replace=False):
        given_N[row] = other(row, 0, mask.values)
    groups = np.array(manifest.groups)
    persons = rng.choice(sorted(set(groups)), size=max(1, round(count / 4 / 7)), replace=False)
    for row in np.flatnonzero(np.isin(groups, persons)):
        given_N[row] = other(row, 1, gender.values)
    for row in rng.choice(images, size=count // 4, replace=False):
        given_N[row] = (given_N[row] + rng.integers(1, len(classes))) % len(classes)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", *manifest.label_columns, "person"])
        for row, label in enumerate(given_N):
            image = manifest.file(row).relative_to(path.parent.resolve())
            writer.writerow([image, *classes.parts[label], groups[row]])
    return {
        str(manifest.file(row).relative_to(path.parent.resolve()))
        for row in np.flatnonzero(given_N != manifest.labels_N)
    }


def sweep(folder: Path, options: argparse.Namespace) -> SweepView:
    """Run the sweep on the written labels."""
    text = SPACE.format(seed=options.seed, epochs=options.epochs)
    space = folder / "faces.yaml"
    space.write_text(text.replace("labels.csv", str(folder / "labels.csv")))
    runs = folder / "runs"
    run_sweep(read_spec(space), RunOptions(runs=runs, address=None))
    storage = open_storage(f"sqlite:///{runs}/sweeps.db", must_exist=True)
    return SweepView.read(find_sweep(storage, "faces"))


def evaluate(view: SweepView, folder: Path, wrong: set[str]) -> None:
    found = find_candidates([view], runs=folder / "runs")
    library, manifest = found.library, found.folds.manifest
    classes = Classes.of(manifest)
    wrong_N = np.array([manifest.paths[row] in wrong for row in found.rows])
    labels_N = library.labels_N
    own = np.arange(len(labels_N))
    f1 = Metric.named("f1", Goal.MAXIMIZE)
    probs_NK = believed(library, metric=f1)
    groups = find_suspects(probs_NK, labels_N, classes, library.groups_N)
    best = max(library.by_argmax, key=lambda predicted: f1.score(predicted, labels_N))
    ranked = {
        "suspects": [suspect.row for suspect in groups],
        "no groups": [s.row for s in find_suspects(probs_NK, labels_N, classes, None)],
        "trials": [suspect.row for suspect in groups if suspect.others is None],
        "mean": np.argsort(probs_NK[own, labels_N], kind="stable").tolist(),
        "best": np.argsort(best.probs_NK[own, labels_N], kind="stable").tolist(),
    }
    count = int(wrong_N.sum())
    print(
        f"{len(labels_N):,} images, {count} wrong labels, {len(library)} trials, "
        f"macro-F1 of the best {f1.score(best, labels_N):.3f} (on these labels)"
    )
    print(f"{sum(s.others is not None for s in groups)} images differ from their group")
    print(f"{'':10}  first 25  first 50  first {count}  average precision")
    for name, rows in ranked.items():
        hits = wrong_N[list(dict.fromkeys(rows))]
        precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
        average = precision[hits].sum() / count
        shares = "".join(f"{hits[:most].mean():10.2f}" for most in (25, 50, count))
        print(f"{name:10}{shares}{average:19.2f}")


if __name__ == "__main__":
    main()
