"""How long does a user wait?

    python benchmarks/startup.py

The benchmark times three commands in turn, each several times, with the demo's digits:
`sweeps --help`; `sweeps run` from its start to the first training step, on a fresh sweep with the
cache built; `sweeps best` on the sweep that was just made. The first training step is when the
first fold run ended, less the seconds that its epochs took.
"""

import argparse
import csv
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from report import mean_std, print_header

SWEEPS = Path(sys.executable).with_name("sweeps")
SHORT = ["--plain", "--trials", "2", "--set", "parameters.epochs.value=1", "--set", "folds.k=2"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    seconds: dict[str, list[float]] = {
        "sweeps --help": [],
        "sweeps run, to the first training step": [],
        "sweeps best": [],
    }
    help_s, first_step_s, best_s = seconds.values()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(folder, "demo", "digits")
        run(
            folder, "run", "search_spaces/digits.yaml", "--runs", "warm-up", *SHORT
        )  # decodes the images
        for repeat in range(options.repeats):
            runs = folder / f"runs-{repeat}"
            help_s.append(run(folder, "--help")[1])
            started = time.time()
            run(folder, "run", "search_spaces/digits.yaml", "--runs", runs.name, *SHORT)
            first_step_s.append(first_step(runs) - started)
            best_s.append(run(folder, "best", "--runs", runs.name)[1])
    print_header("ray", "optuna", "torch", "timm")
    for what, measured in seconds.items():
        print(f"{what:40} {mean_std(measured, digits=2)} s")


def run(folder: Path, *arguments: str) -> tuple[str, float]:
    """Run the command; what it printed and the seconds it took."""
    started = time.perf_counter()
    done = subprocess.run(
        [str(SWEEPS), *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout, time.perf_counter() - started


def first_step(runs: Path, *, sweep: str = "digits") -> float:
    """When a sweep's first training step began, in seconds since 1970."""
    begun = []
    for curve in runs.glob(f"{sweep}/trial-*/fold-0/curve.csv"):
        with curve.open() as file:
            begun.append(
                curve.stat().st_mtime - sum(float(row["seconds"]) for row in csv.DictReader(file))
            )
    return min(begun)


if __name__ == "__main__":
    main()
