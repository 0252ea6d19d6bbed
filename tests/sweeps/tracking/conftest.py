"""A sweep that trackers show; W&B's real client, and the stand-in that it talks to."""

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes.wandb_server import WandbServer, wandb_server
from tests.sweeps.tracking.simulated import TrackedSweep


@pytest.fixture
def tracked(tmp_path: Path) -> Callable[..., TrackedSweep]:
    """Make a sweep of three trials; arguments are settings of its search space."""
    return lambda *settings: TrackedSweep(tmp_path / "runs", *settings)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WandbServer]:
    """The stand-in, with the environment of a user who is logged in there.

    What the client does to the environment and to this process is undone.
    """
    import wandb  # 0.3 s

    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        del os.environ[name]
    with wandb_server() as server:
        os.environ.update(
            HOME=str(tmp_path),  # no netrc and no settings of the developer's
            WANDB_BASE_URL=server.url,
            WANDB_API_KEY="k" * 40,
            WANDB_ERROR_REPORTING="false",
            WANDB_DIR=str(tmp_path),
            WANDB_SILENT="true",
        )
        try:
            yield server
        finally:
            server.heal()
            wandb.teardown()
            os.environ.clear()
            os.environ.update(before)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client asks all the time whether somebody stopped a run, not every 15 s."""
    from wandb.sdk.lib import run_stopping

    monkeypatch.setattr(run_stopping, "_SLEEP", lambda seconds: asyncio.sleep(0.05))
