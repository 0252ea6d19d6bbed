"""How long does `sweeps check --train` take, and how long does the sweep take that it predicts?

    python benchmarks/check_train.py

The digits of the demo, with the search space as `sweeps demo digits` writes it: first the check,
then the whole sweep, in turn, each time with another seed and another folder of results. Images are
decoded once, before. The error is that of the predicted time with the fold race. Two parts of it
are shown: how many fold runs the sweep really trained, because the race's share is simulated, and
how long they took. The machine must be idle.
"""

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from report import mean_std, print_header

ASKED_S, ASKED_ERROR = 60, 0.25
K = 5  # folds of that search space
SPACE = "search_spaces/digits.yaml"


@dataclasses.dataclass(frozen=True)
class Pair:
    """A check and its sweep, in seconds.

    Attributes:
        fold_run_s: seconds of a fold run in the mean: predicted beside another one, and real.
        trained: fold runs that the sweep trained, those that finish pruned trials included.
        expected: fold runs that the check expected with the race.
        finished: pruned trials that were finished.
    """

    check_s: float
    predicted_s: float
    without_race_s: float
    sweep_s: float
    fold_run_s: tuple[float, float]
    trained: int
    expected: float
    finished: int

    @property
    def error(self) -> float:
        """The predicted time against the real one: -0.1 is a tenth too short."""
        return self.predicted_s / self.sweep_s - 1


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--trials", type=int, default=14, help="run_cap; the demo's is 14")
    options = parser.parse_args()
    print_header("torch", "timm", "ray")
    pairs = []
    with tempfile.TemporaryDirectory() as name:
        os.environ["SWEEPS_CACHE"] = f"{name}/cache"
        sweeps("demo", "digits", folder=Path(name))
        sweeps("prepare", SPACE, "--runs", "prepared", folder=Path(name))
        for seed in range(options.repeats):
            pairs.append(measured(Path(name), seed=seed, trials=options.trials))
            print(line(pairs[-1]), flush=True)
    errors = [abs(pair.error) for pair in pairs]
    print(f"check      {mean_std([p.check_s for p in pairs], digits=1)} s (asked: {ASKED_S})")
    print(
        f"error      {mean_std(errors, digits=2)}, at most {max(errors):.2f} (asked: {ASKED_ERROR})"
    )


def measured(folder: Path, *, seed: int, trials: int) -> Pair:
    """One check, then its sweep."""
    settings = [f"--set=seed={seed}", f"--set=run_cap={trials}", "--runs", f"runs-{seed}"]
    started = time.perf_counter()
    told = json.loads(sweeps("check", SPACE, "--train", "--json", *settings, folder=folder))
    checked = time.perf_counter()
    sweeps("run", SPACE, *settings, folder=folder)
    ended = time.perf_counter()
    cost = told["train"]["cost"]
    results = [
        json.loads(path.read_text())
        for path in folder.glob(f"runs-{seed}/digits/trial-*/fold-*/result.json")
    ]
    trial_s = cost["trial_s"]
    whole_s = trial_s["mean"] * cost["slowdown"]
    return Pair(
        check_s=checked - started,
        predicted_s=cost["sweep_s"]["with_race"],
        without_race_s=cost["sweep_s"]["without_race"],
        sweep_s=ended - checked,
        fold_run_s=(whole_s / K, statistics.fmean(result["seconds"] for result in results)),
        trained=len(results),
        expected=K * cost["trials"] * trial_s["raced"] / whole_s,
        finished=len(list(folder.glob(f"runs-{seed}/digits/trial-*"))) - cost["trials"],
    )


def line(pair: Pair) -> str:
    """What one pair gave."""
    predicted, real = pair.fold_run_s
    return (
        f"check {pair.check_s:.1f} s; sweep predicted {pair.predicted_s:.0f} s "
        f"({pair.without_race_s:.0f} s without the race), took {pair.sweep_s:.0f} s: "
        f"{pair.error:+.0%}; fold runs predicted {pair.expected:.0f} of {predicted:.1f} s, "
        f"trained {pair.trained} of {real:.1f} s, {pair.finished} trials finished"
    )


def sweeps(*arguments: str, folder: Path) -> str:
    """Run the command; its standard output."""
    command = [sys.executable, "-c", "from sweeps.cli import main; main()", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"sweeps {' '.join(arguments)}: {done.stderr[-3_000:]}")
    return done.stdout


if __name__ == "__main__":
    main()
