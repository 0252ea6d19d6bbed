"""The stand-in of the W&B server, driven by the real client."""

import threading
from typing import Any

import pytest
import wandb
from wandb.sdk.lib.service.service_connection import WandbApiFailedError

from tests.fakes.wandb_server import ENTITY, WandbServer

# the client's own: `wandb.sweep` reads a setting that it deprecates itself
pytestmark = pytest.mark.filterwarnings("ignore:Read the `app_url` setting:DeprecationWarning")
SWEEP = {
    "method": "custom",
    "name": "toy",
    "description": "a toy",
    "metric": {"name": "valid/f1", "goal": "maximize"},
    "parameters": {"lr": {"distribution": "uniform", "min": 0.1, "max": 0.2}},
}


def begun(name: str = "run-1", **settings: Any) -> Any:
    """A run that the client begins or continues."""
    return wandb.init(
        id=name,
        entity=ENTITY,
        project="toys",
        resume="allow",
        reinit="create_new",
        config={"lr": 0.15},
        settings=wandb.Settings(
            init_timeout=10,
            finish_timeout=10,
            silent=True,
            console="off",
            disable_git=True,
            disable_code=True,
            x_disable_stats=True,
            x_file_stream_transmit_interval=1,
            **settings,
        ),
    )


def api() -> Any:
    return wandb.Api(timeout=5)


def test_what_the_client_sends_arrives_and_can_be_read_back(server: WandbServer) -> None:
    sweep = wandb.sweep(SWEEP, entity=ENTITY, project="toys")
    run = begun(sweep_id=sweep)
    for step in (1, 2, 5):
        run.log({"f1": step / 10}, step=step, commit=True)
    run.summary["state"] = "completed"
    run.finish()

    stored = server.run("run-1")
    assert stored.steps == [1, 2, 5]
    assert [row["f1"] for row in stored.history] == [0.1, 0.2, 0.5]
    assert stored.summary["state"] == "completed"
    assert stored.values == {"lr": 0.15}
    assert (stored.state, stored.sweep) == ("finished", sweep)
    assert server.sweeps[sweep].parsed == SWEEP
    shown = api().run(f"{ENTITY}/toys/run-1")
    assert (shown.lastHistoryStep, shown.config, shown.sweep_name) == (5, {"lr": 0.15}, sweep)
    (listed,) = api().project("toys", ENTITY).sweeps()
    assert (listed.id, listed.state, listed.description) == (sweep, "RUNNING", "a toy")
    assert server.unknown == []


def test_a_continued_run_knows_where_it_stopped(server: WandbServer) -> None:
    for start, steps in ((0, (1, 2)), (3, (3, 7))):
        run = begun()
        assert run.starting_step == start
        for step in steps:
            run.log({"f1": 0.5}, step=step, commit=True)
        run.finish()
    assert server.run("run-1").steps == [1, 2, 3, 7]
    assert server.calls["RunResumeStatus"] == 2


def test_a_fault_lasts_as_many_requests_as_it_says(server: WandbServer) -> None:
    server.break_down("GetDefaultEntity", status=403, times=1)
    with pytest.raises(WandbApiFailedError, match="fault 403"):
        wandb.Api(timeout=5).default_entity  # noqa: B018 - the access is the request
    assert wandb.Api(timeout=5).default_entity == ENTITY
    assert server.calls["GetDefaultEntity"] == 2


def test_an_answer_can_be_lost_after_the_request_was_carried_out(server: WandbServer) -> None:
    server.break_down("UpsertSweep", lose=True, times=1)
    wandb.sweep(SWEEP, entity=ENTITY, project="toys")  # the client tries again
    assert len(server.sweeps) == 2


@pytest.mark.usefixtures("impatient")
def test_the_button_that_stops_a_run_calls_the_client(server: WandbServer) -> None:
    pressed = threading.Event()
    run = begun(stop_fn=pressed.set)
    api().run(f"{ENTITY}/toys/run-1").stop()
    assert server.run("run-1").stopped
    run.log({"f1": 0.5}, step=1, commit=True)
    assert pressed.wait(timeout=60)
    run.finish()


def test_what_the_stand_in_does_not_know_is_on_record(server: WandbServer) -> None:
    with pytest.raises(WandbApiFailedError, match="unknown operation IntrospectionQuery"):
        api()._service_api.execute_graphql("query IntrospectionQuery { __schema }")
    assert server.unknown == ["IntrospectionQuery"]
