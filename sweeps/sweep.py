"""One call from a search space to the end of its sweep, for `sweeps run` and for notebooks.

from sweeps import RunOptions, read_spec, run_sweep

result = run_sweep(read_spec(Path("search_spaces/digits.yaml")), RunOptions(address=None))
"""

import contextlib
import dataclasses
import enum
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sweeps.errors import SweepChangedError
from sweeps.paths import SweepFiles, default_storage, make_folder
from sweeps.running.event_log import EventLog
from sweeps.running.events import Notice, ProgressView, Silent, Snapshot
from sweeps.running.listeners import Views, each_told
from sweeps.running.patience import GRACE_S
from sweeps.running.webhook import Webhook, progress_text, url_of
from sweeps.study.database import PATIENCE_S, hidden

if TYPE_CHECKING:
    from optuna.storages import RDBStorage

    from sweeps.ray_tune.cluster import Cluster
    from sweeps.running.driver import Driver
    from sweeps.space.spec import SweepSpec
    from sweeps.study.lease import Lease
    from sweeps.study.reasons import SameFailure
    from sweeps.study.stored_sweep import StoredSweep
    from trainer.data.cut import Cut
    from trainer.model.hub import Fetch
from sweeps.running.signals import PendingSignals, StopRequest, ctrl_c


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """Where and how a sweep runs.

    Attributes:
        runs: the folder of all results.
        storage: the database URL; None for a SQLite file in the runs folder.
        address: address of a Ray cluster to join. `local` starts Ray on this machine. None means
            without Ray: the trials run one after another in this process.
        update: True to continue a stored sweep with a search space whose ranges of numbers grew.
        grace_s: how long running trials have to save their state after a stop.
        patience_s: the sweep ends with an error when the storage has not answered for this long.
        webhook: a URL for messages about the sweep, unless the search space has `notify.webhook`.
        command: what a user types to continue the sweep; `sweeps status` and `retry` show it.

    Example:
        >>> RunOptions(runs=Path("runs")).url
        'sqlite:///runs/sweeps.db'
    """

    runs: Path = Path("runs")
    storage: str | None = None
    address: str | None = "local"
    update: bool = False
    grace_s: float = GRACE_S
    patience_s: float = PATIENCE_S
    webhook: str | None = dataclasses.field(default=None, repr=False)
    command: str | None = None

    @property
    def url(self) -> str:
        """The database URL that the sweep uses."""
        return self.storage or default_storage(self.runs)


class RunState(enum.Enum):
    """How a call of `run_sweep` ended."""

    ENDED = "every trial of the cap or the grid is over, or the budget is used up"
    DONE_BEFORE = "all trials were over already; nothing was started"
    DRAINED = "somebody asked to start nothing more, and running trials went on to their end"
    INTERRUPTED = "running trials left a checkpoint; the next call continues them"
    BROKEN = "its trials failed for the same reason; the next call repeats them"
    NOT_BEGUN = "somebody asked to stop before the first trial"


@dataclasses.dataclass(frozen=True)
class RunResult:
    """What a call of `run_sweep` did.

    Attributes:
        snapshot: counts and best score of the sweep at the end of the call; None if no driver
            started.
        has_results: whether the leaderboard has at least one trial; trials of other sweeps count.
        broken: the equal failures that ended the sweep; None for other states than BROKEN.
    """

    state: RunState
    snapshot: Snapshot | None = None
    has_results: bool = False
    broken: "SameFailure | None" = None


