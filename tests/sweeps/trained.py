"""A sweep that was trained for real, once for all tests: three trials on photos of persons."""

from pathlib import Path

import numpy as np
from PIL import Image

from sweeps.space.spec_reader import read_spec
from sweeps.sweep import RunOptions, run_sweep

TONES = ("dark", "light")  # constant for a person
TIMES = ("day", "night")
PERSONS = 16
SPACE = """\
name: people
method: grid
metric: {name: valid/f1, goal: maximize}
seed: 3
data: {source: photos/train.csv, image: file, label: [tone, time], group: person}
folds: {k: 2, race: false}
resources: {gpu: 0}
parameters:
  backbone: {value: test_resnet}
  weights: {value: none}
  resize: {value: 16}
  batch_size: {value: 8}
  epochs: {value: 3}
  optimizer: {value: adamw}
  scheduler: {value: none}
  loss: {value: cross_entropy}
  heads: {values: [joint, separate]}
  lr: {values: [0.01, 0.0003]}
"""


def write_people(folder: Path, *, persons: int = PERSONS, seed: int = 0) -> None:
    """Photos of persons, four each, in a folder per person, and their CSV."""
    rng = np.random.default_rng(seed)
    lines = ["file,tone,time,person"]
    for person in range(persons):
        tone = person % 2
        (folder / f"p{person:02d}").mkdir(parents=True)
        for photo in range(4):
            time = photo % 2
            pixels_HWC = rng.normal(80 + 80 * tone, 50, (20, 20, 3))
            pixels_HWC[..., 0 if time else 2] += 70
            name = f"p{person:02d}/{person:02d}-{photo}.png"
            Image.fromarray(np.clip(pixels_HWC, 0, 255).astype(np.uint8)).save(folder / name)
            lines.append(f"{name},{TONES[tone]},{TIMES[time]},p{person:02d}")
    (folder / "train.csv").write_text("\n".join(lines) + "\n")


def train_sweep(folder: Path) -> None:
    """Write photos and search space into a folder, and run the sweep there."""
    write_people(folder / "photos")
    (folder / "people.yaml").write_text(SPACE.replace("photos/", f"{folder}/photos/"))
    run_sweep(read_spec(folder / "people.yaml"), RunOptions(runs=folder / "runs", address=None))
