"""Does W&B get every step of a sweep exactly once, whatever dies?

    python benchmarks/chaos_tracking.py [--trials 12] [--trackers 3] [--workers 2] [--epochs 40]
        [--seed 0]

The sweep of `chaos` runs with W&B as its tracker: real fold runs on a worker of Ray, W&B's real
client, and a stand-in of its server in a process of its own. Meanwhile the tracker process and the
worker are killed with SIGKILL in turn, at random moments: a tracker after it has shown something
new, a worker in the middle of a trial. At the end the stand-in must have one sweep and a run for
each trial, and every run its steps exactly once and in order, the values of the storage, and in its
summary how the trial ended, with a score if it completed. The exit code is 1 if anything differs.

A tracker process is started again at most once a minute, so the sweep must take three minutes:
`--epochs` is per fold run.
"""

import argparse
import contextlib
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from chaos import Sweep, named, wait_for_trial, write_space
from report import print_header

PATIENCE_S = 300.0  # until a tracker has shown something; it starts at most once a minute
# the stand-in of W&B's server; it answers each line that it reads with what it has
SERVER = """\
import json, sys
from tests.fakes.wandb_server import wandb_server

with wandb_server() as server:
    print(server.url, flush=True)
    for line in sys.stdin:
        with server.lock:
            runs = {
                run.name: {"sweep": run.sweep, "rows": run.history, "summary": run.summary}
                for run in server.runs.values()
            }
            shown = {"sweeps": list(server.sweeps), "runs": runs, "unknown": server.unknown}
        print(json.dumps(shown), flush=True)
"""


