"""Real processes that rehearse, and one that is killed."""

from collections.abc import Callable
from pathlib import Path

from sweeps.preparing.stage import KILLED, Stage
from tests.fakes import write_photos
from trainer.config import TrainConfig
from trainer.data.cut import cut_data
from trainer.data.fold_files import save_folds
from trainer.data.options import DataOptions, FoldOptions
from trainer.training.rehearsed import Order, Refused, Rehearsed, Size

KILLER = "import os\n\ndef loss(logits_BK, targets_BK):\n    os._exit(9)\n"


def orders(folder: Path) -> Callable[..., Order]:
    source = str(write_photos(folder / "photos"))
    folds = cut_data(DataOptions(source=source), FoldOptions(k=2)).folds
    save_folds(folds, folder / "folds.npz")
    (folder / "killer.py").write_text(KILLER)

    def order(**changes: object) -> Order:
        values = {"backbone": "test_resnet", "weights": "none", "resize": 16, "batch_size": 10}
        config = TrainConfig(**{**values, **changes})
        size = Size.of(folds)
        return Order(config, folder / "folds.npz", size, "cpu", threads=1, seconds=0, code=folder)

    return order


def test_a_process_that_is_killed_is_a_rehearsal_that_does_not_fit(tmp_path: Path) -> None:
    order = orders(tmp_path)
    with Stage() as stage:
        assert stage.act(order(loss="killer.py:loss")) == Refused("memory", KILLED)
        assert isinstance(stage.act(order()), Rehearsed)
        assert stage.gpus() is None
