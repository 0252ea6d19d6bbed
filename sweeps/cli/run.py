"""`sweeps run`: start a sweep, or continue it."""

import contextlib
import functools
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweeps.cli.options import Runs, Settings, Space, Storage, runs_folder, storage_url
from sweeps.errors import EXIT_INTERRUPTED, InputError, NothingCompletedError

if TYPE_CHECKING:
    from sweeps.cli.progress import Progress
    from sweeps.driver import Driver
    from sweeps.prepare import SweepFiles
    from sweeps.ray_tune.cluster import Cluster
    from sweeps.spec import SweepSpec
    from sweeps.study import StoredSweep
    from trainer.data.cut import Cut


def run(
    space: Space,
    storage: Storage = None,
    runs: Runs = None,
    trials: Annotated[int | None, typer.Option("--trials", metavar="N", min=1, help="Trials in all (run_cap).")] = None,
    hours: Annotated[float | None, typer.Option("--hours", metavar="H", help="Hours in all (budget.hours).")] = None,
    settings: Settings = None,
    address: Annotated[str | None, typer.Option("--address", help="Join the Ray cluster at this address.")] = None,
    local: Annotated[bool, typer.Option("--local", help="One trial after another in this process, no Ray.")] = False,
    plain: Annotated[bool, typer.Option("--plain", help="One line per event instead of the live view.")] = False,
) -> None:
    """Start a sweep, or continue it: interrupted trials first, then new ones."""
    from sweeps.spec_reader import read_spec

    overrides = [*(settings or [])]
    if trials is not None:
        overrides.append(f"run_cap={trials}")
    if hours is not None:
        overrides.append(f"budget.hours={float(hours)}")
    spec = read_spec(space, settings=overrides)
    for notice in spec.notices:
        print(f"note: {notice}", file=sys.stderr)

    from sweeps.cli.progress import choose_progress

    with choose_progress(plain=plain) as progress:
        driver = _sweep(spec, space, storage, runs_folder(runs), None if local else address or "local", progress)
    _conclude(driver, space, storage, runs_folder(runs))


def _sweep(
    spec: "SweepSpec", path: Path, storage: str | None, runs: Path, address: str | None, progress: "Progress"
) -> "Driver | None":
    """Run the sweep to its end; None if it had been finished before. `address` None means without Ray."""
    import optuna

    from sweeps.data import changes, check_data, cut_sweep, with_folds
    from sweeps.errors import LeaseLostError
    from sweeps.feasible import check_feasible, try_own_functions
    from sweeps.lease import Lease
    from sweeps.prepare import SweepFiles, open_sweep
    from sweeps.study import StoredSweep, make_folder, open_storage

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    url, files = storage_url(storage, runs), SweepFiles.of(runs, spec.name)
    drivers: list[Driver] = []
    lost: list[LeaseLostError] = []

    def on_lost(error: LeaseLostError) -> None:
        lost.append(error)
        for driver in drivers:
            driver.fail(error)

    check_data(spec)
    check_feasible(spec, path)
    try_own_functions(spec)
    make_folder(runs)
    opened = open_storage(url)
    lease = Lease.acquire(opened.engine, spec.name, on_lost=on_lost)
    try:
        cut_it = functools.partial(cut_sweep, spec, files.directory, progress=progress.images)
        open_it = functools.partial(open_sweep, opened, files=files, storage_url=url)
        # an existing sweep can be refused or finished, which is known before Ray starts and images are decoded
        if StoredSweep.find(opened, spec.name) is not None:
            cut = cut_it()
            if _finished(open_it(with_folds(spec, cut.folds), cut), spec):
                return None
        with _cluster(spec, address) as cluster:
            cut = cut_it(choices=spec.choices())
            if lost:
                raise lost[0]
            _tell_data(cut, changes(cut), progress, folder=runs / spec.name)
            spec = with_folds(spec, cut.folds)
            sweep = open_it(spec, cut)
            with _driver(spec, sweep, files, cluster, progress, cut) as driver, _ctrl_c(driver):
                drivers.append(driver)
                for error in lost:
                    driver.fail(error)
                progress.watch(driver)
                _evaluate(driver, cluster)
            return driver
    finally:
        lease.release()


