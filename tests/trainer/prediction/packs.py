"""Packed models of a trial that was trained on a few small photos."""

from pathlib import Path

from tests.trainer.prediction.fold_runs import (
    BOX,
    Trained,
    data_options,
    settings,
    train_trial,
    write_photos,
)
from trainer.metrics import Probs
from trainer.prediction.calibration import Calibration
from trainer.prediction.classes import Classes
from trainer.prediction.decision import Decision
from trainer.prediction.fold_model import FoldModel
from trainer.prediction.mixture import Member, Mixture
from trainer.prediction.packed import Packed, write_packed
from trainer.prediction.predicting import Predictor

# of two label columns, neither flat nor the same for all classes
BIAS = (0.1, -0.2, 0.05, 0.0, 0.3, -0.1)


def trained(folder: Path, **changes: object) -> Trained:
    """A trial of two folds on photos with boxes and two label columns."""
    return train_trial(
        folder / "trial", settings(**changes), data_options(write_photos(folder / "photos"))
    )


def packed_of(trial: Trained, **members: list[FoldModel]) -> Packed:
    """Members with calibrations, and a rule: nothing in it is the default."""
    models = members or {"mask/trial-0003": trial.models()}
    weight = 1 / len(models)
    k = len(trial.folds.manifest.classes)
    mixture = Mixture(
        tuple(Member(name, weight, Calibration(1.3, BIAS[:k])) for name in models),
        Calibration(0.8, tuple(reversed(BIAS[:k]))),
        Decision("f1", tuple(1 + 0.1 * i for i in range(k)), tuple(0.01 * i for i in range(k))),
    )
    predictor = Predictor(mixture, models, trial.prior_K)
    return Packed(predictor, Classes.of(trial.folds.manifest), {"image": "path", "box": list(BOX)})


def written(packed: Packed, folder: Path) -> Path:
    """Write a packed model into a new folder."""
    folder.mkdir()
    write_packed(folder, packed)
    return folder


def probs_of(packed: Packed, trial: Trained) -> Probs:
    """What it says of the training photos, read again as unseen images."""
    from tests.trainer.prediction.fold_runs import predicted
    from trainer.prediction.unseen import read_unseen

    return predicted(packed.predictor, read_unseen(trial.data, boxes=True)).probs_NK
