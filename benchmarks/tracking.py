"""What does a tracker cost a trial, and what does it cost to tell a whole sweep?

    python benchmarks/tracking.py

Trials that train nothing, with 10 reports each, run one after another in this process: (a) without
a tracker, (b) with TensorBoard, (c) with a tracker process that hangs and reads nothing. The ways
run in turn in blocks, each after the process has begun. A trial's time is that from its start to
the next one's; the benchmark prints mean and standard deviation over all trials of all blocks, and
the ratio to (a); and the CPU seconds that the driver's process spends on a trial, which do not
depend on what else the machine does.

Then a stored sweep is told to TensorBoard, and told again: CPU seconds of this process per trial.
"""

import argparse
import contextlib
import functools
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy as sa
from report import mean_std, print_header

from sweeps.paths import SweepFiles
from sweeps.preparing.opening import write_spec
from sweeps.running.events import Event, TrialStarted
from sweeps.running.local import run_local
from sweeps.running.messages import Assignment, Outcome, Share, TrialReport, TrialReporter
from sweeps.running.plan import Plan
from sweeps.running.take_over import open_driver
from sweeps.space.spec_reader import read_spec
from sweeps.study.storage import open_storage
from sweeps.study.stored_sweep import StoredSweep
from sweeps.tracking.choice import make_tracker
from sweeps.tracking.feed import COMMAND, Feed, FeedTimes
from sweeps.tracking.follower import tell_all
from sweeps.tracking.lines import Start
from sweeps.tracking.reading import Records
from sweeps.tracking.recorded import facts_of
from sweeps.tracking.teller import Teller
from trainer.files import write_csv, write_json
from trainer.training.result import CURVE, RESULT

FOLDS = 5
METRICS = ("f1", "accuracy", "loss", "log_loss", "train_loss", "lr", "seconds")
HANGING = (sys.executable, "-c", "import time; time.sleep(3600)")
WAYS: dict[str, tuple[tuple[Any, ...], Sequence[str]]] = {
    "without a tracker": ((), COMMAND),
    "TensorBoard": (("tensorboard",), COMMAND),
    "a process that hangs": (("tensorboard",), HANGING),
}


def main() -> None:
    """Run all ways in turn and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=3)
    parser.add_argument("--trials", type=int, default=20, help="per block")
    parser.add_argument("--told", type=int, default=500, help="trials of the sweep that is told")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    cpu: dict[str, list[float]] = {way: [] for way in WAYS}
    for block in range(options.blocks):
        for way, collected in seconds.items():
            walls, cpu_s = orchestrated(options.trials, way)
            collected += walls
            cpu[way].append(cpu_s)
            print(f"block {block + 1}, {way}: {mean_std(collected)} s", file=sys.stderr)
    print_header("optuna", "tensorboardX")
    print(f"orchestration per trial of 10 reports, {options.trials} trials a block:")
    without = statistics.fmean(seconds["without a tracker"])
    for way, collected in seconds.items():
        ratio = statistics.fmean(collected) / without
        print(f"  {way:22s} {mean_std(collected)} s, ratio {ratio:.2f}")
    print("CPU seconds of the driver's process per trial, over blocks:")
    for way, collected in cpu.items():
        print(f"  {way:22s} {mean_std(collected)} s")
    first, again, rows = told(options.told)
    print(f"a sweep of {options.told} trials x {rows} rows told to TensorBoard, CPU per trial:")
    print(f"  for the first time  {first / options.told:.4f} s (n=1 sweep)")
    print(f"  again               {again / options.told:.4f} s (n=1 sweep)")


def orchestrated(trials: int, way: str) -> tuple[list[float], float]:
    """Seconds from one trial's start to the next, of one block; and CPU seconds per trial."""
    trackers, command = WAYS[way]
    with tempfile.TemporaryDirectory() as folder:
        plan, sweep, url = _sweep(Path(folder), trials, epochs=2)
        starts: list[float] = []

        def listen(event: Event) -> None:
            if isinstance(event, TrialStarted):
                starts.append(time.perf_counter())

        feed = Feed(
            Start(Path(folder), "tracked", url, trackers),
            log=plan.files.tracking_log,
            then=listen,
            times=FeedTimes(end_within=0.1 if command is HANGING else 60.0),
            command=command,
        )
        with feed, open_driver(plan, sweep, listener=feed.notify) as driver:
            # a sweep pays for the start of the process once, while its first trial runs
            while command is COMMAND and trackers and not _shown(plan):
                time.sleep(0.1)
            cpu_s = _cpu(functools.partial(run_local, driver, trial=_trial))
        sweep.storage.engine.dispose()
    return [after - before for before, after in itertools.pairwise(starts)], cpu_s / trials