def _cluster(spec: "SweepSpec", address: str | None) -> "contextlib.AbstractContextManager[Cluster | None]":
    """Ray, with room for at least one trial; None without Ray."""
    if address is None:
        _local_device(spec)
        return contextlib.nullcontext()
    from sweeps.ray_tune.cluster import ray_cluster, trials_at_once

    @contextlib.contextmanager
    def checked() -> Iterator["Cluster"]:
        with ray_cluster(None if address == "local" else address) as cluster:
            trials_at_once(spec.resources, cluster)
            yield cluster

    return checked()


def _tell_data(cut: "Cut", changed: str | None, progress: "Progress", *, folder: Path) -> None:
    """What a user should know of the data before GPU time is spent on them."""
    from sweeps.events import Notice
    from trainer.data.folds import deviations

    if cut.data.rejected:
        why = folder / "rejected.csv"
        progress.tell(Notice(f"rows rejected: {len(cut.data.rejected):,} of {cut.data.rows:,}; {why} says why"))
    if changed is not None:
        progress.tell(Notice(changed))
    for how in cut.data.plan.streamed:
        progress.tell(Notice(f"{how.key} does not fit into data.cache_gb: decoded batch by batch, which is slower"))
    for line in deviations(cut.folds):
        progress.tell(Notice(line))


def _driver(
    spec: "SweepSpec",
    sweep: "StoredSweep",
    files: "SweepFiles",
    cluster: "Cluster | None",
    progress: "Progress",
    cut: "Cut",
) -> "Driver":
    from sweeps.driver import Driver

    if cluster is None:
        device = _local_device(spec)
    else:
        from sweeps.ray_tune.cluster import gpu_share

        device = "cuda" if gpu_share(spec.resources, gpus=cluster.gpus) else "cpu"
    return Driver(
        spec,
        sweep,
        directory=files.directory,
        device=device,
        trial_cap=spec.trial_cap,
        streamed=tuple(how.key for how in cut.data.plan.streamed),
        listener=progress.tell,
    )


def _local_device(spec: "SweepSpec") -> str:
    """Without Ray one trial has the whole machine.

    Raises:
        InputError: it asks for a GPU, and there is none.
    """
    from trainer.fit import pick_device

    wanted, device = spec.resources.gpu, pick_device().type
    if wanted and device == "cpu":
        raise InputError(
            f"a trial asks for {wanted:g} GPU (resources), but this machine has none: --set resources.gpu=0"
        )
    return "cpu" if wanted == 0 else device


def _evaluate(driver: "Driver", cluster: "Cluster | None") -> None:
    if cluster is None:
        from sweeps.local import run_local

        run_local(driver)
    else:
        from sweeps.ray_tune.runner import run_on_ray

        run_on_ray(driver, cluster)


def _finished(sweep: "StoredSweep", spec: "SweepSpec") -> bool:
    trials = sweep.trials()
    return spec.trial_cap is not None and len(trials) >= spec.trial_cap and all(t.state.is_finished() for t in trials)


@contextlib.contextmanager
def _ctrl_c(driver: "Driver") -> Iterator[None]:
    """The first Ctrl-C (or a SIGTERM) lets running trials save their state; a second Ctrl-C does not wait."""

    def stop(*_: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        driver.stop()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except KeyboardInterrupt:
        driver.stop()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _conclude(driver: "Driver | None", space: Path, storage: str | None, runs: Path) -> None:
    """Say how it ended and what to do next; errors carry the exit code."""
    if driver is None:
        print("all trials are done already; more with --trials or a larger run_cap", file=sys.stderr)
        return
    if driver.failure is not None:
        raise driver.failure
    name, end = driver.spec.name, driver.snapshot()
    if driver.interrupted:
        print(f"interrupted; `sweeps run {space}` continues it", file=sys.stderr)
        raise typer.Exit(EXIT_INTERRUPTED)
    if not end.completed:
        raise NothingCompletedError(
            f"no trial completed ({end.pruned} pruned, {end.failed} failed); `sweeps status {name}` shows the reasons"
        )
    _show_best(name, storage, runs)


def _show_best(name: str, storage: str | None, runs: Path) -> None:
    from sweeps.cli.best import print_leaderboard
    from sweeps.results import best, find_sweep
    from sweeps.study import hidden, open_storage

    url = storage_url(storage, runs)
    print_leaderboard(best(find_sweep(open_storage(url), name), runs=runs, topk=3))
    print(f"files      {runs / name}", file=sys.stderr)
    print(f"more       sweeps best {name} --topk 10", file=sys.stderr)
    print(f"pictures   optuna-dashboard {hidden(url)}", file=sys.stderr)
