"""Search spaces with any sampler."""

from typing import Any

import pytest

from sweeps.search import models
from sweeps.search.models import MODELS
from sweeps.space.language import read_space
from sweeps.space.spec import SweepSpec
from tests.sweeps.search.proposals import GRID, PARAMETERS, Make


@pytest.fixture
def small_population(monkeypatch: pytest.MonkeyPatch) -> None:
    """NSGA-II's generations of 6 instead of 50 trials."""
    monkeypatch.setitem(
        MODELS, "nsgaii", lambda seed: models._Genetic(seed=seed, population_size=6)
    )


@pytest.fixture
def make(make_spec: Make) -> Make:
    """A spec with any sampler and three folds; parameter names are free."""

    def made(
        sampler: str = "random", *, parameters: dict[str, Any] | None = None, **changes: Any
    ) -> SweepSpec:
        finite = sampler in ("grid", "brute_force")
        space, problems = read_space(parameters or (GRID if finite else PARAMETERS))
        assert problems == []
        return make_spec(folds={"k": 3, "seed": 1}).model_copy(
            update={"method": "custom", "sampler": sampler, "space": space, **changes}
        )

    return made
