"""How long does the report of a large sweep take, and how large is the page?

    python benchmarks/report_page.py

A stored sweep of 500 trials is made, all complete with 5 folds and the files that training leaves:
out-of-fold predictions, curves, results, configurations. Its images are small photos in 18 classes,
decoded into the cache as `sweeps run` does. `sweeps report` is started anew in turn:

    first         nothing is chosen yet, so the report makes the choice, as `sweeps best` would
    again         the choice is found beside the sweep; wanted: at most 6 s and 2 MB
    from files    the same with an empty cache: the pictures of errors are decoded

Seconds are those of all threads of the command's process on the CPU, the imports included. The
statistics are the fold-adjusted scores, differences, importance and the intervals of classes.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from photos import write_gratings
from report import mean_std, print_header

SWEEPS = Path(sys.executable).with_name("sweeps")
SPACE = """\
name: large
description: Which network, optimizer and learning rate tell 18 gratings apart?
method: random
metric: {{name: valid/f1, goal: maximize}}
run_cap: 500
data: {{source: {photos}}}
parameters:
  backbone: {{values: [resnet18, resnet50, efficientnet_b2, efficientnet_b4]}}
  resize: {{value: 64}}
  epochs: {{value: 10}}
  optimizer: {{values: [adam, adamw, sgd]}}
  lr: {{distribution: log_uniform_values, min: 1e-5, max: 1e-1}}
  weight_decay: {{distribution: log_uniform_values, min: 1e-4, max: 1e-1}}
  momentum: {{min: 0.8, max: 0.99, when: {{optimizer: sgd}}}}
  loss: {{values: [cross_entropy, focal]}}
  dropout: {{min: 0.0, max: 0.5}}
"""
CLASSES = 18
EPOCHS = 10
PICTURE = re.compile(rb"data:image/jpeg;base64,[A-Za-z0-9+/=]*")


def main() -> None:
    """Make the sweep, measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--images", type=int, default=18_900)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="make the sweep here, or find it here")
    options = parser.parse_args()
    print_header("numpy", "optuna", "jinja2", "scikit-learn")
    with tempfile.TemporaryDirectory() as name:
        folder = options.keep or Path(name)
        if not (folder / "runs").is_dir():
            make_sweep(folder, trials=options.trials, images=options.images)
        print(
            f"{options.trials:,} trials of 5 folds, {options.images:,} images, {CLASSES} classes\n"
        )
        page = folder / "runs/large/report.html"
        print(f"{'':14}{'CPU seconds':24}{'MB':>8}{'without pictures':>20}{'pictures':>10}")
        for what, cache in (("first", "cache"), ("again", "cache"), ("from files", "empty")):
            seconds = []
            for _ in range(options.repeats):
                if what == "first":
                    for choice in (folder / "runs/large/choices").glob("*"):
                        choice.unlink()
                seconds.append(measured(folder, cache=folder / cache))
            text = page.read_bytes()
            bare, pictures = PICTURE.subn(b"", text)
            print(
                f"{what:14}{mean_std(seconds, digits=2):24}{len(text) / 1e6:8.2f}"
                f"{len(bare) / 1e6:20.2f}{pictures:10}"
            )


