"""Trials as runs of W&B, beyond what the contract of trackers says."""

import dataclasses
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import wandb
from PIL import Image

from sweeps.errors import InputError
from sweeps.running.events import EndState
from sweeps.tracking import wandb_runs
from sweeps.tracking.tracker import Command, End, Trial
from sweeps.tracking.wandb_client import Patience
from sweeps.tracking.wandb_runs import WandbTracker
from tests.fakes.wandb_server import ENTITY, StoredRun, WandbServer
from tests.sweeps.tracking.in_wandb import QUICK, SHORT, run_id, shown, tracker_on
from tests.sweeps.tracking.told import EPOCHS, TRIAL, end

# the client's own: `wandb.sweep` reads a setting that it deprecates itself
pytestmark = pytest.mark.filterwarnings("ignore:Read the `app_url` setting:DeprecationWarning")
STEPS = [epoch.step for epoch in EPOCHS]
COMPLETED = end(EndState.COMPLETED, {"std": 0.01, "fold-0/score": 0.6, "fold-1/score": 0.65})


def tell(tracker: WandbTracker, trial: Trial = TRIAL, *, how: End = COMPLETED) -> None:
    """A whole trial."""
    tracker.begin(trial)
    for epoch in EPOCHS:
        tracker.epoch(trial, epoch)
    tracker.end(trial, how)


def told(folder: Path, *, patience: Patience = QUICK, **how: Any) -> None:
    """A whole trial by a tracker of its own."""
    tracker = tracker_on(folder, patience=patience)
    tell(tracker, **how)
    tracker.close()


def run_of(server: WandbServer, number: int = TRIAL.number) -> StoredRun:
    assert server.unknown == []
    return server.run(run_id(number))


