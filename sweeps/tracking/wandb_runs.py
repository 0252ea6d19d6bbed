"""Shows a sweep in W&B: one run for each trial, which holds all of its folds.

The curves of the folds lie over each other (`fold-0/f1` and so on over `epoch`); the sweep's metric
over the steps is the running mean. The *summary* of a run has the metric only if the trial
completed, so that W&B's parallel coordinates and importance do not compare the mean over two folds
with the mean over five.

Nothing is sent twice, whatever died: the id of a run follows from the sweep and the trial, W&B
says at which step a run goes on, and a note in the sweep's folder says what has arrived for good.
"""

import dataclasses
import json
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sweeps.errors import InputError, TrackerError, TrialRefusedError
from sweeps.paths import SweepFiles
from sweeps.running.events import EndState
from sweeps.tracking.tracker import Command, End, Epoch, Orders, SweepFacts, Trial
from sweeps.tracking.wandb_client import (
    Patience,
    calls,
    log_in,
    prepare,
    release,
    run_settings,
    short,
)
from sweeps.tracking.wandb_content import pictures, row, summary
from sweeps.tracking.wandb_orders import Watch
from sweeps.tracking.wandb_sweep import check_project, create
from trainer.files import atomic_write

log = logging.getLogger(__name__)
# The helper process keeps about five descriptors of each run that it finished. After so many runs
# it is replaced when no run is open, and after so many more the open ones are closed for that.
RENEW_AFTER = 25
RENEW_AT_MOST = 40
FINISHING = 4  # runs that are finished at the same time; each waits for the server
DELETED = "previously created and deleted"  # what W&B says of a run that a user deleted


@dataclasses.dataclass(frozen=True)
class Sent:
    """What has arrived at W&B of a trial for good, as a note in a file says it.

    Attributes:
        run: entity, project and id of the run.
        step: the last step of its history.
        state: the `EndState` that it shows; `deleted` if a user deleted the run.
    """

    run: str
    step: int
    state: str


@dataclasses.dataclass
class _Open:
    """A run that is open in the client.

    Attributes:
        next: the first step that W&B does not have.
    """

    run: Any
    next: int


