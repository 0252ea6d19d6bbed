"""W&B in trouble: what does not arrive is a TrackerError, and arrives exactly once later."""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb

from sweeps.errors import TrackerError
from sweeps.running.events import EndState
from sweeps.tracking.tracker import Tracker
from sweeps.tracking.wandb_client import Patience
from tests.fakes.wandb_server import ALL, ENTITY, WandbServer
from tests.sweeps.tracking.in_wandb import QUICK, SHORT, kill_helper, run_id, shown, tracker_on
from tests.sweeps.tracking.told import EPOCHS, TRIAL, Shown, end

ROOT = Path(__file__).parents[3]
STEPS = [epoch.step for epoch in EPOCHS]
NUMBERS = {"std": 0.01}
pytestmark = [
    pytest.mark.filterwarnings("ignore:Exception ignored:pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:Read the `app_url` setting:DeprecationWarning"),
    # the client has threads that notice when its helper process ended
    pytest.mark.filterwarnings(
        "ignore:Exception in thread:pytest.PytestUnhandledThreadExceptionWarning"
    ),
]


@pytest.fixture
def sweep_there(server: WandbServer, tmp_path: Path) -> None:
    """The sweep has been created: a creation that hangs takes the client minutes."""
    tracker = tracker_on(tmp_path)
    tracker.begin(TRIAL)
    tracker.epoch(TRIAL, EPOCHS[0])
    tracker.close()


def tell(tracker: Tracker) -> None:
    tracker.begin(TRIAL)
    for epoch in EPOCHS:
        tracker.epoch(TRIAL, epoch)
    tracker.end(TRIAL, end(EndState.COMPLETED, NUMBERS))
    tracker.close()


def told(folder: Path, patience: Patience = QUICK) -> None:
    """The whole trial, by a tracker of its own."""
    tell(tracker_on(folder, patience=patience))


def in_wandb(server: WandbServer, folder: Path) -> Shown:
    assert server.unknown == []
    return shown(server.runs.get(f"{ENTITY}/{folder.name}/{run_id(TRIAL.number)}"))


@contextlib.contextmanager
def trouble(server: WandbServer, operation: str, **fault: Any) -> Iterator[None]:
    """A fault while the block runs."""
    server.break_down(operation, **fault)
    yield
    server.heal()


@pytest.mark.usefixtures("sweep_there")
class TestOutage:
    def outage(self, server: WandbServer, folder: Path, operation: str, **fault: Any) -> None:
        """Nothing is lost, and nothing is there twice, if the trial is told again later."""
        with trouble(server, operation, **fault):
            tracker = tracker_on(folder, patience=SHORT)
            with pytest.raises(TrackerError, match=r"^W&B "):
                tell(tracker)
            tracker.close()  # has nothing to hand over any more
            assert not (folder / "wandb" / "trial-0007.json").exists()
        told(folder)
        found = in_wandb(server, folder)
        assert (found.steps, found.ended, found.score) == (STEPS, EndState.COMPLETED, 0.625)

    @pytest.mark.parametrize(
        ("operation", "fault"),
        [
            (ALL, {"status": 401}),
            ("UpsertBucket", {"status": 500}),
            ("file_stream", {"status": 404}),  # the client only warns
            ("RunHistoryKeys", {"status": 500}),
        ],
        ids=str,
    )
    def test_what_did_not_arrive_arrives_once_later(
        self, server: WandbServer, tmp_path: Path, operation: str, fault: dict[str, Any]
    ):
        self.outage(server, tmp_path, operation, **fault)

    @pytest.mark.slow
    @pytest.mark.parametrize("operation", [ALL, "RunResumeStatus", "UpsertBucket", "file_stream"])
    @pytest.mark.parametrize(
        "fault",
        [
            {"hang": True},
            {"status": 500},
            {"status": 503},
            {"status": 429},
            {"status": 401},
            {"status": 403},
            {"drop": True},
        ],
        ids=str,
    )
    def test_it_does_so_whatever_the_server_does(
        self, server: WandbServer, tmp_path: Path, operation: str, fault: dict[str, Any]
    ):
        self.outage(server, tmp_path, operation, **fault)

    def test_what_arrived_while_its_answer_was_lost_is_not_sent_again(
        self, server: WandbServer, tmp_path: Path
    ):
        self.outage(server, tmp_path, "file_stream", lose=True)

    def test_the_way_is_only_slow(self, server: WandbServer, tmp_path: Path):
        with trouble(server, ALL, delay_s=0.2):
            told(tmp_path)
        assert in_wandb(server, tmp_path).steps == STEPS

    @pytest.mark.parametrize(
        "fault",
        [
            {"status": 503},
            pytest.param({"status": 429}, marks=pytest.mark.slow),
            pytest.param({"drop": True}, marks=pytest.mark.slow),
            {"lose": True},
        ],
        ids=str,
    )
    @pytest.mark.parametrize("operation", ["UpsertBucket", "file_stream"])
    def test_a_server_that_stumbles_once_is_not_noticed(
        self, server: WandbServer, tmp_path: Path, operation: str, fault: dict[str, Any]
    ):
        with trouble(server, operation, **fault, times=1):
            told(tmp_path)
        assert in_wandb(server, tmp_path).steps == STEPS

    def test_a_picture_that_does_not_arrive_costs_only_the_picture(
        self, server: WandbServer, tmp_path: Path
    ):
        """The history says where the picture should be; the client only warns."""
        with trouble(server, "PUT", status=404):
            told(tmp_path)
        assert in_wandb(server, tmp_path).steps == STEPS

    def test_an_error_says_what_is_missing_and_the_last_word_of_the_client(
        self, server: WandbServer, tmp_path: Path
    ):
        with trouble(server, "UpsertBucket", status=500):
            tracker = tracker_on(tmp_path, patience=SHORT)
            tracker.begin(TRIAL)
            with pytest.raises(
                TrackerError,
                match=r"^W&B did not take epoch 2 of trial 7, fold 0: .*HTTP 500: fault 500$",
            ):
                tracker.epoch(TRIAL, EPOCHS[1])

    def test_after_an_error_the_tracker_takes_nothing_more(
        self, server: WandbServer, tmp_path: Path
    ):
        with trouble(server, "UpsertBucket", status=401):
            tracker = tracker_on(tmp_path, patience=SHORT)
            tracker.begin(TRIAL)
            with pytest.raises(TrackerError, match="fault 401"):
                tracker.epoch(TRIAL, EPOCHS[1])
        with pytest.raises(TrackerError, match="this tracker of W&B is closed"):
            tracker.epoch(TRIAL, EPOCHS[2])

    def test_the_return_of_finish_is_no_proof(self, server: WandbServer, tmp_path: Path):
        """`finish` warns and returns, although the server has none of the rows."""
        with trouble(server, "file_stream", status=404):
            tracker = tracker_on(tmp_path, patience=SHORT)
            with pytest.raises(TrackerError, match="W&B does not have trial 7 up to step 6"):
                tell(tracker)
        assert in_wandb(server, tmp_path).steps == STEPS[:1]