def _shown(plan: Plan) -> bool:
    """Whether the tracker process has begun to show the sweep."""
    return any(plan.files.directory.glob(".*.lock"))


def told(trials: int) -> tuple[float, float, int]:
    """CPU seconds to tell a stored sweep, the same once more, and the rows of each trial."""
    epochs = 10
    with tempfile.TemporaryDirectory() as folder:
        plan, sweep, _ = _sweep(Path(folder), trials, epochs=epochs)
        sweep.storage.engine.dispose()
        sa.event.listen(  # to store all these reports would take minutes of waiting for the disk
            sweep.storage.engine,
            "connect",
            lambda connection, _: connection.execute("PRAGMA synchronous = OFF"),
        )
        with open_driver(plan, sweep) as driver:
            run_local(driver, trial=_trial)
        facts = facts_of(sweep, plan.files)
        records = Records(sweep, facts)

        def tell() -> None:
            with contextlib.closing(make_tracker("tensorboard", facts)) as tracker:
                tell_all(records, Teller(tracker))

        first, again = _cpu(tell), _cpu(tell)
        sweep.storage.engine.dispose()
    return first, again, FOLDS * epochs


def _cpu(work: Callable[[], None]) -> float:
    before = time.process_time()
    work()
    return time.process_time() - before


def _sweep(runs: Path, trials: int, *, epochs: int) -> tuple[Plan, StoredSweep, str]:
    files = SweepFiles.of(runs, "tracked")
    files.directory.mkdir(parents=True)
    space = runs / "tracked.yaml"
    space.write_text(
        f"metric: {{name: valid/f1, goal: maximize}}\nrun_cap: {trials}\ndata: {{source: none}}\n"
        f"method: random\nfolds: {{k: {FOLDS}, race: false}}\n"
        f"parameters: {{lr: {{min: 0.001, max: 0.1}}, epochs: {{value: {epochs}}}}}\n"
    )
    spec = read_spec(space)
    write_spec(files, spec)
    url = f"sqlite:///{runs}/sweeps.db"
    sweep = StoredSweep.create(open_storage(url), spec, identity="benchmark")
    return Plan(spec, files, Share(), trials), sweep, url


def _trial(assignment: Assignment, reporter: TrialReporter) -> Outcome:
    """A trial that trains nothing, and leaves the files of its fold runs."""
    write_json(assignment.files.config, assignment.values)
    epochs = assignment.values["epochs"]
    for fold in range(FOLDS):
        rows = []
        for epoch in range(1, epochs + 1):
            values = dict.fromkeys(METRICS, 0.5)
            rows.append([epoch, *values.values()])
            reporter.report(
                TrialReport(
                    step=fold * epochs + epoch,
                    value=0.5,
                    fold=fold,
                    epoch=epoch,
                    epochs=epochs,
                    fold_scores=(0.5,) * fold,
                    metrics=tuple(values.items()),
                    time=time.time(),
                )
            )
        directory = assignment.files.fold(fold)
        write_csv(directory / CURVE, ["epoch", *METRICS], rows)
        write_json(directory / RESULT, {"metrics": {"f1": 0.5}, "seconds": 1.0})
    return Outcome("completed", (0.5,) * FOLDS)


if __name__ == "__main__":
    main()
