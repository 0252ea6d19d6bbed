"""A refit in progress: a training on all images, with the decisions that the folds agreed on.

No image is held out, so a refit has no score, and nothing in it depends on a score (see
agreement.py). On digits the average of three refits with different seeds gained 3.2 points over one
fold model, that of five fold models 2.6, one refit 1.9 (benchmarks/refit.py).
"""

import dataclasses
import functools
from typing import Any

import numpy as np
import torch

from trainer.data.placing import Ints
from trainer.errors import LOWER_RATE, NonFiniteLossError
from trainer.files import write_csv
from trainer.images.images import Rows
from trainer.model.checkpoint import save_weights
from trainer.seeds import derive
from trainer.training.epochs import Epochs
from trainer.training.fold_setup import TrainingSetup
from trainer.training.refit_result import NUMBER, RefitResult, write_refit
from trainer.training.result import CURVE, RESULT, WEIGHTS

NOTHING: Rows = np.array([], dtype=np.int64)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RefitSetup(TrainingSetup):
    """The setup of one refit. Its `config` needs no scores, see `agree`.

    Attributes:
        number: the number of the refit. Refits of one trial differ in their random numbers.
        epochs: the epoch with which the training ends; at most `config.epochs`.
        with_holdout: whether the images of the holdout are trained on, too.
    """

    number: int
    epochs: int
    with_holdout: bool = False

    @property
    def identity(self) -> dict[str, Any]:
        """See TrainingSetup."""
        return {
            "config": self.config_hash,
            "folds": self.folds.hash,
            NUMBER: self.number,
            "epochs": self.epochs,
            "with_holdout": self.with_holdout,
        }

    @functools.cached_property
    def seed(self) -> int:
        """See TrainingSetup."""
        return derive(self.config.seed, "refit", self.number)

    @functools.cached_property
    def train_rows(self) -> Ints:
        """See TrainingSetup."""
        return self.folds.all_rows(with_holdout=self.with_holdout)

    @property
    def valid_rows(self) -> Ints:
        """See TrainingSetup. There are none."""
        return NOTHING

    @property
    def held_out(self) -> None:
        """See TrainingSetup. Nothing is held out."""

    @property
    def last_epoch(self) -> int:
        """See TrainingSetup."""
        return self.epochs

    @property
    def name(self) -> str:
        """See TrainingSetup."""
        return f"refit {self.number}"


class Refit(Epochs[RefitResult]):
    """A refit in progress."""

    _setup: RefitSetup

    @property
    def complete(self) -> bool:
        """Whether all epochs are done."""
        return len(self._curve) >= self._setup.epochs

    def finish(self) -> RefitResult:
        """Write curve and weights, then the result, and remove the checkpoint."""
        directory = self._setup.directory
        # the result of an earlier configuration must not exist beside the new files
        (directory / RESULT).unlink(missing_ok=True)
        write_csv(directory / CURVE, self._curve[0], (row.values() for row in self._curve))
        save_weights(directory / WEIGHTS, self._learner.scored, header=self._header.as_texts())
        result = self._result()
        write_refit(directory, result)
        self._checkpoint.unlink(missing_ok=True)
        return result

    def _score(self, epoch: int) -> dict[str, float]:
        """Return nothing. After the last epoch, make the network ready for predictions.

        Raises:
            NonFiniteLossError: the last step ruined the weights, which no later loss would show.
        """
        if epoch == self._setup.epochs:
            self._measure_statistics(epoch, counts=True)
            state = self._learner.scored.state_dict()
            ruined = [name for name, value in state.items() if not torch.isfinite(value).all()]
            if ruined:
                raise NonFiniteLossError(
                    f"{self._setup.at(epoch)}: weights are NaN or infinite after the last step "
                    f"({ruined[0]}). {LOWER_RATE}"
                )
        return {}

    def _result(self) -> RefitResult:
        mean, std = self._mean_std
        return RefitResult(
            identity=self._setup.identity,
            epochs=len(self._curve),
            images=len(self._setup.train_rows),
            train_loss=self._curve[-1]["train_loss"],
            mean=list(mean),
            std=list(std),
            accumulation=self._learner.parts,
            notes=self._learner.notes,
            seconds=round(sum(row["seconds"] for row in self._curve), 3),
            device=str(self._setup.device),
            threads=torch.get_num_threads(),
        )
