"""A trial that W&B refuses does not keep the others from being shown."""

import dataclasses
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sweeps.errors import TrackerError, TrialRefusedError
from sweeps.running.events import EndState
from sweeps.running.local import run_local
from sweeps.tracking import wandb_choice
from sweeps.tracking.process import follow
from sweeps.tracking.sync import Synced, sync
from sweeps.tracking.wandb_runs import WandbTracker
from tests.fakes.wandb_server import ALL, ENTITY, WandbServer
from tests.sweeps.tracking.in_wandb import QUICK, SHORT, run_id, shown, tracker_on
from tests.sweeps.tracking.simulated import STEPS, SimulatedTrials, TrackedSweep
from tests.sweeps.tracking.test_process import QUICK as OFTEN
from tests.sweeps.tracking.told import EPOCHS, TRIAL, end

OTHER = dataclasses.replace(TRIAL, number=3)
pytestmark = [
    pytest.mark.filterwarnings("ignore:Exception ignored:pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:Read the `app_url` setting:DeprecationWarning"),
    # the client has threads that notice when its helper process ended
    pytest.mark.filterwarnings(
        "ignore:Exception in thread:pytest.PytestUnhandledThreadExceptionWarning"
    ),
]


def tell(tracker: WandbTracker) -> None:
    tracker.begin(TRIAL)
    tracker.epoch(TRIAL, EPOCHS[0])
    tracker.end(TRIAL, end(EndState.COMPLETED, {}))
    tracker.close()


def raised(server: WandbServer, folder: Path, operation: str, **fault: Any) -> TrackerError:
    """What a tracker raises that is told two trials, the first of which W&B took."""
    patience = SHORT if fault.get("hang") or fault.get("status", 0) >= 429 else QUICK
    tracker = tracker_on(folder, patience=patience)
    tracker.begin(OTHER)
    tracker.epoch(OTHER, EPOCHS[0])
    server.break_down(operation, **fault)
    with pytest.raises(TrackerError) as error:
        tell(tracker)
    server.heal()
    assert server.unknown == []
    return error.value


class TestTracker:
    @pytest.mark.parametrize("status", [400, 403, 404])
    def test_a_run_that_cannot_be_opened_is_refused_while_w_and_b_is_well(
        self, server: WandbServer, tmp_path: Path, status: int
    ):
        error = raised(server, tmp_path, "UpsertBucket", status=status, run=run_id(7))
        assert isinstance(error, TrialRefusedError)
        assert (error.trial, str(error)) == (7, f"W&B refuses trial 7: fault {status}")

    def test_a_run_whose_rows_never_arrive_is_refused(self, server: WandbServer, tmp_path: Path):
        """W&B's client only warns, and `finish` returns at once."""
        error = raised(server, tmp_path, "file_stream", status=413, run=run_id(7))
        assert isinstance(error, TrialRefusedError)
        assert (error.trial, str(error)) == (7, "W&B does not have trial 7 up to step 1")

    @pytest.mark.parametrize(
        ("operation", "fault"),
        [
            (ALL, {"status": 401}),  # the login
            ("UpsertBucket", {"status": 500}),
            ("file_stream", {"status": 429}),
            ("file_stream", {"hang": True}),
        ],
        ids=str,
    )
    def test_what_may_pass_refuses_no_trial(
        self, server: WandbServer, tmp_path: Path, operation: str, fault: dict[str, Any]
    ):
        assert type(raised(server, tmp_path, operation, **fault)) is TrackerError


@pytest.mark.parametrize(
    ("operation", "status", "reason"),
    [
        ("UpsertBucket", 400, "W&B refuses trial 1: fault 400"),
        ("file_stream", 413, "W&B does not have trial 1 up to step 6"),
    ],
)
def test_the_others_are_shown_and_sync_sends_it_when_it_is_taken(
    server: WandbServer,
    tracked: Callable[..., TrackedSweep],
    monkeypatch: pytest.MonkeyPatch,
    operation: str,
    status: int,
    reason: str,
):
    monkeypatch.setattr("sweeps.tracking.wandb_runs.Patience", lambda: QUICK)
    sweep = tracked()
    with sweep.driver() as driver:
        run_local(driver, trial=SimulatedTrials())
    server.break_down(operation, status=status, run=run_id(1, sweep.facts))

    def steps() -> list[list[int]]:
        names = [f"{ENTITY}/curve/{run_id(number, sweep.facts)}" for number in range(3)]
        return [shown(server.runs.get(name)).steps for name in names]

    out = io.StringIO()
    assert follow(io.StringIO(sweep.start("wandb").line()), out, times=OFTEN) == 1
    assert [json.loads(line) for line in out.getvalue().splitlines()] == [
        {
            "notice": f"{reason}. The other trials are shown; "
            "`sweeps sync curve` tries this one again"
        }
    ]
    assert steps() == [STEPS, [], STEPS]
    assert list(sync(sweep.stored, sweep.files, to=["wandb"])) == [Synced("wandb", 2, (reason,))]
    server.heal()
    assert list(sync(sweep.stored, sweep.files, to=["wandb"])) == [Synced("wandb", 3, ())]
    assert steps() == [STEPS, STEPS, STEPS]
    assert wandb_choice.place(sweep.files) == "W&B: sweep swp00001 in project curve"
