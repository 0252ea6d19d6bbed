"""`sweeps run`: start a sweep, or continue it."""

import contextlib
import dataclasses
import functools
import os
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
    from sweeps.errors import InfrastructureError
    from sweeps.lease import Lease
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
    update: Annotated[
        bool, typer.Option("--update", help="Go on with a search space that grew: wider numeric ranges.")
    ] = False,
    address: Annotated[str | None, typer.Option("--address", help="Join the Ray cluster at this address.")] = None,
    local: Annotated[bool, typer.Option("--local", help="One trial after another in this process, no Ray.")] = False,
    db_patience: Annotated[
        float, typer.Option("--db-patience", metavar="MIN", min=0, help="Minutes that the storage may be silent.")
    ] = 10.0,
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

    how = _How(
        path=space,
        runs=runs_folder(runs),
        url=storage_url(storage, runs_folder(runs)),
        address=None if local else address or "local",
        update=update,
        patience_s=60 * db_patience,
    )
    with choose_progress(plain=plain) as progress:
        driver = _sweep(spec, how, progress)
    _conclude(driver, how)


@dataclasses.dataclass(frozen=True)
class _How:
    """What the command's options say. `address` None means without Ray."""

    path: Path
    runs: Path
    url: str
    address: str | None
    update: bool
    patience_s: float


class _Words:
    """What a lease's threads have to say to a driver, which may not be there yet."""

    def __init__(self, progress: "Progress") -> None:
        self._progress = progress
        self._driver: Driver | None = None
        self.lost: InfrastructureError | None = None
        self._stop: bool | None = None

    def on_lost(self, error: "InfrastructureError") -> None:
        self.lost = error
        self._pass_on()

    def on_stop(self, now: bool) -> None:
        from sweeps.events import Notice

        how = "running trials are interrupted" if now else "running trials go on to their end"
        self._progress.tell(Notice(f"asked to stop by `sweeps stop`: {how}"))
        self._stop = now
        self._pass_on()

    def listen(self, driver: "Driver") -> None:
        self._driver = driver
        self._pass_on()

    def obey(self) -> None:
        """While there is no driver yet: leave if the lease is lost or somebody asked for it."""
        if self.lost is not None:
            raise self.lost
        if self._stop is not None:
            raise typer.Exit(EXIT_INTERRUPTED)

    def _pass_on(self) -> None:
        if self._driver is None:
            return
        if self.lost is not None:
            self._driver.fail(self.lost)
        elif self._stop is not None:
            (self._driver.stop if self._stop else self._driver.drain)()


def _sweep(spec: "SweepSpec", how: _How, progress: "Progress") -> "Driver | None":
    """Run the sweep to its end; None if it had been finished before."""
    import optuna

    from sweeps.data import changes, check_data, cut_sweep, with_folds
    from sweeps.feasible import check_feasible, try_own_functions
    from sweeps.lease import Lease
    from sweeps.prepare import SweepFiles, open_sweep
    from sweeps.study import StoredSweep, make_folder, open_storage
    from trainer.data.data_set import ReadOptions

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    files, words = SweepFiles.of(how.runs, spec.name), _Words(progress)
    check_data(spec)
    check_feasible(spec, how.path)
    try_own_functions(spec)
    make_folder(how.runs)
    opened = open_storage(how.url)
    lease = Lease.acquire(
        opened.engine, spec.name, on_lost=words.on_lost, on_stop=words.on_stop, patience_s=how.patience_s
    )
    try:

        def images(what: str, done: int, total: int) -> None:
            words.obey()
            progress.images(what, done, total)

        cut_it = functools.partial(cut_sweep, spec, files.directory)
        open_it = functools.partial(open_sweep, opened, files=files, storage_url=how.url, update=how.update)
        # an existing sweep can be refused or finished, which is known before Ray starts and images are decoded
        if StoredSweep.find(opened, spec.name) is not None:
            cut = cut_it(read=ReadOptions(progress=images))
            if _finished(open_it(with_folds(spec, cut.folds), cut), spec):
                return None
        with _cluster(spec, how, files) as cluster:
            cut = cut_it(read=ReadOptions(choices=spec.choices(), progress=images))
            words.obey()
            _tell_data(cut, changes(cut), progress, folder=how.runs / spec.name)
            spec = with_folds(spec, cut.folds)
            sweep = open_it(spec, cut)
            _warm_start(sweep, spec, how, progress)
            with _driver(spec, sweep, files, cluster, progress, cut, how, lease) as driver, _ctrl_c(driver):
                words.listen(driver)
                progress.watch(driver)
                _evaluate(driver, cluster)
            return driver
    finally:
        lease.release()