def run_sweep(
    spec: "SweepSpec", options: RunOptions = RunOptions(), *, view: ProgressView | None = None
) -> RunResult:
    """Start a sweep, or continue it: interrupted trials first, then new trials.

    At the first Ctrl-C (or SIGTERM or SIGHUP), running trials save their state, and the sweep ends.
    A second Ctrl-C ends the sweep without waiting for the trials.

    Args:
        view: shows the progress; None shows nothing.

    Raises:
        InputError: the search space, the data, the storage or the resources cannot be used, or
            another driver has the sweep.
        InfrastructureError: Ray, the storage or the lease is lost. A later call continues the
            sweep.
        TrainerError: the data or the user functions cannot be used.
    """
    url = url_of(spec, given=options.webhook)
    files = SweepFiles.of(options.runs, spec.name)
    with EventLog(files) as log, Webhook(url, sweep=spec.name) as webhook:
        result = _run_sweep(spec, options, Views(log, webhook, view or Silent()))
        if result.snapshot is not None:
            end = progress_text(spec, result.snapshot, how=result.state.value)
            log.add(end)
            webhook.send(end)
    return result


def _run_sweep(spec: "SweepSpec", options: RunOptions, shown: ProgressView) -> RunResult:
    """See `run_sweep`."""
    import optuna

    from sweeps.preparing.feasible import check_spec, check_trainable
    from sweeps.preparing.weights import begin_fetch
    from sweeps.study.lease import Lease, Times
    from sweeps.study.storage import open_storage
    from sweeps.tracking.choice import refuse_unusable

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    signals = PendingSignals(shown)
    refuse_unusable(spec.tracking, sweep=spec.name)
    given, spec = spec, check_spec(spec)
    for line in spec.notices:
        if line not in given.notices:
            shown.notify(Notice(line))
    files = SweepFiles.of(options.runs, spec.name)
    fetch = begin_fetch(spec)
    check_trainable(spec, lost=fetch.lost)
    if not files.has_trials():  # a sweep that has begun may be finished, and then needs no weights
        fetch.start()
    make_folder(options.runs)
    storage = open_storage(options.url)
    times = Times(patience_s=options.patience_s)
    with Lease.acquire(
        storage.engine,
        spec.name,
        on_lost=signals.on_lost,
        on_stop=signals.on_stop,
        on_wait=lambda text: shown.notify(Notice(text)),
        times=times,
    ) as lease:
        try:
            context = _Context(options, shown, signals, storage, files, lease)
            driver = _run(spec, context, fetch)
        except StopRequest:
            return RunResult(RunState.NOT_BEGUN)
        if driver is not None and driver.failure is not None:
            raise driver.failure  # in the lease's context: its loss explains any other failure
    if driver is None:
        return RunResult(RunState.DONE_BEFORE)
    state = RunState.DRAINED if driver.drained else RunState.ENDED
    if driver.interrupted or (driver.drained and not driver.has_results):
        state = RunState.INTERRUPTED
    broken = driver.breaker.tripped
    if broken is not None and state is not RunState.INTERRUPTED:
        state = RunState.BROKEN
    return RunResult(state, driver.snapshot(), driver.has_results, broken)


@dataclasses.dataclass(frozen=True)
class _Context:
    """The values that the steps of one call of `run_sweep` share."""

    options: RunOptions
    view: ProgressView
    signals: PendingSignals
    storage: "RDBStorage"
    files: "SweepFiles"
    lease: "Lease"

    def notice(self, text: str) -> None:
        """Show a notice to the user."""
        self.view.notify(Notice(text))

    def images(self, what: str, done: int, total: int) -> None:
        """Show the progress with the images; raise if the lease is lost or a user asked to stop."""
        self.signals.check()
        self.lease.say(f"{what}: {done:,} of {total:,}")
        self.view.images(what, done, total)