class WandbTracker:
    """The tracker that writes runs of W&B."""

    def __init__(
        self,
        facts: SweepFacts,
        *,
        project: str,
        entity: str | None = None,
        sweep_id: str | None = None,
        keep_sweep_id: Callable[[str], None],
        patience: Patience | None = None,
    ) -> None:
        """Prepare everything but the connection, which the first news opens.

        Args:
            entity: user or team; None is the default one of who is logged in.
            sweep_id: the sweep at W&B; None creates one with the first run.
            keep_sweep_id: stores the id of the created sweep, for the next process.

        Raises:
            InputError: W&B does not accept the name of the project.
        """
        check_project(project)
        self._facts = facts
        self._project = project
        self._entity = entity
        self._sweep_id = sweep_id
        self._keep_sweep_id = keep_sweep_id
        self._patience = patience or Patience()
        self._folder = SweepFiles(facts.directory).wandb
        self._folder.mkdir(parents=True, exist_ok=True)
        prepare(os.environ, folder=self._folder)
        self._notes: dict[int, Sent | None] = {}
        self._opened: dict[int, _Open] = {}
        self._next: dict[int, int] = {}  # by trial, also of runs that were closed in between
        self._stopped: frozenset[int] = frozenset()
        self._finished = 0  # since the helper process began
        self._pool = ThreadPoolExecutor(FINISHING, thread_name_prefix="wandb-finish")
        self._finishing: dict[int, Future[None]] = {}
        self._watch: Watch | None = None
        self._api: Any = None
        self._seen: dict[int, Any] = {}  # runs as W&B's public interface has them, by trial
        self._client = threading.Lock()  # held while the helper process is replaced or asked
        self._closed = False

    def begin(self, trial: Trial) -> None:
        """Read the note about what has arrived; only the first news opens the run."""
        self._notes[trial.number] = self._read_note(trial.number)

    def epoch(self, trial: Trial, epoch: Epoch) -> None:
        """Send the metrics of the fold run, and the running mean."""
        sent = self._notes[trial.number]
        if sent is not None and (epoch.step <= sent.step or sent.state == "deleted"):
            return
        with self._calls(f"epoch {epoch.epoch} of trial {trial.number}, fold {epoch.fold}"):
            opened = self._open(trial)
            if opened is not None and epoch.step >= opened.next:
                opened.run.log(row(self._facts, epoch), step=epoch.step, commit=True)
                self._advance(trial.number, epoch.step)

    def end(self, trial: Trial, end: End) -> None:
        """Send summary, state and pictures, and finish the run in the background.

        A trial that does not go on gets its note when W&B says that all of it has arrived.
        """
        sent = self._notes[trial.number]
        if sent is not None and sent.state in (end.state, "deleted"):
            return
        with self._calls(f"the end of trial {trial.number}"):
            opened = self._open(trial)
            if opened is None:
                return
            if opened.next <= self._picture_step and end.pictures:
                opened.run.log(pictures(end), step=self._picture_step, commit=True)
                self._advance(trial.number, self._picture_step)
            opened.run.tags = (str(end.state),)
            opened.run.summary.update(summary(self._facts, end))
            self._finish(trial.number, end.state)

    def orders(self) -> Orders:
        """The state of the sweep at W&B, and the trials whose runs users stopped there."""
        if self._sweep_id is None or self._closed:
            return Orders(Command.RUN, self._stopped)  # nobody has seen the sweep
        if self._watch is None:
            self._watch = Watch(self._state, patience=self._patience)
        return Orders(self._watch.command(), self._stopped)

    def close(self) -> None:
        """Finish all runs, and end the helper process."""
        if self._closed:
            return
        with self._calls("everything"):
            self._finish_all()
            self._settle(wait=True)
            self._give_up()

    @property
    def _picture_step(self) -> int:
        """The step of the pictures in the history: after all epochs."""
        return self._facts.k * self._facts.max_epochs + 1

    # --- the client

    @contextmanager
    def _calls(self, what: str) -> Iterator[None]:
        """Call the client; after an error this tracker can only be closed."""
        if self._closed:
            raise TrackerError("this tracker of W&B is closed")
        try:
            with calls(what):
                self._settle()
                yield
        except TrialRefusedError:  # W&B is well, so the other trials arrive
            self._finish_all()
            wait(self._finishing.values())
            self._give_up()
            raise
        except TrackerError:
            self._give_up()
            raise

    def _give_up(self) -> None:
        self._closed = True
        if self._watch is not None:
            self._watch.close()
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._opened.clear()
        self._release()

    def _release(self) -> None:
        with self._client:
            self._api = None
            self._seen.clear()
            release()

    def _asked(self) -> Any:
        """W&B's public interface."""
        import wandb

        if self._api is None:
            self._api = wandb.Api(timeout=self._patience.ask_s)
        return self._api

    def _state(self) -> str:
        with self._client:
            sweep = self._asked().sweep(f"{self._entity}/{self._project}/{self._sweep_id}")
            sweep.load(force=True)
            return str(sweep.state)

    def _is_well(self) -> bool:
        """Whether W&B answers a question about the sweep."""
        try:
            self._state()
        except Exception as error:  # noqa: BLE001 - the errors of the client have no common base
            log.debug("W&B does not say how the sweep is: %s", short(error))
            return False
        return True

    # --- runs

    def _id(self, number: int) -> str:
        return f"{self._facts.uuid[:8]}-{number:04d}"

    def _path(self, number: int) -> str:
        return f"{self._entity}/{self._project}/{self._id(number)}"

    def _open(self, trial: Trial) -> _Open | None:
        """The run of a trial, opened if need be; None if a user deleted it."""
        if trial.number not in self._opened:
            if trial.number in self._finishing:  # it was interrupted and goes on
                self._settle(wait=True)
            self._renew_client()
            self._prepare_sweep()
            began = time.monotonic()
            try:
                run = self._begun(trial)
            except Exception as error:
                if DELETED not in str(error):
                    # the client repeats what may pass, until its time is over
                    if time.monotonic() - began < self._patience.init_s and self._is_well():
                        raise TrialRefusedError(
                            f"W&B refuses trial {trial.number}: {short(error)}", trial=trial.number
                        ) from error
                    raise
                log.warning("trial %d was deleted at W&B: it is not sent again", trial.number)
                self._note(trial.number, Sent(self._path(trial.number), -1, "deleted"))
                return None
            expected = self._next.get(trial.number, 0)
            if run.starting_step < expected:
                raise TrackerError(f"step {expected - 1} of trial {trial.number} was lost")
            self._opened[trial.number] = _Open(run, run.starting_step)
        return self._opened[trial.number]

    def _prepare_sweep(self) -> None:
        """Know entity and sweep, which is created if need be."""
        if self._entity is None:
            try:
                self._entity = log_in(patience=self._patience)
            except InputError as error:  # who starts a tracker has asked before
                raise TrackerError(str(error)) from None
        if self._sweep_id is None:
            self._sweep_id = create(
                self._facts, entity=self._entity, project=self._project, folder=self._folder
            )
            self._keep_sweep_id(self._sweep_id)

    def _begun(self, trial: Trial) -> Any:
        import wandb

        run = wandb.init(
            id=self._id(trial.number),
            name=f"trial {trial.number}",
            entity=self._entity,
            project=self._project,
            group=self._facts.name,
            job_type="trial",
            dir=str(self._folder),
            resume="allow",
            reinit="create_new",
            config=dict(trial.config),
            settings=run_settings(
                self._patience,
                sweep_id=self._sweep_id,
                stop_fn=lambda: self._stop(trial.number),
            ),
        )
        run.define_metric("epoch", hidden=True)
        for fold in range(self._facts.k):
            run.define_metric(f"fold-{fold}/*", step_metric="epoch")
        run.define_metric(self._facts.metric, summary="none")
        return run

    def _stop(self, number: int) -> None:
        """A user stopped the run; the client calls this on a thread of its own."""
        self._stopped |= {number}

    def _advance(self, number: int, step: int) -> None:
        self._opened[number].next = self._next[number] = step + 1

    def _renew_client(self) -> None:
        """Replace the helper process now and then, because it loses descriptors."""
        if self._finished >= RENEW_AT_MOST:
            self._finish_all()
        if self._finished >= RENEW_AFTER and not self._opened:
            self._settle(wait=True)
            self._release()
            self._finished = 0

    # --- the end of a run

    def _finish(self, number: int, state: EndState | None) -> None:
        """Finish a run in the background; a run without a state is continued later."""
        opened = self._opened.pop(number)
        self._finished += 1
        self._finishing[number] = self._pool.submit(self._finished_run, number, opened, state)

    def _finish_all(self) -> None:
        """Finish all open runs in the background; they are continued later."""
        for number in list(self._opened):
            self._finish(number, None)

    def _finished_run(self, number: int, opened: _Open, state: EndState | None) -> None:
        files = Path(opened.run.dir).parent
        began = time.monotonic()
        opened.run.finish(exit_code=1 if state is EndState.FAILED else 0)
        in_time = time.monotonic() - began < self._patience.finish_s
        if not self._has(number, opened.next - 1, state):
            lacks = f"W&B does not have trial {number} up to step {opened.next - 1}"
            # the client repeats what may pass, until its time is over; else it only warns
            raise TrialRefusedError(lacks, trial=number) if in_time else TrackerError(lacks)
        if state is not None:
            self._note(number, Sent(self._path(number), opened.next - 1, str(state)))
        shutil.rmtree(files, ignore_errors=True)  # the client's copy

    def _has(self, number: int, step: int, state: EndState | None) -> bool:
        """Ask W&B whether all of a run has arrived: that `finish` returns says nothing."""
        for pause_s in self._patience.prove_s:
            time.sleep(pause_s)
            run = self._seen.get(number)
            if run is None:
                run = self._seen[number] = self._asked().run(self._path(number))
            else:
                run.load(force=True)
            shown = run.summary.get("state")
            if run.lastHistoryStep >= step and (state is None or shown == state):
                return True
        return False

    def _settle(self, *, wait: bool = False) -> None:
        """Raise the error of a run that could not be finished.

        Args:
            wait: for all runs that are still being finished.
        """
        for number, future in list(self._finishing.items()):
            if wait or future.done():
                del self._finishing[number]
                future.result()

    # --- notes

    def _note_file(self, number: int) -> Path:
        return self._folder / f"trial-{number:04d}.json"

    def _read_note(self, number: int) -> Sent | None:
        """The note about a trial, if it is about a run in the same place."""
        try:
            values = json.loads(self._note_file(number).read_text())
            sent = Sent(**values)
        except (OSError, ValueError, TypeError):
            return None
        here = f"/{self._project}/{self._id(number)}"
        entity = sent.run.removesuffix(here)
        return sent if entity != sent.run and self._entity in (None, entity) else None

    def _note(self, number: int, sent: Sent) -> None:
        with atomic_write(self._note_file(number)) as file:
            file.write(json.dumps(dataclasses.asdict(sent)).encode())
        self._notes[number] = sent
