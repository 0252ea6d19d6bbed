"""Which images have a row in the out-of-fold predictions of a trial."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from sweeps.errors import InputError
from sweeps.results.out_of_fold import out_of_fold
from sweeps.space.spec import SweepSpec
from tests.paper_predictions import paper_folds, random_probs, save, save_all
from tests.sweeps.fabricated import Fabricated
from trainer.data.fold_column import ALWAYS_TRAINED, HOLDOUT
from trainer.data.fold_files import save_folds
from trainer.data.folds import Folds
from trainer.training.result import RESULT

UNSEEN = [0, 5]
FOLDS = Folds(
    paper_folds().manifest,
    np.array([HOLDOUT, 0, 1, 2, 0, ALWAYS_TRAINED, 1, 2, 0, 1, 2, 0]),
    k=3,
    seed=0,
    holdout=0.1,
)


@pytest.fixture
def toy(sqlite_storage: RDBStorage, make_spec: Callable[..., SweepSpec], tmp_path: Path):
    toy = Fabricated(sqlite_storage, make_spec(), tmp_path / "runs")
    save_folds(FOLDS, toy.files.folds_file)
    return toy


def test_images_that_no_fold_holds_out_have_no_row(toy: Fabricated):
    number = toy.add()
    save_all(toy.directory(number), FOLDS, random_probs())
    found = out_of_fold(toy.view(), number, runs=toy.runs)
    rows = np.delete(np.arange(12), UNSEEN)
    assert np.array_equal(found.rows_N, rows)
    assert np.array_equal(found.probs_NK, random_probs()[rows])
    assert np.array_equal(found.labels_N, rows % 3)
    assert np.array_equal(found.fold_N, FOLDS.fold_N[rows])
    assert found.paths == tuple(f"/nowhere/{row}.png" for row in rows)
    assert found.folds == (0, 1, 2)


@pytest.mark.parametrize("state", [TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING])
def test_a_trial_that_is_not_complete_has_the_rows_of_its_finished_folds(
    toy: Fabricated, state: TrialState
):
    number = toy.add(state)
    with pytest.raises(InputError, match=f"^trial {number} of sweep 'toy' has no out-of-fold"):
        out_of_fold(toy.view(), number, runs=toy.runs)
    for fold in (0, 2):
        save(toy.directory(number), fold, FOLDS.valid_rows(fold), random_probs(), folds=FOLDS)
    (toy.directory(number) / "fold-2" / RESULT).touch()
    found = out_of_fold(toy.view(), number, runs=toy.runs)
    assert found.folds == (2,)
    assert np.array_equal(found.rows_N, FOLDS.valid_rows(2))
    assert np.array_equal(found.probs_NK, random_probs()[FOLDS.valid_rows(2)])
