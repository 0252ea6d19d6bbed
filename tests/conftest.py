"""What all tests share: which of them run, in which order, and what they do not pay for."""

import gc
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parent
# `--quick` leaves out what starts processes or servers, and what trains networks for seconds
PROCESSES = {"process", "postgresql_server", "postgresql_url", "another", "child"}
TRAINS = (
    "integration",
    "trainer/training",
    "trainer/model/test_backbone.py",
    "trainer/data/test_corpus.py",
    "trainer/test_main.py",
    "sweeps/running/test_trial",
    "sweeps/running/test_driver_recovery.py",
    "sweeps/cli",
    "sweeps/preparing/test_feasible.py",
    "sweeps/ray_tune",
)
# the longest files come first, so that the two processes end at the same time
FIRST = ("integration", "trainer/training", "sweeps/running", "sweeps/cli")

if "PYTEST_XDIST_WORKER" in os.environ:
    # Processes that tests start are not measured: it would cost each of them a second, and what
    # they run is covered in this process as well.
    os.environ.pop("COVERAGE_PROCESS_CONFIG", None)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests marked slow, too")
    parser.addoption("--quick", action="store_true", help="no processes, no servers, no trainings")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    chosen = [item for item in items if _runs(item, config)]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(chosen)])
    items[:] = sorted(chosen, key=_rank)


def _runs(item: pytest.Item, config: pytest.Config) -> bool:
    if item.get_closest_marker("slow") and not config.getoption("--slow"):
        return False
    if not config.getoption("--quick"):
        return True
    fixtures = set(getattr(item, "fixturenames", ()))
    return not (
        _place(item).startswith(TRAINS) or fixtures & PROCESSES or "postgresql" in item.name
    )


def _rank(item: pytest.Item) -> int:
    place = _place(item)
    return next((at for at, start in enumerate(FIRST) if place.startswith(start)), len(FIRST))


def _place(item: pytest.Item) -> str:
    return item.path.relative_to(ROOT).as_posix()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Hide what is imported by now from the collector, as a worker does before its first trial.

    A full collection, of which a trial makes two, then takes 10 ms in place of 400.
    """
    gc.collect()
    gc.freeze()


def pytest_unconfigure(config: pytest.Config) -> None:
    gc.unfreeze()  # extension modules complain of what is left at the exit
