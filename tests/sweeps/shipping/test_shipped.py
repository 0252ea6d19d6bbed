"""What leaves a sweep: its choice, a trial, or its best trials."""

import numpy as np
import pytest

from sweeps.errors import InputError
from sweeps.results.choice import Wish, choose
from sweeps.results.chosen import names_of
from sweeps.results.foreign import read_foreign
from sweeps.results.metric import Predicted
from tests.sweeps.shipping.conftest import Ships


def test_the_choice_of_the_sweep_is_shipped(ships: Ships, view, people):
    told = []
    shipped = ships(tell=told.append)
    choice = choose(view, runs=people)
    assert shipped.mixture == choice.mixture
    assert shipped.expected == choice.expected
    assert shipped.directories == {
        member.name: people / member.name for member in choice.mixture.members
    }
    alone = names_of(choice)[shipped.mixture.members[0].name]
    assert shipped.title == (alone if len(shipped.mixture.members) == 1 else "the ensemble")
    assert told
    assert shipped.foreign == {}
    for name in shipped.directories:
        assert shipped.code(name) == people / "people/code"


def test_its_out_of_fold_probabilities_score_as_the_choice_says(ships: Ships, view, people):
    shipped = ships()
    probs_NK = shipped.oof()
    labels_N = shipped.folds.manifest.labels_N[shipped.folds.scored_rows()]
    scored = Predicted(probs_NK, shipped.mixture.decision.of(probs_NK))
    choice = choose(view, runs=people)
    alone = choice.of(choice.chosen).oof_score
    expected = choice.oof_score if choice.ships_ensemble else alone
    assert shipped.metric.score(scored, labels_N) == pytest.approx(expected)
    assert sum(shipped.prior_K) == pytest.approx(1)
    assert len(shipped.prior_K) == 4


def test_a_trial_and_the_best_trials_can_be_shipped_instead(ships: Ships, view):
    one = ships(trial=2)
    assert (one.title, one.names) == ("trial 2", {"people/trial-0002": "trial 2"})
    assert [(m.name, m.weight) for m in one.mixture.members] == [("people/trial-0002", 1.0)]
    assert one.expected is None
    best = [trial.number for trial in view.ranked()[:3]]
    three = ships(topk=3)
    assert three.title == "the best 3 trials"
    assert {m.name for m in three.mixture.members} == {f"people/trial-000{n}" for n in best}
    assert [m.weight for m in three.mixture.members] == pytest.approx([1 / 3] * 3)
    assert len(ships(topk=50).mixture.members) == 4


def test_foreign_predictions_that_are_members_are_shipped_with_their_file(ships: Ships, tmp_path):
    manifest = ships(trial=0).folds.manifest
    probs_NK = np.full((len(manifest), 4), 0.01, dtype=np.float32)
    probs_NK[np.arange(len(manifest)), manifest.labels_N] = 0.97
    np.savez(tmp_path / "notebook.npz", ids=np.array(manifest.paths), probs=probs_NK)
    shipped = ships(wish=Wish(foreign=[read_foreign(tmp_path / "notebook.npz")]))
    assert set(shipped.foreign) == {"notebook.npz"}
    assert "notebook.npz" in {member.name for member in shipped.mixture.members}
    assert shipped.oof().shape == (len(manifest), 4)


def test_trials_that_do_not_exist_are_refused(ships: Ships):
    with pytest.raises(InputError, match=r"^--trial and --topk name different trials: give one"):
        ships(trial=1, topk=2)
    with pytest.raises(InputError, match=r"^--trial 9: not a completed trial of people"):
        ships(trial=9)