def _run(spec: "SweepSpec", context: _Context, fetch: "Fetch") -> "Driver | None":
    """Run the sweep and return its driver; None if all its trials were over before.

    Args:
        fetch: the pretrained weights on their way to this machine.
    """
    from sweeps.preparing.data import changes, cut_sweep, with_folds
    from sweeps.preparing.opening import open_sweep
    from sweeps.ray_tune.sweep_cluster import sweep_cluster
    from sweeps.reporting.fold_map import fold_map
    from sweeps.reporting.note import note_of
    from sweeps.study.records import COMMAND
    from trainer.data.data_set import ReadOptions

    options = context.options
    files, confirm = context.files, context.lease.confirm
    open_stored = functools.partial(
        open_sweep,
        context.storage,
        files=files,
        storage_url=options.url,
        update=options.update,
        confirm=confirm,
    )
    # An existing sweep may be finished, or the search space may not fit it. Both are known before
    # Ray starts and images are decoded.
    if _over_before(spec, context, open_stored):
        return None
    # the weights come while Ray starts and images are decoded
    fetch.start()
    with sweep_cluster(spec, address=options.address, directory=files.directory) as cluster:
        cut = cut_sweep(
            spec, files, read=ReadOptions(choices=spec.choices(), progress=context.images)
        )
        context.signals.check()
        fetch.result(functools.partial(context.images, "pretrained weights"))
        if cluster is not None and options.address != "local":
            from sweeps.ray_tune.weights import weights_on_nodes

            nodes = functools.partial(context.images, "nodes with pretrained weights")
            weights_on_nodes(spec, cluster, watch=nodes)
        _report_data(cut, changes(cut), context)
        spec = with_folds(spec, cut.folds)
        sweep = open_stored(spec, cut)
        sweep.set_attribute(COMMAND, options.command)
        sweep.add_note(note_of(spec, data=cut.counts(), storage=hidden(options.url)))
        _warm_start(sweep, spec, context)
        with _driver(spec, sweep, cluster, cut, context) as driver, ctrl_c(driver):
            context.signals.connect(driver)
            context.lease.say(None)
            context.view.watch(spec.name, driver.snapshot)
            _evaluate(driver, cluster)
        if driver.failure is None:
            confirm()
            figure = fold_map(sweep.trials(), metric=spec.metric.name, goal=spec.metric.goal)
            if figure is not None:
                sweep.write_plot(figure)
        return driver


def _over_before(
    spec: "SweepSpec", context: _Context, open_stored: "Callable[[SweepSpec, Cut], StoredSweep]"
) -> bool:
    """Whether the sweep is stored and all its trials are over.

    A sweep that changed before any trial completed is removed, so that it begins anew.
    """
    from sweeps.preparing.data import cut_sweep, with_folds
    from sweeps.running.finishing import all_over
    from sweeps.study.stored_sweep import StoredSweep
    from sweeps.upkeep.retry import repeat_broken
    from sweeps.upkeep.start_over import may_start_over, start_over
    from trainer.data.data_set import ReadOptions

    files, confirm = context.files, context.lease.confirm
    stored = StoredSweep.find(context.storage, spec.name)
    if stored is None:
        return False
    changes: tuple[str, ...] = ()
    if not stored.record().replaced:
        cut = cut_sweep(spec, files, read=ReadOptions(progress=context.images))
        try:
            stored = open_stored(with_folds(spec, cut.folds), cut)
        except SweepChangedError as error:
            if not may_start_over(stored):
                raise
            changes = error.what
        else:
            repeated = repeat_broken(stored, files=files, confirm=confirm)
            if repeated:
                context.notice(f"trials that failed alike are repeated: {len(repeated)}")
            record = stored.record()
            return all_over(spec.as_begun(record.identity), stored.trials(), record.finishes)
    replaced = start_over(stored, files=files, runs=context.options.runs, confirm=confirm)
    context.notice(replaced.text(spec.name, changes))
    return False


def _warm_start(sweep: "StoredSweep", spec: "SweepSpec", context: _Context) -> None:
    """Take over the trials of the sweeps that `warm_start` names, and report their number."""
    from sweeps.upkeep.warm_start import warm_start

    runs, confirm = context.options.runs, context.lease.confirm
    for name, taken in warm_start(sweep, spec, runs=runs, confirm=confirm).items():
        left_out = (
            f"; {taken.unfit} have parameters that this space cannot have" if taken.unfit else ""
        )
        context.notice(
            f"{taken.added} finished trials of sweep {name!r} were taken over as history{left_out}"
        )


