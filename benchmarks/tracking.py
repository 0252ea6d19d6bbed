"""What does a tracker cost a trial, and what does it cost to tell a whole sweep?

    python benchmarks/tracking.py [--ways none tensorboard] [--blocks 3] [--ends 3] [--told 500]

Trials that train nothing, with 10 reports each, run one after another in this process, in ways
that take turns in blocks: without a tracker; with TensorBoard; with a tracker process that hangs
and reads nothing; and with W&B, whose server is a stand-in in a process of its own. That server is
well, takes 1 s for each answer, never answers, or answers with status 500 or 429.

A block begins with two trials that do not count. Within the second one it waits until the tracker
process has started and is idle: a sweep pays for that once. Then, while a run is open, the server
gets its fault. A trial's time is that from its start to the next one's; the benchmark prints mean
and standard deviation over all trials of all blocks, and the ratio to the trials without a tracker.
It also prints the CPU seconds per trial of the driver's process, and of the tracker process with
its helper while the trials ran: they depend less on what else the machine does.

Then it measures how long a run takes from its last trial to its end, without a tracker and with
W&B's server hanging.

Then a stored sweep is told to TensorBoard, and told again: CPU seconds of this process per trial.
"""

import argparse
import contextlib
import dataclasses
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
import psutil
import sqlalchemy as sa
from report import mean_std, print_header

from sweeps.paths import SweepFiles
from sweeps.preparing.opening import write_spec
from sweeps.running.local import run_local
from sweeps.running.messages import Assignment, Outcome, Share, TrialReport, TrialReporter
from sweeps.running.plan import Plan
from sweeps.running.take_over import open_driver
from sweeps.space.spec_reader import read_spec
from sweeps.space.tracking import TrackerName
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
WARM = 2  # trials of a block that do not count
IDLE_S = 0.05  # CPU of a process in a second, below which it is idle
PATIENCE_S = 120.0  # until it is
# the stand-in of W&B's server; each line that it reads is a fault of all operations
SERVER = """\
import json, sys
from tests.fakes.wandb_server import wandb_server

with wandb_server() as server:
    print(server.url, flush=True)
    for line in sys.stdin:
        server.break_down(**json.loads(line))
        print(flush=True)
"""
BreakDown = Callable[[Mapping[str, Any]], None]


@dataclasses.dataclass(frozen=True)
class Way:
    """How the trials of a block are tracked.

    Attributes:
        shown: the way, as the benchmark prints it.
        fault: what is wrong with W&B's server while the trials count, see the stand-in's `Fault`.
    """

    shown: str
    trackers: tuple[TrackerName, ...] = ()
    command: Sequence[str] = COMMAND
    fault: Mapping[str, Any] = dataclasses.field(default_factory=dict)


HANGING = (sys.executable, "-c", "import time; time.sleep(3600)")
WAYS = {
    "none": Way("without a tracker"),
    "tensorboard": Way("TensorBoard", ("tensorboard",)),
    "hanging": Way("a process that hangs", ("tensorboard",), HANGING),
    "wandb": Way("W&B", ("wandb",)),
    "wandb-slow": Way("W&B, 1 s a call", ("wandb",), fault={"delay_s": 1}),
    "wandb-hanging": Way("W&B, hanging", ("wandb",), fault={"hang": True}),
    "wandb-500": Way("W&B, status 500", ("wandb",), fault={"status": 500}),
    "wandb-429": Way("W&B, status 429", ("wandb",), fault={"status": 429}),
}


@dataclasses.dataclass
class Cost:
    """What the trials of one way cost, over all blocks.

    Attributes:
        walls_s: seconds from a trial's start to the next one's.
        driver_s: CPU seconds of the driver's process, per trial of a block.
        tracker_s: the same of the tracker process and its helper.
    """

    walls_s: list[float] = dataclasses.field(default_factory=list)
    driver_s: list[float] = dataclasses.field(default_factory=list)
    tracker_s: list[float] = dataclasses.field(default_factory=list)


