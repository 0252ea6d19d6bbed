"""What a trained sweep ships."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps.results.choice import NO_WISH
from sweeps.results.view import SweepView, find_sweep
from sweeps.shipping.shipped import Shipped, what_ships
from sweeps.study.storage import open_storage
from tests.sweeps.conftest import close

Ships = Callable[..., Shipped]


@pytest.fixture
def view(people: Path):
    """The trained sweep as it is stored."""
    storage = open_storage(f"sqlite:///{people}/sweeps.db")
    yield SweepView.read(find_sweep(storage, "people"))
    close(storage)


@pytest.fixture
def ships(view: SweepView, people: Path) -> Ships:
    """What is shipped with these options."""
    return lambda **options: what_ships(view, runs=people, **({"wish": NO_WISH} | options))