def measured(folder: Path, *, cache: Path) -> float:
    """Run `sweeps report`; the seconds of its process on the CPU."""
    process = subprocess.Popen(
        [SWEEPS, "report"],
        cwd=folder,
        env={**os.environ, "SWEEPS_CACHE": str(cache)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"sweeps report ended with {os.waitstatus_to_exitcode(status)}")
    return usage.ru_utime + usage.ru_stime


def make_sweep(folder: Path, *, trials: int, images: int) -> None:
    """Write photos, decode them, and store a sweep whose trials were never trained."""
    from optuna.trial import TrialState, create_trial

    from sweeps.paths import SweepFiles
    from sweeps.preparing.data import cut_sweep
    from sweeps.preparing.opening import open_sweep
    from sweeps.search.distributions import distributions
    from sweeps.space.spec_reader import read_spec
    from sweeps.study.records import FOLD_SCORES
    from sweeps.study.storage import open_storage
    from trainer.images.cache import open_images

    os.environ["SWEEPS_CACHE"] = str(folder / "cache")
    photos = write_gratings(folder / "photos", count=images, height=64, width=64, kinds=CLASSES)
    (folder / "large.yaml").write_text(SPACE.format(photos=photos))
    spec = read_spec(folder / "large.yaml")
    files = SweepFiles(folder / "runs" / "large")
    cut = cut_sweep(spec, files)
    open_images(cut.folds.manifest, spec.choices()[0], threads=1)
    files.directory.mkdir(parents=True)
    url = f"sqlite:///{folder}/runs/sweeps.db"
    storage = open_storage(url)
    sweep = open_sweep(storage, spec, cut, files=files, storage_url=url)
    rng = np.random.default_rng(0)
    common_NK = 1.6 * rng.normal(size=(images, CLASSES)).astype(np.float32)
    ease_K = rng.normal(0, 0.01, cut.folds.k)
    for number in range(trials):
        values = drawn(rng)
        scores = quality(values) + ease_K + rng.normal(0, 0.006, cut.folds.k)
        constants = {name: spec.space.values_of(name)[0] for name in ("resize", "epochs")}
        write_trial(
            files.trial(number).directory, cut.folds, common_NK, rng, config=values | constants
        )
        sweep.add(
            create_trial(
                state=TrialState.COMPLETE,
                value=float(scores.mean()),
                params=values,
                distributions=distributions(spec.space, values),
                user_attrs={FOLD_SCORES: scores.tolist()},
            )
        )


def drawn(rng: np.random.Generator) -> dict[str, Any]:
    """Random values of the parameters."""
    values: dict[str, Any] = {
        "backbone": str(rng.choice(["resnet18", "resnet50", "efficientnet_b2", "efficientnet_b4"])),
        "optimizer": str(rng.choice(["adam", "adamw", "sgd"])),
        "lr": float(10 ** rng.uniform(-5, -1)),
        "weight_decay": float(10 ** rng.uniform(-4, -1)),
        "loss": str(rng.choice(["cross_entropy", "focal"])),
        "dropout": float(rng.uniform(0, 0.5)),
    }
    return values | ({"momentum": float(rng.uniform(0.8, 0.99))} if _is_sgd(values) else {})


def _is_sgd(values: Mapping[str, Any]) -> bool:
    return bool(values["optimizer"] == "sgd")


def quality(values: Mapping[str, Any]) -> float:
    """The expected score: best learning rates depend on the weight decay."""
    best = -3 - 0.5 * (np.log10(values["weight_decay"]) + 2.5)
    score = 0.9 - 0.02 * (np.log10(values["lr"]) - best) ** 2
    return float(score + 0.02 * (values["backbone"] == "efficientnet_b4") - 0.01 * _is_sgd(values))


def write_trial(
    directory: Path, folds: Any, common_NK: Any, rng: np.random.Generator, *, config: Any
) -> None:
    """Write what the fold runs of a complete trial leave, without weights."""
    from trainer.config import TrainConfig
    from trainer.files import write_csv, write_json
    from trainer.prediction.calibration import softmax
    from trainer.training.oof import OOF, write_oof
    from trainer.training.result import CURVE, FoldResult, details, write_result

    write_json(directory / "config.json", TrainConfig(**config).settled().model_dump(mode="json"))
    labels_N = folds.manifest.labels_N
    logits_NK = common_NK + 0.8 * rng.normal(size=common_NK.shape).astype(np.float32)
    logits_NK[np.arange(len(labels_N)), labels_N] += 3 + 0.3 * rng.normal()
    probs_NK = softmax((rng.uniform(0.7, 2) * logits_NK).astype(np.float32))
    for fold in range(folds.k):
        rows = folds.valid_rows(fold)
        there = directory / f"fold-{fold}"
        write_oof(there / OOF, rows, probs_NK[rows], folds_hash=folds.hash)
        names = ["epoch", "f1", "accuracy", "loss", "train_loss", "lr", "seconds"]
        curve = [
            [epoch, *rng.uniform(1 - 1 / (epoch + 1), 1, len(names) - 1)]
            for epoch in range(1, EPOCHS + 1)
        ]
        write_csv(there / CURVE, names, curve)
        result = FoldResult(
            fold=fold,
            epochs=EPOCHS,
            scored_epoch=EPOCHS,
            biased=False,
            metrics={"f1": float(rng.uniform(0.8, 0.9))},
            mean=[0.5] * 3,
            std=[0.2] * 3,
            accumulation=1,
            notes=[],
            config_hash="",
            folds_hash=folds.hash,
            seconds=float(rng.uniform(50, 90)),
            device="cuda",
            threads=1,
            **details(probs_NK[rows], labels_N[rows]),
        )
        write_result(there, result)


if __name__ == "__main__":
    main()
