"""A lease that is kept, lost, or asked to stop. Every test runs on SQLite and on PostgreSQL."""

import os
from typing import Any

import pytest
import sqlalchemy as sa

from sweeps.errors import InfrastructureError, InputError, LeaseLostError
from sweeps.study.lease import Lease, find_holder, request_stop
from tests.sweeps.study.leases import (
    Acquire,
    Outage,
    change,
    ended_process,
    expiry,
    server_now,
    started,
    unexpected,
)
from tests.sweeps.study.waiting import WAIT_S, until

# --- kept and lost


def test_a_lease_is_renewed_by_the_servers_clock(engine: sa.Engine, acquire: Acquire) -> None:
    acquire(renew_every_s=0.01, ttl_s=60.0)
    change(engine, expires=0.0)
    until(lambda: expiry(engine) > 0)
    assert expiry(engine) == pytest.approx(server_now(engine) + 60, abs=30)


def test_no_clock_of_the_driver_enters_the_row(engine: sa.Engine, acquire: Acquire) -> None:
    """So it may be wrong by hours: all that the database is told in numbers is how long, who,
    and whom to replace.
    """
    sent: set[float] = set()

    def listen(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        values = parameters.values() if isinstance(parameters, dict) else parameters
        sent.update(value for value in values if isinstance(value, float | int))

    sa.event.listen(engine, "before_cursor_execute", listen)
    lease = acquire(ttl_s=61.5)
    lease._renew()
    change(engine, expires=0.0)
    acquire(ttl_s=61.5)
    request_stop(engine, "toy", now=True)
    own = {value for value in sent if value == os.getpid() or abs(value - started(os.getpid())) < 2}
    assert {value for value in sent - own if value not in (0, 1)} == {61.5}


@pytest.fixture
def told() -> list[InfrastructureError]:
    """What a lease said when it was lost."""
    return []


def test_a_stolen_lease_is_reported_once(
    engine: sa.Engine, acquire: Acquire, told: list[InfrastructureError]
) -> None:
    lease = acquire(on_lost=told.append, renew_every_s=0.05, ttl_s=0.0)
    change(engine, owner="a thief")
    assert lease._thread is not None
    lease._thread.join(WAIT_S)  # it ends by itself: nothing is left to renew
    assert not lease._thread.is_alive()
    with pytest.raises(LeaseLostError, match="another driver took over sweep 'toy'"):
        lease.confirm()
    assert [(type(error), str(error)) for error in told] == [
        (LeaseLostError, "another driver took over sweep 'toy'; this one stops")
    ]


def test_the_release_of_a_stolen_lease_leaves_it_to_the_thief(
    engine: sa.Engine, acquire: Acquire
) -> None:
    lease = acquire()
    change(engine, owner="a thief")
    lease.release()
    holder = find_holder(engine, "toy")
    assert holder is not None
    assert holder.owner == "a thief"


class Clock:
    """A clock of the driver that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_fresh_lease_is_confirmed_without_asking(engine: sa.Engine, acquire: Acquire) -> None:
    clock = Clock()
    outage = Outage(engine)
    lease = acquire(clock=clock, ttl_s=60.0)
    outage.on = True
    clock.now += 30
    lease.confirm()
    assert outage.asked == 0
    clock.now += 1
    with pytest.raises(sa.exc.OperationalError, match="server gone"):
        lease.confirm()
    outage.on = False
    change(engine, expires=0.0)  # nobody came meanwhile: it is still ours
    lease.confirm()
    assert expiry(engine) > 0
    outage.on = True
    clock.now += 29
    lease.confirm()
    outage.on = False


def test_a_stale_lease_that_another_driver_took_is_not_confirmed(
    engine: sa.Engine, acquire: Acquire, told: list[InfrastructureError]
) -> None:
    clock = Clock()
    lease = acquire(clock=clock, ttl_s=60.0, on_lost=told.append)
    change(engine, expires=0.0)
    second = acquire(ttl_s=60.0)
    clock.now += 61
    for _ in range(2):
        with pytest.raises(
            LeaseLostError, match="another driver took over sweep 'toy'; this one stops"
        ):
            lease.confirm()
    second.confirm()
    assert [type(error) for error in told] == [LeaseLostError]
    lease.release()
    assert find_holder(engine, "toy") is not None


def test_a_storage_that_stays_away_longer_than_the_lease_is_waited_for(
    engine: sa.Engine, acquire: Acquire
) -> None:
    clock = Clock()
    outage = Outage(engine)
    acquire(clock=clock, renew_every_s=0.01, ttl_s=60.0, patience_s=600.0)
    outage.on = True
    until(lambda: outage.asked >= 1)
    clock.now += 599
    asked = outage.asked
    until(lambda: outage.asked >= asked + 3)  # any loss would have been told
    outage.on = False
    change(engine, expires=0.0)
    clock.now += 1  # should it have been renewed just before the change
    until(lambda: expiry(engine) > 0)


def test_a_storage_that_stays_away_longer_than_patience_is_reported_once(
    engine: sa.Engine, acquire: Acquire, told: list[InfrastructureError]
) -> None:
    clock = Clock()
    outage = Outage(engine)
    lease = acquire(clock=clock, renew_every_s=0.01, patience_s=600.0, on_lost=told.append)
    outage.on = True
    until(lambda: outage.asked >= 1)
    clock.now += 600
    assert lease._thread is not None
    lease._thread.join(WAIT_S)
    outage.on = False
    lease.release()
    assert [(type(error), str(error)) for error in told] == [
        (
            InfrastructureError,
            "the storage of sweep 'toy' did not answer for 600 s (server gone second line). "
            "Finished folds are on disk; run the same command again to continue",
        )
    ]


def test_a_storage_that_cannot_be_written_is_named(engine: sa.Engine) -> None:
    outage = Outage(engine)
    outage.on = True
    with pytest.raises(
        InfrastructureError, match=r"^the storage cannot be written \(server gone second line\)$"
    ):
        Lease.acquire(engine, "toy", on_lost=unexpected)
    outage.on = False


def test_a_release_is_silent_when_the_storage_is_gone(engine: sa.Engine, acquire: Acquire) -> None:
    lease = acquire()
    outage = Outage(engine)
    outage.on = True
    lease.release()
    outage.on = False
    assert outage.asked >= 1
    assert find_holder(engine, "toy") is not None


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_bug_where_the_lease_is_renewed_is_told(
    engine: sa.Engine, acquire: Acquire, told: list[InfrastructureError]
) -> None:
    def bug(now: bool) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    lease = acquire(on_stop=bug, on_lost=told.append, poll_every_s=0.01)
    request_stop(engine, "toy", now=False)
    lease._thread.join(WAIT_S)
    assert [(type(error), str(error)) for error in told] == [
        (
            InfrastructureError,
            "the renewal of the lease of sweep 'toy' stopped by a bug; its traceback is above. "
            "Finished folds are on disk; run the same command again to continue",
        )
    ]


def test_a_driver_that_woke_without_its_lease_is_told_so_whatever_it_stumbles_over(
    engine: sa.Engine, acquire: Acquire, told: list[InfrastructureError]
) -> None:
    clock = Clock()
    lease = acquire(clock=clock, ttl_s=60.0, on_lost=told.append)
    change(engine, owner="a successor")
    with pytest.raises(FileNotFoundError), lease:
        raise FileNotFoundError("a trial that is gone")  # the lease was fresh a moment ago
    clock.now += 3600
    stumbled = InfrastructureError("Ray does not answer any more")
    with (
        pytest.raises(
            LeaseLostError, match="another driver took over sweep 'toy'; this one stops"
        ) as caught,
        lease,
    ):
        raise stumbled
    assert caught.value.__cause__ is stumbled


@pytest.mark.parametrize("silent", [False, True])
def test_a_lease_that_is_kept_or_cannot_be_asked_for_explains_nothing(
    engine: sa.Engine, acquire: Acquire, silent: bool
) -> None:
    clock = Clock()
    lease = acquire(clock=clock, ttl_s=60.0)
    clock.now += 3600
    outage = Outage(engine)
    outage.on = silent
    with pytest.raises(InfrastructureError, match="Ray does not answer"), lease:
        raise InfrastructureError("Ray does not answer any more")
    outage.on = False


# --- asked to stop


@pytest.fixture
def asked() -> list[bool]:
    """What a driver was asked: whether to stop at once."""
    return []


def test_a_driver_hears_a_request_once_and_a_stronger_one_too(
    engine: sa.Engine, acquire: Acquire, asked: list[bool]
) -> None:
    acquire(on_stop=asked.append, poll_every_s=0.01)
    holder = request_stop(engine, "toy", now=False)
    assert holder == find_holder(engine, "toy")
    until(lambda: asked == [False])
    request_stop(engine, "toy", now=False)
    request_stop(engine, "toy", now=True)
    until(lambda: asked == [False, True])
    request_stop(engine, "toy", now=False)  # the stronger one holds
    renewals = Outage(engine)
    renewals.on = True
    until(lambda: renewals.asked >= 2)
    renewals.on = False
    assert asked == [False, True]


def test_a_request_reaches_its_own_sweep_only(
    engine: sa.Engine, acquire: Acquire, asked: list[bool]
) -> None:
    acquire("one", on_stop=asked.append, poll_every_s=0.01)
    acquire("two")
    request_stop(engine, "two", now=True)
    request_stop(engine, "one", now=False)
    until(lambda: bool(asked))
    assert asked == [False]


def test_a_new_driver_does_not_hear_what_its_predecessor_was_asked(
    engine: sa.Engine, acquire: Acquire, asked: list[bool]
) -> None:
    acquire()
    request_stop(engine, "toy", now=True)
    change(engine, expires=0.0)
    acquire(on_stop=asked.append, poll_every_s=0.01)
    request_stop(engine, "toy", now=False)
    until(lambda: bool(asked))
    assert asked == [False]


NOBODY = "so there is nothing to stop. `sweeps status toy` shows how far it is"


def test_nobody_can_be_asked_where_nobody_drives(engine: sa.Engine, acquire: Acquire) -> None:
    with pytest.raises(InputError, match="nobody drives") as caught:
        request_stop(engine, "toy", now=False)
    assert str(caught.value) == f"nobody drives sweep 'toy' now, {NOBODY}"


@pytest.mark.parametrize("end", ["expired", "dead"])
def test_a_driver_that_is_gone_cannot_be_asked(
    engine: sa.Engine, acquire: Acquire, end: str
) -> None:
    acquire()
    pid, start = ended_process()
    change(
        engine,
        since=0.0,
        **({"expires": 0.0} if end == "expired" else {"pid": pid, "process_start": start}),
    )
    holder = find_holder(engine, "toy", include_expired=True)
    with pytest.raises(InputError, match="nobody drives") as caught:
        request_stop(engine, "toy", now=True)
    assert (
        str(caught.value)
        == f"nobody drives sweep 'toy' now (its last driver, {holder}, is gone), {NOBODY}"
    )
