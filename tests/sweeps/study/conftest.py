"""Leases and recorders that end with their test, sweeps to record, a server with a password."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import optuna
import pytest
import sqlalchemy as sa
from optuna.storages import RDBStorage

from sweeps.errors import InfrastructureError
from sweeps.study.lease import Lease, Times
from sweeps.study.recorder import Recorder
from sweeps.study.stored_sweep import StoredSweep
from tests.postgres import Server
from tests.sweeps.study.leases import NEVER_S, Acquire, unexpected
from tests.sweeps.study.passwords import PASSWORD
from tests.sweeps.study.stored_trials import Make
from tests.sweeps.study.waiting import WAIT_S


@pytest.fixture
def acquire(engine: sa.Engine) -> Iterator[Acquire]:
    """Take the lease of "toy", or of another sweep; released after the test."""
    leases = []

    def acquire(sweep: str = "toy", **options: Any) -> Lease:
        never = dict.fromkeys(("ttl_s", "renew_every_s", "poll_every_s"), NEVER_S)
        given = {
            field.name: options.pop(field.name)
            for field in dataclasses.fields(Times)
            if field.name in options
        }
        times = Times(**{**never, **given})
        lease = Lease.acquire(engine, sweep, times=times, **{"on_lost": unexpected, **options})
        leases.append(lease)
        return lease

    yield acquire
    for lease in leases:
        lease.release()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """PostgreSQL that trusts everybody but carol, whose database is `carols`."""
    server = Server()
    server.run(
        f"CREATE ROLE carol LOGIN PASSWORD '{PASSWORD}'", "CREATE DATABASE carols OWNER carol"
    )
    server.ask_for_passwords("carol")
    yield server
    server.close()


@pytest.fixture
def sweep(storage: RDBStorage, make_spec: Make) -> StoredSweep:
    """A new sweep in the storage."""
    return StoredSweep.create(storage, make_spec(), identity="the-uuid")


@pytest.fixture
def memory() -> optuna.Study:
    """What the driver decides from."""
    return optuna.create_study(direction="maximize")


@pytest.fixture
def failures() -> list[InfrastructureError]:
    """What the recorder said it could not do."""
    return []


@pytest.fixture
def record(
    sweep: StoredSweep, failures: list[InfrastructureError]
) -> Iterator[Callable[..., Recorder]]:
    """Open a recorder; closed after the test."""
    recorders = []

    def record(**options: Any) -> Recorder:
        recorders.append(
            Recorder(
                sweep,
                **{
                    "on_failed": failures.append,
                    "patience_s": WAIT_S,
                    "retry_every_s": 0.001,
                    **options,
                },
            )
        )
        return recorders[-1]

    yield record
    for recorder in recorders:
        recorder.close()
