"""Does a sweep of thousands of trials stay quick, and does one driver feed many workers?

    python benchmarks/scale.py [--trials 5000] [--part growth|feeding]

growth: Trials of 10 reports train nothing, with the random sampler, SQLite and two warm Ray
workers. The benchmark prints the seconds per trial around number 100 and at the end, and the
driver's memory. It times `sweeps status` and `sweeps best` at 1,000 trials and at the end. After
SIGKILL of the driver at 1,000 trials, it times the real command from its start to the first
training step of a new trial.
feeding: One driver has 16 workers, whose trials wait 5 s and report 10 times. Between a worker's
first and last trial there is time in which it has none; the benchmark prints the share of this
time, on SQLite and on PostgreSQL.
"""

import argparse
import collections
import contextlib
import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from chaos import Server, write_space
from report import mean_std, print_header
from startup import first_step

REPORTS = 10
WINDOW = 100  # trials that a figure is the mean of
EARLY = 1000  # trials at which the commands are measured the first time, and the driver is killed
WORKERS = 16
ROUNDS = 8
WAIT_S = 5.0
SWEEPS = Path(sys.executable).with_name("sweeps")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=5000)
    parser.add_argument("--part", choices=["growth", "feeding"])
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--storage", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.folder and options.part == "growth":
        grow(options.folder, trials=options.trials)
        return
    if options.folder:
        feed(options.folder, options.storage)
        return
    print_header("ray", "optuna", "torch")
    if options.part != "feeding":
        growth(options.trials)
    if options.part != "growth":
        feeding()


# --- growth


def growth(trials: int) -> None:
    """Grow a sweep to 1,000 trials, kill its driver, continue it, and grow it to the end."""
    with tempfile.TemporaryDirectory(prefix="foldsweep-scale-") as name:
        folder = Path(name)
        space = write_space(folder, epochs=1)
        text = space.read_text().replace("method: bayes", "method: random")
        space.write_text(text.replace("race: {min_evidence: 2, error_rate: 0.2}", "race: false"))
        first = child(folder, "growth", trials=EARLY)
        commands(folder, EARLY)
        started = time.time()
        run = [
            str(SWEEPS),
            "run",
            str(space),
            "--runs",
            str(folder / "runs"),
            "--plain",
            "--trials",
            str(EARLY + 1),
        ]
        subprocess.run(run, check=True, capture_output=True)
        step_s = first_step(folder / "runs", sweep="chaos") - started
        print(
            f"{'continuing after kill -9 at 1,000 trials, to the first training step':72} "
            f"{step_s:.1f} s (n=1)"
        )
        last = child(folder, "growth", trials=trials)
        early = first["seconds"][:WINDOW]
        late = last["seconds"][-WINDOW:]
        for what, seconds in (("100", early), (f"{trials:,}", late)):
            print(f"{f'a trial around number {what}':72} {mean_std(seconds)} s")
        print(f"{'ratio':72} {statistics.fmean(late) / statistics.fmean(early):.2f}")
        print(f"{'driver memory a trial':72} {last['bytes_per_trial'] / 1000:.1f} KB")
        commands(folder, trials)


