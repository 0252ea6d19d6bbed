"""What all tests share: which of them run, in which order, and what they do not pay for."""

import gc
import os
from collections.abc import Generator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent
# `--quick` leaves out what starts processes, servers or databases, and what trains networks for
# seconds; of a long table it takes three rows
PROCESSES = {"process", "postgresql_server", "postgresql_url", "another", "child"}
NOT_QUICK = (
    "foldsweep",
    "integration",
    "sweeps/cli",
    "sweeps/preparing/test_feasible.py",
    "sweeps/preparing/test_opening.py",
    "sweeps/ray_tune",
    "sweeps/results/test_view.py",
    "sweeps/running/test_asking.py",
    "sweeps/running/test_driver_recovery.py",
    "sweeps/running/test_trial",
    "sweeps/samples",
    "sweeps/shipping",
    "sweeps/study",
    "sweeps/test_sweep.py",
    "sweeps/tracking/test_tracker_contract.py",
    "sweeps/tracking/test_wandb",
    "sweeps/upkeep",
    "trainer/data/test_corpus.py",
    "trainer/data/test_decoded_once.py",
    "trainer/images/test_cache_files.py",
    "trainer/model/test_backbone.py",
    "trainer/test_main.py",
    "trainer/training",
)
# the longest files come first, so that the two processes end at the same time
FIRST = ("integration", "trainer/training", "sweeps/running", "sweeps/cli")

# threads of torch that wait for each other sleep: spinning, they take the cores from other tests
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
if "PYTEST_XDIST_WORKER" in os.environ:
    # Processes that tests start are not measured: it would cost each of them a second, and what
    # they run is covered in this process as well.
    os.environ.pop("COVERAGE_PROCESS_CONFIG", None)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests marked slow, too")
    parser.addoption("--quick", action="store_true", help="no processes, no servers, no trainings")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Files of which `--quick` takes nothing are not even imported; None leaves it to pytest."""
    place = collection_path.relative_to(ROOT).as_posix()
    return True if config.getoption("--quick") and place.startswith(NOT_QUICK) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    chosen = [item for item in items if _runs(item, config)]
    if config.getoption("--quick"):
        chosen = [item for rows in _tables(chosen).values() for item in _three_of(rows)]
    kept = set(chosen)
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = sorted(chosen, key=_rank)


def _runs(item: pytest.Item, config: pytest.Config) -> bool:
    if item.get_closest_marker("slow") and not config.getoption("--slow"):
        return False
    if not config.getoption("--quick"):
        return True
    fixtures = set(getattr(item, "fixturenames", ()))
    return not (fixtures & PROCESSES or "postgresql" in item.name)


def _tables(items: list[pytest.Item]) -> dict[str, list[pytest.Item]]:
    """The items by test function: those of one function are the rows of its table."""
    tables: dict[str, list[pytest.Item]] = {}
    for item in items:
        tables.setdefault(item.nodeid.partition("[")[0], []).append(item)
    return tables


def _three_of(rows: list[pytest.Item]) -> list[pytest.Item]:
    """The first, the middle and the last row."""
    return [rows[at] for at in sorted({0, len(rows) // 2, len(rows) - 1})]


def _rank(item: pytest.Item) -> int:
    place = _place(item)
    return next((at for at, start in enumerate(FIRST) if place.startswith(start)), len(FIRST))


def _place(item: pytest.Item) -> str:
    return item.path.relative_to(ROOT).as_posix()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Without the collector, which looks again and again at what stays: a fifth of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Hide what is imported by now from the collector, as a worker does before its first trial.

    A full collection, of which a trial makes two, then takes 10 ms in place of 400.
    """
    gc.collect()
    gc.freeze()


def pytest_unconfigure(config: pytest.Config) -> None:
    gc.unfreeze()  # extension modules complain of what is left at the exit
