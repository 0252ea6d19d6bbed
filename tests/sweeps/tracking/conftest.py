"""A sweep that trackers show."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.sweeps.tracking.simulated import TrackedSweep


@pytest.fixture
def tracked(tmp_path: Path) -> Callable[..., TrackedSweep]:
    """Make a sweep of three trials; arguments are settings of its search space."""
    return lambda *settings: TrackedSweep(tmp_path / "runs", *settings)