def child(folder: Path, part: str, **options: Any) -> dict[str, Any]:
    """This script in a process of its own, which ends by being killed; what it wrote."""
    more = [str(word) for key, value in options.items() for word in (f"--{key}", value)]
    done = subprocess.run(
        [sys.executable, __file__, "--part", part, "--folder", str(folder), *more],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode not in (0, -signal.SIGKILL):
        raise RuntimeError(done.stderr[-3000:])
    return dict(json.loads((folder / "measured.json").read_text()))


def grow(folder: Path, *, trials: int) -> None:
    """Add trials that train nothing, write what it took, and die."""
    from sweeps.paths import SweepFiles
    from sweeps.preparing.data import cut_sweep
    from sweeps.preparing.opening import open_sweep
    from sweeps.ray_tune.cluster import Cluster, ray_cluster
    from sweeps.ray_tune.runner import run_on_ray
    from sweeps.running.events import Event, TrialEnded
    from sweeps.running.messages import Share
    from sweeps.running.plan import Plan
    from sweeps.running.take_over import open_driver
    from sweeps.space.spec_reader import read_spec
    from sweeps.study.lease import Lease
    from sweeps.study.storage import open_storage
    from trainer.data.data_set import ReadOptions

    ends = []
    sizes = []

    def listen(event: Event) -> None:
        if isinstance(event, TrialEnded):
            ends.append(time.perf_counter())
            sizes.append(psutil.Process().memory_info().rss)

    spec = read_spec(folder / "chaos.yaml", settings=[f"run_cap={trials}", "resources.cpu=1"])
    (folder / "runs").mkdir(exist_ok=True)
    url = f"sqlite:///{folder}/runs/sweeps.db"
    files = SweepFiles.of(folder / "runs", spec.name)
    cut = cut_sweep(spec, files, read=ReadOptions(choices=spec.choices()))
    storage = open_storage(url)
    lease = Lease.acquire(storage.engine, spec.name)
    sweep = open_sweep(storage, spec, cut, files=files, storage_url=url)
    with ray_cluster():
        plan = Plan(spec, files, Share(), trials)
        with open_driver(plan, sweep, listener=listen, fence=lease.confirm) as driver:
            run_on_ray(driver, Cluster(cpus=2, gpus=0), trial=no_op)
        half = len(sizes) // 2
        measured = {
            "seconds": [after - before for before, after in itertools.pairwise(ends)],
            # from the middle on: what is allocated once has been by then
            "bytes_per_trial": (sizes[-1] - sizes[half]) / (len(sizes) - 1 - half),
        }
        (folder / "measured.json").write_text(json.dumps(measured))
        os.kill(os.getpid(), signal.SIGKILL)


def no_op(assignment: Any, reporter: Any) -> Any:
    """A trial that trains nothing."""
    from sweeps.running.messages import Outcome, TrialReport

    for step in range(1, REPORTS + 1):
        reporter.report(TrialReport(step, 0.5, 0, step, REPORTS))
    return Outcome("completed", tuple(0.5 + 0.1 * assignment.values["lr"] for _ in range(3)))


def commands(folder: Path, trials: int) -> None:
    """`sweeps status` and `sweeps best`, started anew each time."""
    predict_best(folder / "runs")
    for command in (["status"], ["best", "--fast"]):
        seconds = []
        for _ in range(3):
            started = time.perf_counter()
            subprocess.run(
                [str(SWEEPS), *command, "chaos", "--runs", str(folder / "runs")],
                check=True,
                capture_output=True,
            )
            seconds.append(time.perf_counter() - started)
        what = f"sweeps {' '.join(command)} at {trials:,} trials"
        print(f"{what:72} {mean_std(seconds, digits=2)} s")


def predict_best(runs: Path) -> None:
    """Out-of-fold probabilities for the trials on the leaderboard, which `best` scores."""
    import numpy as np

    from sweeps.paths import SweepFiles
    from sweeps.results.view import SweepView, find_sweep
    from sweeps.study.storage import open_storage
    from trainer.training.oof import OOF, write_oof

    folds = SweepFiles.of(runs, "chaos").folds()
    view = SweepView.read(find_sweep(open_storage(f"sqlite:///{runs}/sweeps.db"), "chaos"))
    classes = len(folds.manifest.classes)
    for trial in view.ranked()[:5]:
        for fold in range(folds.k):
            rows_N = folds.valid_rows(fold)
            probs_NK = (
                np.random.default_rng(fold)
                .dirichlet(np.ones(classes), len(rows_N))
                .astype(np.float32)
            )
            write_oof(
                runs / "chaos" / f"trial-{trial.number:04d}" / f"fold-{fold}" / OOF,
                rows_N,
                probs_NK,
                folds_hash=folds.hash,
            )


# --- feeding


def feeding() -> None:
    """One driver, 16 workers, on both storages."""
    with (
        tempfile.TemporaryDirectory(prefix="foldsweep-scale-") as name,
        contextlib.ExitStack() as stack,
    ):
        server = stack.enter_context(Server())
        for kind, url in (
            ("SQLite", f"sqlite:///{name}/feed.db"),
            ("PostgreSQL", server.url("feed")),
        ):
            folder = Path(name) / kind
            folder.mkdir()
            measured = child(folder, "feeding", storage=url)
            idle = f"{100 * measured['idle']:.1f} % of the time ({measured['trials']} trials)"
            print(f"{f'{WORKERS} workers of one driver have no trial, {kind}':72} {idle}")


def feed(folder: Path, url: str) -> None:
    """Keep 16 workers busy; write the share of time in which they were not."""
    import ray

    from sweeps.paths import SweepFiles
    from sweeps.ray_tune.cluster import Cluster
    from sweeps.ray_tune.runner import run_on_ray
    from sweeps.running.messages import Share
    from sweeps.running.plan import Plan
    from sweeps.running.take_over import open_driver
    from sweeps.space.spec_reader import read_spec
    from sweeps.study.lease import Lease
    from sweeps.study.storage import open_storage
    from sweeps.study.stored_sweep import StoredSweep

    (folder / "space.yaml").write_text(
        "name: feed\nmethod: random\nmetric: {name: valid/f1, goal: maximize}\n"
        f"run_cap: {WORKERS * ROUNDS}\n"
        "data: {source: none}\nfolds: {k: 2, race: false}\nresources: {cpu: 1, gpu: 0}\n"
        f"parameters: {{lr: {{min: 0.001, max: 0.1}}, epochs: {{value: {REPORTS}}}}}\n"
    )
    spec = read_spec(folder / "space.yaml")
    storage = open_storage(url)
    ray.init(
        address="local",
        num_cpus=WORKERS,
        include_dashboard=False,
        log_to_driver=False,
        configure_logging=False,
    )
    lease = Lease.acquire(storage.engine, spec.name)
    sweep = StoredSweep.create(storage, spec, identity="benchmark")
    plan = Plan(spec, SweepFiles(folder), Share(), spec.run_cap)
    with open_driver(plan, sweep, fence=lease.confirm) as driver:
        run_on_ray(driver, Cluster(cpus=WORKERS, gpus=0), trial=waits)
    lease.release()
    ray.shutdown()
    spans = collections.defaultdict(list)
    for path in folder.glob("trial-*/span.json"):
        pid, start, end = json.loads(path.read_text())
        spans[pid].append((start, end))
    whole = sum(
        max(end for _, end in own) - min(start for start, _ in own) for own in spans.values()
    )
    busy = sum(end - start for own in spans.values() for start, end in own)
    measured = {"idle": 1 - busy / whole, "trials": sum(map(len, spans.values()))}
    (folder / "measured.json").write_text(json.dumps(measured))


def waits(assignment: Any, reporter: Any) -> Any:
    """A trial that waits instead of training, and says when."""
    from sweeps.running.messages import Outcome, TrialReport

    started = time.time()
    for step in range(1, REPORTS + 1):
        time.sleep(WAIT_S / REPORTS)
        reporter.report(TrialReport(step, 0.5, 0, step, REPORTS))
    span = (os.getpid(), started, time.time())
    (assignment.files.directory / "span.json").write_text(json.dumps(span))
    return Outcome("completed", (0.5, 0.5))


if __name__ == "__main__":
    main()
