"""What all tests share: slow tests by option, and a collector that does not look at libraries."""

import gc

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests marked slow, too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--slow"):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if item not in set(slow)]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Hide what is imported by now from the collector, as a worker does before its first trial.

    A full collection, of which a trial makes two, then takes 10 ms in place of 400.
    """
    gc.collect()
    gc.freeze()


def pytest_unconfigure(config: pytest.Config) -> None:
    gc.unfreeze()  # extension modules complain of what is left at the exit
