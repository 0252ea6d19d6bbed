"""One training: a fold run from images to scores, weights and out-of-fold probabilities.

`run_fold(FoldSetup(...), reporter)` trains one fold; `python -m trainer` does it from a YAML file.
Nothing here knows of sweeps, Ray, Optuna or W&B. The names below are imported when they are first
used.
"""

from typing import TYPE_CHECKING

from trainer.lazy import lazy

if TYPE_CHECKING:
    from trainer.config import TrainConfig
    from trainer.data.fold_files import load_folds
    from trainer.data.folds import Folds
    from trainer.errors import TrainerError
    from trainer.metrics import METRICS, Goal, score_fold
    from trainer.training.fit import run_fold
    from trainer.training.fold_setup import FoldSetup
    from trainer.training.oof import read_oof
    from trainer.training.result import FoldResult

__all__ = [
    "METRICS",
    "FoldResult",
    "FoldSetup",
    "Folds",
    "Goal",
    "TrainConfig",
    "TrainerError",
    "load_folds",
    "read_oof",
    "run_fold",
    "score_fold",
]

__getattr__ = lazy(
    "trainer",
    {
        "METRICS": "trainer.metrics",
        "FoldResult": "trainer.training.result",
        "FoldSetup": "trainer.training.fold_setup",
        "Folds": "trainer.data.folds",
        "Goal": "trainer.metrics",
        "TrainConfig": "trainer.config",
        "TrainerError": "trainer.errors",
        "load_folds": "trainer.data.fold_files",
        "read_oof": "trainer.training.oof",
        "run_fold": "trainer.training.fit",
        "score_fold": "trainer.metrics",
    },
)