def main() -> None:
    """Run all ways in turn and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--blocks", type=int, default=3)
    parser.add_argument("--trials", type=int, default=40, help="that count, per block")
    parser.add_argument("--ends", type=int, default=3, help="ends of a run, each way")
    parser.add_argument("--told", type=int, default=500, help="trials of the sweep that is told")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    costs = {name: Cost() for name in options.ways}
    ends: dict[str, list[float]] = {"none": [], "wandb-hanging": []}
    with stand_in() as break_down:
        for block in range(options.blocks):
            for name, cost in costs.items():
                run_block(WAYS[name], cost, trials=options.trials, break_down=break_down)
                print(f"block {block + 1}, {name}: {mean_std(cost.walls_s)} s", file=sys.stderr)
        for _ in range(options.ends):
            for name, collected in ends.items():
                collected.append(end_of_run(WAYS[name], break_down=break_down))
    print_header("optuna", "tensorboardX", "wandb")
    _print_costs(costs, trials=options.trials)
    if options.ends:
        print("from the last trial to the end of the run:")
        for name, collected in ends.items():
            print(f"  {WAYS[name].shown:22s} {mean_std(collected)} s")
    if options.told:
        first, again, rows = told(options.told)
        print(f"a sweep of {options.told} trials x {rows} rows told to TensorBoard, CPU per trial:")
        print(f"  for the first time  {first / options.told:.4f} s (n=1 sweep)")
        print(f"  again               {again / options.told:.4f} s (n=1 sweep)")


def _print_costs(costs: Mapping[str, Cost], *, trials: int) -> None:
    print(f"orchestration per trial of 10 reports, {trials} trials a block:")
    first = next(iter(costs.values()))
    for name, cost in costs.items():
        ratio = statistics.fmean(cost.walls_s) / statistics.fmean(first.walls_s)
        print(f"  {WAYS[name].shown:22s} {mean_std(cost.walls_s)} s, ratio {ratio:.2f}")
    print("CPU seconds per trial of the driver's process; of the tracker process; over blocks:")
    for name, cost in costs.items():
        print(f"  {WAYS[name].shown:22s} {mean_std(cost.driver_s)}; {mean_std(cost.tracker_s)}")


@contextlib.contextmanager
def stand_in() -> Iterator[BreakDown]:
    """A stand-in of W&B's server in its own process, where this process is logged in.

    The result gives the server a fault, or none; it returns when the server has it.
    """
    command = [sys.executable, "-c", SERVER]
    root = Path(__file__).parents[1]
    with (
        tempfile.TemporaryDirectory() as home,
        subprocess.Popen(
            command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        lines, answers = process.stdin, process.stdout

        def break_down(fault: Mapping[str, Any]) -> None:
            print(json.dumps(fault), file=lines, flush=True)
            answers.readline()

        # a home without the user's own login
        os.environ.update(HOME=home, WANDB_BASE_URL=answers.readline().strip())
        os.environ.update(WANDB_API_KEY="k" * 40)
        yield break_down
        process.kill()


def run_block(way: Way, cost: Cost, *, trials: int, break_down: BreakDown) -> None:
    """Run the trials of one block, and add what they cost."""
    starts: list[float] = []
    used_s: list[tuple[float, float]] = []  # by the driver and the tracker, before and after

    def trial(assignment: Assignment, reporter: TrialReporter) -> Outcome:
        if assignment.number in (WARM, WARM + trials):
            used_s.append((time.process_time(), tracker_cpu_s(feed)))
        if assignment.number >= WARM:
            starts.append(time.perf_counter())
        outcome = _trial(assignment, reporter)
        if assignment.number == WARM - 1:
            settle(feed)
            break_down(way.fault)
        return outcome

    break_down({})
    with tempfile.TemporaryDirectory() as folder:
        plan, sweep, url = _sweep(Path(folder), WARM + trials + 1, epochs=2)
        feed = _feed(way, plan, url, times=FeedTimes(end_within=0.1))
        with feed, open_driver(plan, sweep, listener=feed.notify) as driver:
            run_local(driver, trial=trial)
        sweep.storage.engine.dispose()
    cost.walls_s += [after - before for before, after in itertools.pairwise(starts)]
    (driver_s, tracker_s), (driver_after_s, tracker_after_s) = used_s
    cost.driver_s.append((driver_after_s - driver_s) / trials)
    cost.tracker_s.append((tracker_after_s - tracker_s) / trials)


def end_of_run(way: Way, *, break_down: BreakDown) -> float:
    """Seconds from the last trial to the end of a run whose server has its fault in the middle."""

    def trial(assignment: Assignment, reporter: TrialReporter) -> Outcome:
        outcome = _trial(assignment, reporter)
        if assignment.number == WARM - 1:
            settle(feed)
            break_down(way.fault)
        return outcome

    break_down({})
    with tempfile.TemporaryDirectory() as folder:
        plan, sweep, url = _sweep(Path(folder), 2 * WARM, epochs=2)
        feed = _feed(way, plan, url, times=FeedTimes())
        with feed, open_driver(plan, sweep, listener=feed.notify) as driver:
            run_local(driver, trial=trial)
            began = time.perf_counter()
        seconds = time.perf_counter() - began
        sweep.storage.engine.dispose()
    return seconds


def settle(feed: Feed) -> None:
    """Wait until the tracker process, if there is one, has nothing to do."""
    began = time.perf_counter()
    before_s = -1.0
    while (used_s := tracker_cpu_s(feed)) - before_s > IDLE_S:
        assert time.perf_counter() - began < PATIENCE_S, "the tracker process is never idle"
        before_s = used_s
        time.sleep(1)


def tracker_cpu_s(feed: Feed) -> float:
    """CPU seconds of the tracker process and of all that it started."""
    if feed.pid is None:
        return 0.0
    process = psutil.Process(feed.pid)
    total = 0.0
    for each in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            used = each.cpu_times()
            total += used.user + used.system + used.children_user + used.children_system
    return total


def _feed(way: Way, plan: Plan, url: str, *, times: FeedTimes) -> Feed:
    start = Start(plan.files.directory.parent, plan.spec.name, url, way.trackers)
    return Feed(start, log=plan.files.tracking_log, times=times, command=way.command)


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

        first, again = _cpu_s(tell), _cpu_s(tell)
        sweep.storage.engine.dispose()
    return first, again, FOLDS * epochs


def _cpu_s(work: Callable[[], None]) -> float:
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
    sweep = StoredSweep.create(open_storage(url), spec, identity=uuid.uuid4().hex)
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