def _cluster(spec: "SweepSpec", how: _How, files: "SweepFiles") -> "contextlib.AbstractContextManager[Cluster | None]":
    """Ray, with room for at least one trial, all of whose nodes see the files; None without Ray."""
    if how.address is None:
        _local_device(spec)
        return contextlib.nullcontext()
    from sweeps.ray_tune.cluster import ray_cluster, trials_at_once
    from sweeps.ray_tune.probe import probe_nodes
    from sweeps.study import make_folder

    local = how.address == "local"

    @contextlib.contextmanager
    def checked() -> Iterator["Cluster"]:
        with ray_cluster(None if local else how.address) as cluster:
            trials_at_once(spec.resources, cluster)
            if not local:
                make_folder(files.directory)
                probe_nodes(cluster, directory=files.directory, paths=_seen_by_workers(spec))
            yield cluster

    return checked()


def _seen_by_workers(spec: "SweepSpec") -> "list[Path]":
    """What every node must have where this one has it."""
    named = (spec.data.source, spec.data.valid, *spec.local_weights())
    return [Path(path).resolve() for path in named if path is not None]


def _warm_start(sweep: "StoredSweep", spec: "SweepSpec", how: _How, progress: "Progress") -> None:
    from sweeps.events import Notice
    from sweeps.warm_start import warm_start

    for name, taken in warm_start(sweep, spec, runs=how.runs).items():
        left_out = f"; {taken.unfit} have parameters that this space cannot have" if taken.unfit else ""
        progress.tell(Notice(f"{taken.added} finished trials of sweep {name!r} were taken over as history{left_out}"))


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


@contextlib.contextmanager
def _driver(
    spec: "SweepSpec",
    sweep: "StoredSweep",
    files: "SweepFiles",
    cluster: "Cluster | None",
    progress: "Progress",
    cut: "Cut",
    how: _How,
    lease: "Lease",
) -> Iterator["Driver"]:
    """An entered driver, with what goes on beside it: old weights are removed, neighbours are looked at."""
    from sweeps.driver import Driver
    from sweeps.events import Notice
    from sweeps.neighbours import registered
    from sweeps.retention import Retention

    device, gpu, threads, gpus = _share(spec, cluster)
    gpus = 0.0 if how.address not in (None, "local") else gpus  # another machine's are not this one's neighbours
    with (
        Retention(files, sweep, keep=spec.keep, then=progress.tell) as retention,
        registered(spec.name, gpus=gpus, runs=how.runs) as neighbours,
        Driver(
            spec,
            sweep,
            directory=files.directory,
            device=device,
            gpu=gpu,
            threads=threads,
            trial_cap=spec.trial_cap,
            streamed=tuple(how.key for how in cut.data.plan.streamed),
            listener=retention.tell,
            patience_s=how.patience_s,
            fence=lease.confirm,
        ) as driver,
    ):
        for neighbour in neighbours:
            if gpus and neighbour.gpus:
                progress.tell(Notice(neighbour.warning))
        yield driver


def _share(spec: "SweepSpec", cluster: "Cluster | None") -> tuple[str, float, int, float]:
    """What a trial has: its device, GPUs and CPU threads; and the GPUs of all of them."""
    if cluster is None:
        device = _local_device(spec)
        gpus, cpu = 1.0 if device == "cuda" else 0.0, spec.resources.cpu
        if cpu == "auto":
            cpu = (os.cpu_count() or 1) if gpus else 1
        return device, gpus, max(1, int(cpu)), gpus
    from sweeps.ray_tune.cluster import resolve, threads

    gpu = resolve(spec.resources, cluster).gpu or 0.0
    return "cuda" if gpu else "cpu", gpu, threads(spec.resources, cluster), cluster.gpus if gpu else 0.0


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
    from sweeps.tally import counts

    trials = sweep.trials()
    asked = sum(counts(trial, sweep.name) for trial in trials)
    return spec.trial_cap is not None and asked >= spec.trial_cap and all(t.state.is_finished() for t in trials)


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


def _conclude(driver: "Driver | None", how: _How) -> None:
    """Say how it ended and what to do next; errors carry the exit code."""
    if driver is None:
        print("all trials are done already; more with --trials or a larger run_cap", file=sys.stderr)
        return
    if driver.failure is not None:
        raise driver.failure
    name, end = driver.spec.name, driver.snapshot()
    if driver.interrupted or (driver.drained and not driver.has_results):
        print(f"interrupted; `sweeps run {how.path}` continues it", file=sys.stderr)
        raise typer.Exit(EXIT_INTERRUPTED)
    if driver.drained:
        print(f"stopped as asked; `sweeps run {how.path}` goes on with more trials", file=sys.stderr)
    if not driver.has_results:
        raise NothingCompletedError(
            f"no trial completed ({end.pruned} pruned, {end.failed} failed); `sweeps status {name}` shows the reasons"
        )
    _show_best(name, how)


def _show_best(name: str, how: _How) -> None:
    from sweeps.cli.best import print_leaderboard
    from sweeps.database import hidden
    from sweeps.results import SweepView, best, find_sweep
    from sweeps.study import open_storage

    print_leaderboard(best(SweepView.read(find_sweep(open_storage(how.url), name)), runs=how.runs, topk=3))
    print(f"files      {how.runs / name}", file=sys.stderr)
    print(f"more       sweeps best {name} --topk 10", file=sys.stderr)
    print(f"pictures   optuna-dashboard {hidden(how.url)}", file=sys.stderr)
