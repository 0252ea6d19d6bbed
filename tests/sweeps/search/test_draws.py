"""Draws at random follow the exact laws."""

import numpy as np
import pytest
import scipy.stats

from sweeps.search import draws
from sweeps.search.sampling import propose
from tests.sweeps.search.proposals import PARAMETERS, Make, new_study


def test_a_random_draw_is_the_laws_at_a_share_of_its_own(make: Make) -> None:
    spec = make("random")
    study = new_study()
    for number in range(20):
        for name, value in propose(study, spec, number=number).params.items():
            assert value == spec.space[name].domain.draw(draws.share(spec, name, number=number))


def test_the_shares_are_uniform_and_independent(make: Make) -> None:
    spec = make("random")
    shares_NP = np.array(
        [[draws.share(spec, name, number=number) for name in "ab"] for number in range(2000)]
    )
    assert shares_NP.min() >= 0
    assert shares_NP.max() < 1
    assert scipy.stats.kstest(shares_NP[:, 0], "uniform").pvalue > 0.01
    assert abs(np.corrcoef(shares_NP.T)[0, 1]) < 0.05
    assert abs(np.corrcoef(shares_NP[1:, 0], shares_NP[:-1, 0])[0, 1]) < 0.05


def test_the_greatest_share_is_below_one(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draws, "derive", lambda *purpose: 2**63 - 1)
    assert draws.share(make(), "a", number=0) < 1


@pytest.mark.parametrize("sampler", ["random", "qmc"])
def test_normal_and_weighted_parameters_follow_their_laws(make: Make, sampler: str) -> None:
    parameters = {"shift": PARAMETERS["shift"], "optimizer": PARAMETERS["optimizer"]}
    spec = make(sampler, parameters=parameters)
    study = new_study()
    drawn = [propose(study, spec, number=number).params for number in range(512)]
    assert (
        scipy.stats.kstest([d["shift"] for d in drawn], scipy.stats.norm(1.0, 0.5).cdf).pvalue
        > 0.01
    )
    counts = [sum(d["optimizer"] == name for d in drawn) for name in ("adamw", "sgd", "madgrad")]
    assert scipy.stats.chisquare(counts, [512 * p for p in (0.2, 0.5, 0.3)]).pvalue > 0.01


def test_qmc_fills_the_space_evenly_from_the_first_trial_on(make: Make) -> None:
    parameters = {name: {"min": 0.0, "max": 1.0} for name in "ab"}
    spec = make("qmc", parameters=parameters)
    study = new_study()
    points = [propose(study, spec, number=number).params for number in range(16)]
    for name in "ab":  # one point in each sixteenth; one in each cell of 4 x 4
        assert sorted(int(16 * point[name]) for point in points) == list(range(16))
    assert len({(int(4 * point["a"]), int(4 * point["b"])) for point in points}) == 16
