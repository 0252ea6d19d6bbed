"""What does orchestration cost per trial?

    python benchmarks/overhead.py

No-op trials of 10 reports each run one at a time, in three ways:
(a) Ray Tune runs them with its defaults and OptunaSearch on SQLite, and its trainable imports torch
and timm;
(b) our driver and runner run them with the same imports, on SQLite;
(c) our driver and runner run them with the same imports, on PostgreSQL over loopback.
The ways run in turn, each block in a process and with a Ray of its own. The first trial of a block
warms the worker up and is not counted. The benchmark prints the seconds per trial, as mean and
standard deviation over all trials.
"""

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from chaos import Server
from report import mean_std, print_header

REPORTS = 10
SIDES = ("baseline", "sqlite", "postgresql")


def main() -> None:
    """Run blocks of all in turn and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=3)
    parser.add_argument("--baseline-trials", type=int, default=8, help="per block")
    parser.add_argument("--our-trials", type=int, default=60, help="per block")
    parser.add_argument("--side", choices=list(SIDES), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(
            json.dumps(
                measure(
                    options.side,
                    baseline_trials=options.baseline_trials,
                    our_trials=options.our_trials,
                )
            )
        )
        return
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    for block in range(options.blocks):
        for name, collected in seconds.items():
            counts = [
                "--baseline-trials",
                str(options.baseline_trials),
                "--our-trials",
                str(options.our_trials),
            ]
            command = [sys.executable, __file__, "--side", name, *counts]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            collected += json.loads(done.stdout.strip().splitlines()[-1])
            print(f"block {block + 1}, {name}: {mean_std(collected)} s", file=sys.stderr)
    _print(seconds)


def measure(side: str, *, baseline_trials: int, our_trials: int) -> list[float]:
    """One block of one side."""
    if side == "baseline":
        return baseline(baseline_trials)
    folder = Path(tempfile.mkdtemp())
    if side == "sqlite":
        return ours(our_trials, folder=folder, url=f"sqlite:///{folder}/sweeps.db")
    with Server() as server:
        return ours(our_trials, folder=folder, url=server.url("overhead"))


def baseline(trials: int) -> list[float]:
    """Run Ray Tune as its documentation shows it, on one stored study.

    The result is the list of seconds from one trial's end to the next.
    """
    import optuna
    import ray
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    ray.init(address="local")  # a bare one would join whatever an earlier cluster left behind
    folder = tempfile.mkdtemp()
    ends: list[float] = []

    class Ends(tune.Callback):
        def on_trial_complete(
            self, iteration: int, trials: list[Any], trial: Any, **info: Any
        ) -> None:
            ends.append(time.perf_counter())

    def trainable(config: dict[str, Any]) -> None:
        import timm  # noqa: F401
        import torch  # noqa: F401

        for step in range(REPORTS):
            tune.report({"score": config["x"] + step})

    search = OptunaSearch(
        {"x": optuna.distributions.FloatDistribution(0, 1)},
        metric="score",
        mode="max",
        study_name="baseline",
        storage=optuna.storages.RDBStorage(f"sqlite:///{folder}/study.db"),
    )
    tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(search_alg=search, num_samples=trials, max_concurrent_trials=1),
        run_config=tune.RunConfig(storage_path=folder, callbacks=[Ends()], verbose=0),
    ).fit()
    return _differences(ends)


def ours(trials: int, *, folder: Path, url: str) -> list[float]:
    """Our driver on Ray with reused workers; seconds from one trial's end to the next."""
    from sweeps.paths import SweepFiles
    from sweeps.ray_tune.cluster import Cluster, ray_cluster
    from sweeps.ray_tune.runner import run_on_ray
    from sweeps.running.events import Event, TrialEnded
    from sweeps.running.messages import Share
    from sweeps.running.plan import Plan
    from sweeps.running.take_over import open_driver
    from sweeps.space.spec_reader import read_spec
    from sweeps.study.lease import Lease
    from sweeps.study.storage import open_storage
    from sweeps.study.stored_sweep import StoredSweep

    space = folder / "overhead.yaml"
    space.write_text(
        f"metric: {{name: valid/f1, goal: maximize}}\nrun_cap: {trials}\ndata: {{source: none}}\n"
        "folds: {k: 2}\nearly_terminate: {type: none}\n"
        f"parameters: {{lr: {{min: 0.001, max: 0.1}}, epochs: {{value: {REPORTS // 2}}}}}\n"
    )
    spec = read_spec(space)
    storage = open_storage(url)
    ends: list[float] = []

    def listen(event: Event) -> None:
        if isinstance(event, TrialEnded):
            ends.append(time.perf_counter())

    plan = Plan(spec, SweepFiles(folder), Share(), trials)
    with Lease.acquire(storage.engine, spec.name) as lease:
        sweep = StoredSweep.create(storage, spec, identity="benchmark")
        with (
            ray_cluster() as cluster,
            open_driver(plan, sweep, listener=listen, fence=lease.confirm) as driver,
        ):
            run_on_ray(driver, Cluster(cpus=1, gpus=cluster.gpus), trial=no_op)
    assert len(sweep.trials()[-1].intermediate_values) == REPORTS
    return _differences(ends)


def no_op(assignment: Any, reporter: Any) -> Any:
    """A trial that trains nothing."""
    import timm  # noqa: F401
    import torch  # noqa: F401

    from sweeps.running.messages import Outcome, TrialReport

    for step in range(REPORTS):
        fold, epoch = divmod(step, REPORTS // 2)
        scores = (0.5,) * fold
        reporter.report(
            TrialReport(step + 1, assignment.values["lr"], fold, epoch + 1, REPORTS // 2, scores)
        )
    return Outcome("completed", (0.5, 0.5))


def _differences(ends: list[float]) -> list[float]:
    return [after - before for before, after in itertools.pairwise(ends)]


def _print(seconds: dict[str, list[float]]) -> None:
    print_header("ray", "optuna", "torch", "sqlalchemy")
    print(f"(a) Ray Tune defaults + OptunaSearch, SQLite: {mean_std(seconds['baseline'])} s")
    print(f"(b) foldsweep, SQLite:                        {mean_std(seconds['sqlite'])} s")
    print(f"(c) foldsweep, PostgreSQL over loopback:      {mean_std(seconds['postgresql'])} s")
    ratio = statistics.fmean(seconds["baseline"]) / statistics.fmean(seconds["sqlite"])
    print(f"(a) / (b): {ratio:.1f}")


if __name__ == "__main__":
    main()