def main() -> int:
    """Run the sweep, kill, and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--trackers", type=int, default=3, help="tracker processes to kill")
    parser.add_argument("--workers", type=int, default=2, help="workers to kill")
    parser.add_argument("--epochs", type=int, default=40, help="per fold run")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    # threads of torch that wait for each other sleep: spinning, they take the cores from the others
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    chance = random.Random(options.seed)
    turns = itertools.zip_longest(["tracker"] * options.trackers, ["worker"] * options.workers)
    victims = [victim for turn in turns for victim in turn if victim is not None]
    with tempfile.TemporaryDirectory(prefix="foldsweep-chaos-") as name, StandIn() as server:
        folder = Path(name)
        space = write_space(folder, trials=options.trials, epochs=options.epochs)
        sweep = Sweep(space, folder / "chaos", url=None)
        log = torment(sweep, victims, server=server, chance=chance)
        wrong = list(compare(sweep, server.shown(), trials=options.trials))
    print_header("ray", "optuna", "torch", "wandb")
    print("\n".join(log))
    print("\n".join(wrong) if wrong else "W&B has every step exactly once, and every end")
    return 1 if wrong else 0


class StandIn:
    """The stand-in of W&B's server, where this process is logged in."""

    def __enter__(self) -> "StandIn":
        self._home = tempfile.TemporaryDirectory()
        self._process = subprocess.Popen(
            [sys.executable, "-c", SERVER],
            cwd=Path(__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        url = self._answer()
        # a home without the user's own login
        os.environ.update(HOME=self._home.name, WANDB_BASE_URL=url, WANDB_API_KEY="k" * 40)
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._home.cleanup()

    def shown(self) -> dict[str, Any]:
        """What the server has: its sweeps and its runs by their ids."""
        assert self._process.stdin is not None
        print(file=self._process.stdin, flush=True)
        shown: dict[str, Any] = json.loads(self._answer())
        return shown

    def rows(self) -> int:
        """Number of the rows of all runs."""
        return sum(len(run["rows"]) for run in self.shown()["runs"].values())

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def torment(
    sweep: Sweep, victims: list[str], *, server: StandIn, chance: random.Random
) -> list[str]:
    """Run the sweep, kill one victim after the other, and return a line for each death."""
    log = []
    process = sweep.start("--track", "wandb")
    for victim in victims:
        try:
            log.append(_kill(victim, sweep, process, server=server, delay_s=chance.uniform(0.5, 3)))
        except psutil.NoSuchProcess:
            log.append(f"{victim:8} spared: the sweep was done")
            break
    sweep.wait(process)
    log.append(f"the sweep ended {'without' if complete(sweep) else 'with'} a notice that W&B lags")
    return log


def _kill(
    victim: str,
    sweep: Sweep,
    process: subprocess.Popen[bytes],
    *,
    server: StandIn,
    delay_s: float,
) -> str:
    """Kill a process of the sweep, some time after what it has to do first; returns what died.

    Raises:
        psutil.NoSuchProcess: the sweep has ended.
    """
    if victim == "tracker":
        pid, rows = wait_for_rows(process, server)
        time.sleep(delay_s)
        psutil.Process(pid).kill()
        return f"tracker  killed {delay_s:.1f} s after it had shown {rows} rows"
    wait_for_trial(sweep, process, after=sweep.log.stat().st_size)
    time.sleep(delay_s)
    for child in named(family(process), "ray::"):
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    return f"worker   killed {delay_s:.1f} s after the start of a trial or the end of a fold"


def wait_for_rows(process: subprocess.Popen[bytes], server: StandIn) -> tuple[int, int]:
    """Until a tracker process has shown something new; its id, and the number of its rows."""
    deadline = time.monotonic() + PATIENCE_S
    pid, before = 0, 0
    while time.monotonic() < deadline:
        found = next((each.pid for each in family(process) if is_tracker(each)), 0)
        rows = server.rows()
        if found != pid:
            pid, before = found, rows
        elif pid and rows > before:
            return pid, rows - before
        time.sleep(0.2)
    raise TimeoutError("no tracker process shows anything")


def family(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The processes that a command started, and theirs.

    Raises:
        psutil.NoSuchProcess: the command has ended.
    """
    if process.poll() is not None:
        raise psutil.NoSuchProcess(process.pid)
    return psutil.Process(process.pid).children(recursive=True)


def is_tracker(process: psutil.Process) -> bool:
    """Whether it is the process that shows the sweep."""
    with contextlib.suppress(psutil.Error):
        return "sweeps.tracking" in process.cmdline()
    return False


def complete(sweep: Sweep) -> bool:
    """Whether the command says that W&B has everything: it says nothing."""
    return "may lack some of this sweep" not in sweep.log.read_text()


def compare(sweep: Sweep, shown: dict[str, Any], *, trials: int) -> Iterator[str]:
    """What W&B shows otherwise than the storage has it, in words."""
    table = sweep.table()
    if len(table) != trials:
        yield f"the storage has {len(table)} trials"
    if len(shown["sweeps"]) != 1:
        yield f"sweeps: {shown['sweeps']}"
    if shown["unknown"]:
        yield f"operations that the stand-in does not know: {shown['unknown']}"
    runs = {int(name.rpartition("-")[2]): run for name, run in shown["runs"].items()}
    if runs.keys() != {trial["number"] for trial in table}:
        yield f"runs of the trials {sorted(runs)}"
    for trial in table:
        run = runs.get(trial["number"])
        if run is not None:
            for key, (expected, found) in _of_run(trial, run, sweeps=shown["sweeps"]).items():
                if expected != found:
                    yield f"trial {trial['number']}, {key}: {expected} in the storage, {found}"


def _of_run(
    trial: dict[str, Any], run: dict[str, Any], *, sweeps: list[str]
) -> dict[str, tuple[Any, Any]]:
    """What the storage and W&B say of a trial."""
    rows = [row for row in run["rows"] if "epoch" in row]
    reports = sorted(trial["reports"].items())
    state = {"COMPLETE": "completed", "PRUNED": "pruned", "FAIL": "failed"}[trial["state"]]
    score = trial["values"][0] if state == "completed" else None
    return {
        "sweep": (sweeps, [run["sweep"]]),
        "steps": ([step for step, _ in reports], [row["_step"] for row in rows]),
        "values": ([value for _, value in reports], [row["valid/f1"] for row in rows]),
        "state": (state, run["summary"].get("state")),
        "score": (score, run["summary"].get("valid/f1")),
    }


if __name__ == "__main__":
    sys.exit(main())