def _report_data(cut: "Cut", changed: str | None, context: _Context) -> None:
    """Notify the user of facts about the data before the sweep spends GPU time."""
    # the path as the user wrote it; the directory in `context.files` is an absolute path
    reasons = SweepFiles(context.options.runs / context.files.directory.name).rejected
    context.notice(cut.counts() + (f", {reasons} says why" if cut.data.rejected else ""))
    levels = cut.levels()
    if levels is not None:
        context.notice(f"files of more than 8 bits: {levels} (data.levels)")
    for line in [*cut.data.notes, *filter(None, [changed])]:
        context.notice(line)
    for choice in cut.data.plan.streamed:
        context.notice(
            f"{choice.key} does not fit into data.cache_gb: decoded batch by batch, which is slower"
        )
    for line in cut.warnings():
        context.notice(line)


@contextlib.contextmanager
def _driver(
    spec: "SweepSpec",
    sweep: "StoredSweep",
    cluster: "Cluster | None",
    cut: "Cut",
    context: _Context,
) -> Iterator["Driver"]:
    """The driver, open, with three services beside it.

    `Retention` removes the weights of trials that are no longer among the best. `registered` finds
    other sweeps on this machine, and the user is warned of those that use the same of it. `Feed`
    feeds the process that shows the sweep in W&B and the like.
    """
    from sweeps.preparing.cost import kept_trial_s
    from sweeps.ray_tune.share import share_of
    from sweeps.reporting.artifacts import TrialPictures
    from sweeps.running.folder_watch import watched_folder
    from sweeps.running.neighbours import registered
    from sweeps.running.plan import Plan
    from sweeps.running.take_over import open_driver
    from sweeps.tracking.feed import open_feed
    from sweeps.tracking.orders import obey
    from sweeps.upkeep.retention import Retention

    options, files, confirm = context.options, context.files, context.lease.confirm
    notify, on_end = context.view.notify, context.signals.on_lost
    share = share_of(spec, cluster, streamed=tuple(choice.key for choice in cut.data.plan.streamed))
    gpus = cpus = 0.0  # of this machine, that all trials together may use
    if options.address in (None, "local"):
        gpus = 0.0 if not share.gpu else 1.0 if cluster is None else cluster.gpus
        cpus = share.threads if cluster is None else cluster.cpus
    draw = TrialPictures(files, metric=spec.metric.name, field=spec.metric.field, fence=confirm)
    expected_s = kept_trial_s(files, spec, device=share.device, threads=share.threads)
    plan = Plan(spec, files, share, spec.trial_cap, draw=draw, grace_s=options.grace_s)
    plan = dataclasses.replace(plan, expected_trial_s=expected_s)
    with (
        open_feed(spec, files, storage_url=options.url, notify=notify, fence=confirm) as feed,
        Retention(files, sweep, keep=spec.keep, fence=confirm, on_end=on_end) as retention,
        registered(spec.name, gpus=gpus, cpus=cpus, runs=options.runs) as neighbours,
        open_driver(
            plan,
            sweep,
            listener=each_told(retention.notify, feed.notify, notify),
            patience_s=options.patience_s,
            fence=confirm,
        ) as driver,
        watched_folder(files, identity=sweep.uuid, on_gone=driver.fail),
    ):
        feed.connect(functools.partial(obey, driver))
        for neighbour in neighbours:
            warning = neighbour.warning(gpus=gpus, cpus=cpus)
            if warning is not None:
                context.notice(warning)
        yield driver


def _evaluate(driver: "Driver", cluster: "Cluster | None") -> None:
    """Run the trials of the driver, on Ray or in this process."""
    if cluster is None:
        from sweeps.running.local import run_local

        run_local(driver)
    else:
        from sweeps.ray_tune.runner import run_on_ray

        run_on_ray(driver, cluster)
