"""Asking a sweep's driver to end."""

from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa

from sweeps.study.holder import Holder
from sweeps.study.lease import Lease, Times, find_holder
from sweeps.study.storage import open_storage
from sweeps.study.stored_sweep import StoredSweep
from tests.sweeps.cli.conftest import Ended

Recorded = Callable[..., StoredSweep]
URL = "sqlite:///runs/sweeps.db"


@pytest.fixture
def engine(recorded: Recorded) -> Iterator[sa.Engine]:
    """The database of a sweep named curve."""
    recorded([0, 1, 2])
    storage = open_storage(URL)
    yield storage.engine
    storage.remove_session()
    storage.engine.dispose()


@pytest.fixture
def asked() -> list[bool]:
    """What the driver of curve heard: whether to stop at once."""
    return []


@pytest.fixture
def holder(engine: sa.Engine, asked: list[bool]) -> Iterator[Holder]:
    """The driver of curve."""
    lease = Lease.acquire(
        engine, "curve", on_lost=print, on_stop=asked.append, times=Times(poll_every_s=0.01)
    )
    holder = find_holder(engine, "curve")
    assert holder is not None
    yield holder
    lease.release()


def heard(engine: sa.Engine) -> str | None:
    with engine.connect() as connection:
        return connection.execute(sa.text("SELECT stop FROM foldsweep_leases")).scalar_one()


def test_a_sweep_is_drained(sweeps: Callable[..., Ended], engine: sa.Engine, holder: Holder):
    assert sweeps("stop") == Ended(
        0,
        f"asked {holder} to drain sweep curve: running trials finish, no new ones start\n"
        "at once    sweeps stop curve --now\n"
        "progress   sweeps status curve\n",
        "",
    )
    assert heard(engine) == "drain"
    assert (
        sweeps("stop", "curve") == sweeps("stop", "curve.yaml") == sweeps("stop", "--storage", URL)
    )


def test_a_sweep_is_interrupted(sweeps: Callable[..., Ended], engine: sa.Engine, holder: Holder):
    assert sweeps("stop", "curve", "--now") == Ended(
        0,
        f"asked {holder} to stop sweep curve now: running trials leave a checkpoint\n"
        "progress   sweeps status curve\n",
        "",
    )
    assert heard(engine) == "now"


def test_a_driver_that_has_stored_nothing_yet_is_asked_by_name(
    sweeps: Callable[..., Ended], engine: sa.Engine
):
    lease = Lease.acquire(engine, "new", on_lost=print)
    try:
        assert sweeps("stop", "new").out.startswith(
            f"asked {find_holder(engine, 'new')} to drain sweep new:"
        )
    finally:
        lease.release()


def test_a_sweep_that_nobody_drives(sweeps: Callable[..., Ended], engine: sa.Engine):
    problem = (
        "nobody drives sweep 'curve' now, so there is nothing to stop. `sweeps status curve` shows "
        "how far it is"
    )
    assert sweeps("stop") == sweeps("stop", "curve", "--now") == Ended(2, "", f"error: {problem}\n")


def test_a_sweep_that_does_not_exist(sweeps: Callable[..., Ended], engine: sa.Engine):
    problem = "no sweep 'curves' in this storage. Did you mean 'curve'? `sweeps list` shows them"
    assert sweeps("stop", "curves") == Ended(2, "", f"error: {problem}\n")
