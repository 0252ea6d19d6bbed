"""How long do the table, the ensemble and the estimates of a large sweep take?

    python benchmarks/choose.py

A stored sweep of 1,000 trials is made: 100 are complete, with out-of-fold predictions of 18,900
images in 18 classes and 2,700 groups; 900 were pruned. Three commands are started anew in turn:
`sweeps best --fast` (the table alone), `sweeps best` (which chooses and estimates), and
`sweeps best` again (which finds its choice beside the sweep). The peak memory is that of the
process.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from report import mean_std, print_header

SWEEPS = Path(sys.executable).with_name("sweeps")
SPACE = """\
name: large
method: random
metric: {name: valid/f1, goal: maximize}
run_cap: 1000
data: {source: images.csv}
parameters:
  lr: {distribution: log_uniform_values, min: 1e-5, max: 1e-1}
  optimizer: {values: [adam, adamw, sgd]}
"""
PERSONS = 2_700
PHOTOS = 7
CLASSES = 18
K = 5


def main() -> None:
    """Make the sweep, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1_000)
    parser.add_argument("--complete", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    print_header("numpy", "scipy", "optuna")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_sweep(folder, trials=options.trials, complete=options.complete)
        images = PERSONS * PHOTOS
        print(
            f"{options.trials:,} trials, {options.complete} complete, {images:,} images, "
            f"{CLASSES} classes\n"
        )
        commands = {
            "sweeps best --fast": ["--fast"],
            "sweeps best": [],
            "sweeps best, from its file": [],
        }
        seconds: dict[str, list[float]] = {what: [] for what in commands}
        memory: dict[str, list[float]] = {what: [] for what in commands}
        for _ in range(options.repeats):
            shutil.rmtree(folder / "runs" / "large" / "choices", ignore_errors=True)
            for what, arguments in commands.items():
                took, peak = measured(folder, *arguments)
                seconds[what].append(took)
                memory[what].append(peak)
        print(f"{'':28} {'seconds':24} peak memory in GB")
        for what in commands:
            print(
                f"{what:28} {mean_std(seconds[what], digits=2):24} "
                f"{mean_std(memory[what], digits=2)}"
            )


def measured(folder: Path, *arguments: str) -> tuple[float, float]:
    """Run `sweeps best`; the seconds it took and its peak memory in GB."""
    command = [str(SWEEPS), "best", *arguments]
    started = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return time.perf_counter() - started, usage.ru_maxrss * 1024 / 1e9


def make_sweep(folder: Path, *, trials: int, complete: int) -> None:
    """Store a sweep whose trials were never trained."""
    from optuna.trial import TrialState, create_trial

    from sweeps.paths import SweepFiles
    from sweeps.search.distributions import distributions
    from sweeps.space.spec_reader import read_spec
    from sweeps.study.records import FOLD_SCORES, REASON
    from sweeps.study.storage import open_storage
    from sweeps.study.stored_sweep import StoredSweep
    from trainer.data.fold_files import save_folds
    from trainer.data.folds import Folds
    from trainer.files import write_json
    from trainer.images.manifest import Manifest

    (folder / "space.yaml").write_text(SPACE)
    spec = read_spec(folder / "space.yaml")
    rng = np.random.default_rng(0)
    groups_N = np.repeat(np.arange(PERSONS), PHOTOS)
    # in the data of masks, two of a person's seven photos are of other classes than the five
    shares_K = rng.dirichlet(np.ones(CLASSES) * 2)
    labels_N = rng.choice(CLASSES, PERSONS, p=shares_K)[groups_N]
    manifest = Manifest(
        folder,
        tuple(f"{number:05d}.jpg" for number in range(len(groups_N))),
        labels_N,
        tuple(f"class {number}" for number in range(CLASSES)),
        (0,) * len(groups_N),
        groups=tuple(f"person {number}" for number in groups_N.tolist()),
    )
    folds = Folds(manifest, groups_N % K, k=K, seed=0)
    files = SweepFiles(folder / "runs" / "large")
    files.directory.mkdir(parents=True)
    save_folds(folds, files.folds_file)
    storage = open_storage(f"sqlite:///{folder}/runs/sweeps.db")
    sweep = StoredSweep.create(storage, spec, identity="a large sweep")
    write_json(files.about, {"uuid": sweep.uuid, "folds_hash": folds.hash})
    common_NK = 1.6 * rng.normal(size=(len(labels_N), CLASSES))
    for number in range(trials):
        done = number % (trials // complete) == 0
        scores = rng.normal(0.7, 0.02, size=K if done else 1).tolist()
        if done:
            predict(files.trial(number).directory, folds, common_NK, rng)
        values = {"lr": 10 ** rng.uniform(-5, -1), "optimizer": "adam"}
        sweep.add(
            create_trial(
                state=TrialState.COMPLETE if done else TrialState.PRUNED,
                value=float(np.mean(scores)),
                params=values,
                distributions=distributions(spec.space, values),
                user_attrs={FOLD_SCORES: scores, REASON: "" if done else "fold race"},
            )
        )


def predict(directory: Path, folds: object, common_NK: object, rng: np.random.Generator) -> None:
    """Write the out-of-fold predictions and the results of one trial."""
    from trainer.prediction.calibration import softmax
    from trainer.training.oof import OOF, write_oof
    from trainer.training.result import FoldResult, write_result

    labels_N = folds.manifest.labels_N
    logits_NK = common_NK + 0.8 * rng.normal(size=common_NK.shape)
    logits_NK[np.arange(len(labels_N)), labels_N] += 3 + 0.3 * rng.normal()
    probs_NK = softmax((rng.uniform(0.7, 2) * logits_NK).astype(np.float32))
    for fold in range(folds.k):
        rows = folds.valid_rows(fold)
        write_oof(directory / f"fold-{fold}" / OOF, rows, probs_NK[rows], folds_hash=folds.hash)
        result = FoldResult(
            fold=fold,
            epochs=1,
            scored_epoch=1,
            biased=False,
            metrics={},
            f1_per_class=[],
            confusion=[],
            mean=[],
            std=[],
            accumulation=1,
            notes=[],
            config_hash="",
            folds_hash=folds.hash,
            seconds=60.0,
            device="cpu",
            threads=1,
        )
        write_result(directory / f"fold-{fold}", result)


if __name__ == "__main__":
    main()