class TestCreation:
    def test_a_sweep_that_cannot_be_created_is_created_once_later(
        self, server: WandbServer, tmp_path: Path
    ):
        with trouble(server, "UpsertSweep", status=401):
            tracker = tracker_on(tmp_path, patience=SHORT)
            tracker.begin(TRIAL)
            with pytest.raises(TrackerError, match="fault 401"):
                tracker.epoch(TRIAL, EPOCHS[0])
        told(tmp_path)
        assert len(server.sweeps) == 1
        assert in_wandb(server, tmp_path).steps == STEPS

    def test_an_id_that_was_not_kept_in_time_is_found_again(
        self, server: WandbServer, tmp_path: Path
    ):
        def killed(name: str) -> None:
            raise KeyboardInterrupt

        tracker = tracker_on(tmp_path, keep_sweep_id=killed)
        tracker.begin(TRIAL)
        with pytest.raises(KeyboardInterrupt):
            tracker.epoch(TRIAL, EPOCHS[0])
        told(tmp_path)
        (sweep,) = server.sweeps
        assert (tmp_path / "sweep-id").read_text() == sweep


class TestDeath:
    def test_a_helper_process_that_dies_is_an_error_and_all_arrives_once_later(
        self, server: WandbServer, tmp_path: Path
    ):
        tracker = tracker_on(tmp_path)
        tracker.begin(TRIAL)
        for epoch in EPOCHS[:2]:
            tracker.epoch(TRIAL, epoch)
        kill_helper()
        with pytest.raises(TrackerError, match=r"^W&B did not take the end of trial 7: "):
            tracker.end(TRIAL, end(EndState.COMPLETED, NUMBERS))
        told(tmp_path)
        assert in_wandb(server, tmp_path).steps == STEPS

    def test_a_tracker_killed_in_mid_run_sends_every_step_exactly_once(
        self, server: WandbServer, tmp_path: Path
    ):
        """Twice kill -9, each time after two rows more had arrived."""
        for epochs in (2, 3):
            process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, str(tmp_path), str(epochs)],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=subprocess.PIPE,
                text=True,
            )
            assert process.stdout is not None
            assert process.stdout.readline() == "told\n"
            server.wait_until(lambda n=epochs: len(in_wandb(server, tmp_path).steps) == n)
            process.send_signal(signal.SIGKILL)
            process.wait()
            process.stdout.close()
        told(tmp_path)
        found = in_wandb(server, tmp_path)
        assert (found.steps, found.score) == (STEPS, 0.625)
        assert len(server.sweeps) == 1
        wandb.teardown()


# a tracker that tells the first epochs of the trial, says so, and waits to be killed
PROGRAM = textwrap.dedent(
    """
    import signal, sys
    from pathlib import Path
    from tests.sweeps.tracking.in_wandb import tracker_on
    from tests.sweeps.tracking.told import EPOCHS, TRIAL

    tracker = tracker_on(Path(sys.argv[1]))
    tracker.begin(TRIAL)
    for epoch in EPOCHS[: int(sys.argv[2])]:
        tracker.epoch(TRIAL, epoch)
    print("told", flush=True)
    signal.pause()
    """
)