class TestRun:
    def test_one_run_holds_all_folds_of_a_trial(self, server: WandbServer, tmp_path: Path):
        told(tmp_path)
        run = run_of(server)
        assert run.history[0] | {"_runtime": 0} == {
            "epoch": 1,
            "fold-0/f1": 0.5625,
            "fold-0/loss": 0.5,
            "fold-0/lr": 0.0078125,
            "fold-0/seconds": 60.0,
            "valid/f1": EPOCHS[0].value,
            "_step": 1,
            "_timestamp": EPOCHS[0].time,  # of the training, not of the upload
            "_runtime": 0,
        }
        assert [row["_timestamp"] for row in run.history] == [epoch.time for epoch in EPOCHS]
        assert len(server.runs) == 1

    def test_the_run_says_which_trial_of_which_sweep_it_is(
        self, server: WandbServer, tmp_path: Path
    ):
        told(tmp_path)
        run = run_of(server)
        assert run.name == "12345678-0007"
        assert (run.entity, run.project) == (ENTITY, tmp_path.name)
        fields = ("displayName", "groupName", "jobType", "tags")
        assert [run.fields[name] for name in fields] == ["trial 7", "mask", "trial", ["completed"]]
        assert run.values == TRIAL.config
        assert run.sweep in server.sweeps

    def test_the_summary_says_how_the_trial_ended(self, server: WandbServer, tmp_path: Path):
        told(tmp_path)
        expected = {
            "valid/f1": 0.625,
            "std": 0.01,
            "fold-0/score": 0.6,
            "fold-1/score": 0.65,
            "state": "completed",
            "reason": "",
        }
        run = run_of(server)
        assert expected.items() <= run.summary.items()
        assert run.state == "finished"

    @pytest.mark.parametrize(
        ("state", "shown_as"), [(EndState.PRUNED, "finished"), (EndState.FAILED, "failed")]
    )
    def test_a_trial_without_a_score_has_no_metric_in_the_summary(
        self, server: WandbServer, tmp_path: Path, state: EndState, shown_as: str
    ):
        told(tmp_path, how=end(state, {"std": 0.01}))
        run = run_of(server)
        assert "valid/f1" not in run.summary
        assert run.summary["reason"] == "no chance"
        assert run.state == shown_as

    def test_pictures_come_after_all_epochs(
        self, server: WandbServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ):
        Image.new("RGB", (4, 4)).save(tmp_path / "errors.png")
        (tmp_path / "curves.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
        (tmp_path / "broken.png").write_text("no picture")
        names = ("errors.png", "curves.svg", "broken.png", "absent.png")
        pictures = {name.partition(".")[0]: tmp_path / name for name in names}
        told(tmp_path, how=dataclasses.replace(COMPLETED, pictures=pictures))
        run = run_of(server)
        assert run.steps == [*STEPS, 2 * 4 + 1]
        assert {key: value["_type"] for key, value in run.history[-1].items() if key[0] != "_"} == {
            "errors": "image-file",
            "curves": "html-file",
        }
        media = [name for name in run.files if name.startswith("media/")]
        assert sorted(Path(name).suffix for name in media) == [".html", ".png"]
        refused = [message for message in caplog.messages if "is not sent to W&B" in message]
        assert [message.split(" is not")[0] for message in refused] == [
            str(tmp_path / "broken.png"),
            str(tmp_path / "absent.png"),
        ]

    def test_nothing_of_the_client_is_left_but_its_log(self, server: WandbServer, tmp_path: Path):
        told(tmp_path)
        left = {path.name for path in (tmp_path / "wandb" / "wandb").iterdir()}
        assert not [name for name in left if name.startswith(("run-", "offline-"))]

    def test_a_project_that_wandb_refuses_is_refused_before_anything_is_made(self, tmp_path: Path):
        with pytest.raises(InputError, match=r"tracking\.wandb\.project: 'a/b' has /"):
            tracker_on(tmp_path, project="a/b")
        assert list(tmp_path.iterdir()) == []

    def test_without_an_entity_the_run_is_of_who_is_logged_in(
        self, server: WandbServer, tmp_path: Path
    ):
        tracker = tracker_on(tmp_path, entity=None)
        tell(tracker)
        tracker.close()
        assert run_of(server).entity == ENTITY


class TestSweep:
    def test_the_sweep_is_created_with_the_first_news_and_its_id_is_kept(
        self, server: WandbServer, tmp_path: Path
    ):
        tracker = tracker_on(tmp_path)
        tracker.begin(TRIAL)
        assert server.calls.total() == 0
        tracker.epoch(TRIAL, EPOCHS[0])
        tracker.close()
        assert list(server.sweeps) == [(tmp_path / "sweep-id").read_text()]

    def test_a_known_sweep_is_not_created_again(self, server: WandbServer, tmp_path: Path):
        told(tmp_path)
        told(tmp_path, trial=dataclasses.replace(TRIAL, number=8))
        (sweep,) = server.sweeps
        assert [run.sweep for run in server.runs.values()] == [sweep, sweep]


class TestNotes:
    def test_what_has_arrived_is_not_even_asked_for(self, server: WandbServer, tmp_path: Path):
        told(tmp_path)
        before = server.calls.total()
        told(tmp_path)
        assert server.calls.total() == before

    def test_a_note_about_a_run_elsewhere_is_not_believed(
        self, server: WandbServer, tmp_path: Path
    ):
        told(tmp_path)
        tracker = tracker_on(tmp_path, project="other", sweep_id=None)
        tell(tracker)
        tracker.close()
        other = server.runs[f"{ENTITY}/other/{run_id(TRIAL.number)}"]
        assert other.steps == STEPS

    @pytest.mark.parametrize("text", ["", "{}", "[1]", '{"run": 1, "step": 2}'])
    def test_a_damaged_note_is_no_note(self, server: WandbServer, tmp_path: Path, text: str):
        told(tmp_path)
        (tmp_path / "wandb" / "trial-0007.json").write_text(text)
        told(tmp_path)
        assert run_of(server).steps == STEPS

    def test_a_run_that_a_user_deleted_is_left_alone(
        self, server: WandbServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ):
        told(tmp_path, trial=dataclasses.replace(TRIAL, number=8))
        server.break_down(
            "UpsertBucket", status=409, message="run was previously created and deleted"
        )
        told(tmp_path, patience=SHORT)
        assert "trial 7 was deleted at W&B: it is not sent again" in caplog.messages
        server.heal()
        told(tmp_path)
        assert len(server.runs) == 1


class TestHelperProcess:
    def test_it_is_replaced_although_a_run_is_open_all_the_time(
        self, server: WandbServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(wandb_runs, "RENEW_AFTER", 1)
        monkeypatch.setattr(wandb_runs, "RENEW_AT_MOST", 2)
        tracker = tracker_on(tmp_path)
        tracker.begin(TRIAL)
        helpers = set()
        for number, epoch in enumerate(EPOCHS, start=8):
            tracker.epoch(TRIAL, epoch)
            tell(tracker, dataclasses.replace(TRIAL, number=number))
            helpers |= {process.pid for process in helper_processes()}
        tracker.end(TRIAL, COMPLETED)
        tracker.close()
        assert len(helpers) > 1
        assert helper_processes() == []
        for number in range(7, 12):
            assert shown(run_of(server, number)).steps == STEPS
            assert run_of(server, number).summary["state"] == "completed"

    def test_closing_ends_it_and_a_trial_in_progress_can_go_on(
        self, server: WandbServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        tracker = tracker_on(tmp_path)
        tracker.begin(TRIAL)
        tracker.epoch(TRIAL, EPOCHS[0])
        tracker.close()
        assert helper_processes() == []
        assert "state" not in run_of(server).summary
        logged: list[int] = []
        log = wandb.Run.log

        def noted(run: wandb.Run, row: dict[str, Any], *, step: int, commit: bool) -> None:
            logged.append(step)
            log(run, row, step=step, commit=commit)

        monkeypatch.setattr(wandb.Run, "log", noted)
        told(tmp_path)
        assert run_of(server).steps == STEPS
        assert logged == STEPS[1:]  # the client would drop the first one with a warning


def helper_processes() -> list[psutil.Process]:
    children = psutil.Process().children()
    return [child for child in children if child.name().startswith("wandb-core")]


class TestOrders:
    def test_a_run_stopped_in_the_web_page_is_an_order_for_its_trial(
        self, server: WandbServer, tmp_path: Path, impatient: None
    ):
        tracker = tracker_on(tmp_path)
        other = dataclasses.replace(TRIAL, number=8)
        for trial in (TRIAL, other):
            tracker.begin(trial)
            tracker.epoch(trial, EPOCHS[0])
        path = f"{ENTITY}/{tmp_path.name}/{run_id(other.number)}"
        server.wait_until(lambda: path in server.runs)
        wandb.Api(timeout=60).run(path).stop()
        for epoch in EPOCHS[1:]:
            tracker.epoch(other, epoch)  # the answer to an upload says it
        assert eventually(lambda: tracker.orders().stop == {other.number})
        tracker.close()
        assert tracker.orders().stop == {other.number}

    def test_the_state_of_the_sweep_is_an_order_for_all(self, server: WandbServer, tmp_path: Path):
        tracker = tracker_on(tmp_path)
        tracker.begin(TRIAL)
        assert tracker.orders().command is Command.RUN  # nobody has seen the sweep
        assert server.calls.total() == 0
        tracker.epoch(TRIAL, EPOCHS[0])
        assert tracker.orders().command is Command.RUN
        (sweep,) = server.sweeps.values()
        for state, command in (
            ("PAUSED", Command.PAUSE),
            ("RUNNING", Command.RUN),
            ("FINISHED", Command.DRAIN),
            ("CANCELED", Command.INTERRUPT),
        ):
            sweep.state = state
            assert eventually(lambda expected=command: tracker.orders().command is expected)
        tracker.close()
        assert server.unknown == []

    def test_the_state_of_a_known_sweep_is_there_from_the_start(
        self, server: WandbServer, tmp_path: Path
    ):
        told(tmp_path)
        (sweep,) = server.sweeps.values()
        sweep.state = "PAUSED"
        tracker = tracker_on(tmp_path)
        assert tracker.orders().command is Command.PAUSE
        tracker.close()


def eventually(holds: Callable[[], bool]) -> bool:
    """Whether something holds within a minute."""
    pause = threading.Event()
    return any(holds() or pause.wait(0.02) for _ in range(3000))


def test_the_environment_of_a_wandb_agent_changes_nothing(server: WandbServer, tmp_path: Path):
    os.environ.update(WANDB_SWEEP_ID="foreign", WANDB_RUN_ID="foreign", WANDB_MODE="offline")
    told(tmp_path)
    assert run_of(server).sweep in server.sweeps
