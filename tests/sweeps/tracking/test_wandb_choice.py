"""W&B as a choice of a search space."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sweeps.errors import InputError
from sweeps.paths import SweepFiles
from sweeps.space.tracking import Tracking, WandbOptions
from sweeps.tracking import wandb_choice, wandb_client
from sweeps.tracking.choice import make_tracker, places, ready, refuse_unusable
from sweeps.tracking.wandb_runs import WandbTracker
from tests.fakes.wandb_server import ENTITY, WandbServer
from tests.sweeps.tracking.in_wandb import SHORT
from tests.sweeps.tracking.told import EPOCHS, TRIAL, facts

pytestmark = pytest.mark.filterwarnings("ignore:Read the `app_url` setting:DeprecationWarning")
ROOT = Path(__file__).parents[3]
BOTH = Tracking(wandb=WandbOptions(), tensorboard=True)


@pytest.fixture
def logged_out(server: WandbServer) -> None:
    del os.environ["WANDB_API_KEY"]


def test_a_sweep_is_sent_while_it_runs_if_somebody_is_logged_in(server: WandbServer):
    assert ready(BOTH, sweep="mask") == (("wandb", "tensorboard"), ())
    refuse_unusable(BOTH, sweep="mask")
    assert server.unknown == []


@pytest.mark.usefixtures("logged_out")
def test_without_a_login_one_line_says_how_to_send_it_later():
    names, notices = ready(BOTH, sweep="mask")
    assert names == ("tensorboard",)
    assert notices == (
        "tracking.wandb: nobody is logged in to W&B here, so this sweep is not shown there while "
        "it runs. `wandb login` or WANDB_API_KEY, then `sweeps sync mask --to wandb`, sends it "
        "later",
    )
    refuse_unusable(BOTH, sweep="mask")


@pytest.mark.usefixtures("logged_out")
def test_who_wants_to_be_online_must_be_logged_in():
    with pytest.raises(InputError, match=r"W&B refuses to log in: .* Run `wandb login` or set"):
        refuse_unusable(BOTH.online(), sweep="mask")


def test_a_key_that_is_refused_is_wrong_input(server: WandbServer):
    server.break_down(status=401)
    with pytest.raises(InputError, match=r"W&B refuses to log in: .* Run `wandb login` or set"):
        refuse_unusable(BOTH, sweep="mask")


def test_a_server_that_does_not_answer_keeps_no_sweep_from_its_start(
    server: WandbServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(wandb_client, "Patience", lambda: SHORT)
    server.break_down(status=500)
    refuse_unusable(BOTH, sweep="mask")


def test_the_name_of_the_sweep_may_be_no_name_of_a_project(server: WandbServer):
    with pytest.raises(InputError, match=r"tracking.wandb.project: 'a#b' has #. W&B takes names"):
        refuse_unusable(BOTH, sweep="a#b")
    refuse_unusable(Tracking(wandb=WandbOptions(project="mask")), sweep="a#b")


def test_the_next_process_goes_on_in_the_same_sweep(server: WandbServer, tmp_path: Path):
    made = facts(tmp_path)
    files = SweepFiles(tmp_path)
    assert places(BOTH, files) == [f"tensorboard --logdir {files.tensorboard}"]
    for epoch in EPOCHS[:2]:  # each time by another process
        tracker = make_tracker("wandb", made)
        assert isinstance(tracker, WandbTracker)
        tracker.begin(TRIAL)
        tracker.epoch(TRIAL, epoch)
        tracker.close()
    (sweep_id,) = server.sweeps
    assert places(BOTH, files)[0] == f"W&B: sweep {sweep_id} in project mask"
    (run,) = server.runs.values()
    assert run.steps == [epoch.step for epoch in EPOCHS[:2]]
    assert run.sweep == sweep_id
    kept = files.wandb / wandb_choice.KEPT
    assert wandb_choice._Kept(kept, "mask", None).read() == sweep_id
    assert wandb_choice._Kept(kept, "other", None).read() is None
    assert wandb_choice._Kept(kept, "mask", ENTITY).read() is None


def test_the_command_that_asks_sends_no_reports_of_the_clients_own(
    server: WandbServer, monkeypatch: pytest.MonkeyPatch
):
    """In a process that nobody has prepared for trackers, as `sweeps run` is."""
    monkeypatch.delenv("WANDB_ERROR_REPORTING")
    program = (
        "from sweeps.space.tracking import WandbOptions; from sweeps.tracking import wandb_choice; "
        "options = WandbOptions(); assert wandb_choice.is_sent(options); "
        "wandb_choice.refuse_unusable(options, sweep='mask')"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)
    assert server.calls["GetDefaultEntity"] + server.calls["Viewer"] > 0
    assert server.unknown == []
