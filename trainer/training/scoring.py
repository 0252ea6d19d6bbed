"""The scoring of a fold run.

This module computes the metrics of the held-out fold, chooses the epoch that scores the fold, and
writes the weights and probabilities of that epoch.
"""

import math

import torch

from trainer.config import TrainConfig
from trainer.errors import LOWER_RATE, NonFiniteLossError
from trainer.images.images import Rows
from trainer.learning.curve import Curve, best_epoch, goal_of
from trainer.learning.losses import HeadsLoss
from trainer.learning.schedules import FEEDBACK
from trainer.metrics import METRICS, Probs, score_fold
from trainer.model.checkpoint import save_weights
from trainer.model.network import Network
from trainer.model.weights_header import WeightsHeader
from trainer.training.fold_setup import FoldSetup
from trainer.training.inputs import TrainingRows
from trainer.training.kept_epochs import KeptEpochs
from trainer.training.oof import OOF, write_oof
from trainer.training.predict import Prediction
from trainer.training.result import WEIGHTS
from trainer.user_code import call_metric, load_user_function

CHUNK = 16_384  # images whose loss is computed at once


class Scoring:
    """Computes the metrics of the held-out fold after every epoch; keeps what may be its result.

    An epoch scores the fold if its metrics are the result of the fold run. Of an epoch that may
    score the fold, weights and probabilities are kept.

    `checkpoint: last` scores a fold by its last epoch and keeps no epoch. `fold_best`, and `last`
    with `patience`, keep the best epoch so far. `best` keeps all epochs until one common epoch is
    chosen for all folds.
    """

    def __init__(
        self, setup: FoldSetup, *, loss: HeadsLoss, rows: TrainingRows, header: WeightsHeader
    ) -> None:
        """
        Args:
            header: is written with the weights.
        """
        config = setup.config
        self._setup = setup
        self._config = config
        self._loss = loss
        self._rows = rows
        self._metric = load_user_function(config.metric, setup.code) if config.metric else None
        self._header = header.as_texts()
        self._kept = KeptEpochs(setup.directory, header=self._header)
        self._probs: Probs | None = None  # probabilities of the held-out rows, from the last epoch

    @property
    def metric_names(self) -> tuple[str, ...]:
        """The names of a fold's metrics: METRICS, and `metric` if there is a user function."""
        return (*METRICS, "metric") if self._metric is not None else tuple(METRICS)

    @property
    def biased(self) -> bool:
        """Whether the epoch is chosen on the same fold that it scores.

        With early stopping it is: the last epochs of such a fold run are those without improvement.
        """
        return _chosen_on_the_fold(self._config)

    def counts(self, epoch: int) -> bool:
        """Return whether the metrics of an epoch may be the result, or decide about the training.

        Other epochs are only shown: they are scored without test-time augmentation and with batch
        norm statistics of fewer images.
        """
        return counts_fully(self._config, epoch=epoch, every_epoch=self._setup.every_epoch)

    def score(self, prediction: Prediction, *, at: str, lr: float) -> dict[str, float]:
        """Return the metrics of an epoch.

        Args:
            prediction: the prediction of the epoch for the held-out rows.
            at: fold and epoch, for messages.
            lr: the learning rate of the last step, for messages.

        Raises:
            NonFiniteLossError: the loss, or the log loss of the probabilities, is NaN or infinite.
        """
        probs_NK = prediction.probs_NK
        labels_N = self._setup.valid_labels
        self._probs = probs_NK
        scores = {
            **score_fold(probs_NK, labels_N),
            "loss": self.loss_of(prediction, self._setup.valid_rows),
        }
        for name in ("loss", "log_loss"):
            if not math.isfinite(scores[name]):
                raise non_finite_loss(
                    self._config, f"validation {name}", scores[name], at=at, lr=lr
                )
        if self._metric is not None:
            assert self._config.metric is not None
            classes = self._setup.folds.manifest.classes
            scores["metric"] = call_metric(
                self._metric, probs_NK, labels_N, classes, reference=self._config.metric
            )
        return {name: scores[name] for name in self.metric_names}

    def keep(self, curve: Curve, network: Network) -> None:
        """Keep the last epoch of the curve if it may score the fold."""
        epoch = len(curve)
        keeps_all = self._config.checkpoint == "best"
        if keeps_all or (self.biased and self.epoch_of(curve) == epoch):
            assert self._probs is not None
            self._kept.keep(
                epoch,
                network,
                rows_N=self._setup.valid_rows,
                probs_NK=self._probs,
                folds_hash=self._setup.folds.hash,
            )

    def forget_others(self, curve: Curve) -> None:
        """Remove all kept epochs except the best so far, if the best epoch scores the fold.

        Call it after a checkpoint is written: a continued fold run starts from that checkpoint.
        """
        if self.biased and curve:  # within the first epoch there is none
            self._kept.keep_only(self.epoch_of(curve))

    def epoch_of(self, curve: Curve) -> int:
        """Return the epoch (from 1) that scores the fold.

        With `checkpoint: best` it is the last epoch for now: `score_common_epoch` replaces it after
        all folds.
        """
        if not self.biased:
            return len(curve)
        monitor = self._config.monitor
        return best_epoch(curve, metric=monitor, goal=goal_of(monitor, self._config))

    def write(self, epoch: int, network: Network) -> Probs:
        """Write probabilities and weights of the epoch that scores the fold.

        Args:
            network: the network of the last epoch.

        Returns:
            The probabilities that were written.
        """
        directory = self._setup.directory
        if self.biased:
            self._kept.adopt(epoch)
            return self._kept.probs(epoch)
        # no checkpoint is written after the last epoch, so a continued fold run scores it as well
        assert self._probs is not None
        write_oof(
            directory / OOF,
            self._setup.valid_rows,
            self._probs,
            folds_hash=self._setup.folds.hash,
        )
        save_weights(directory / WEIGHTS, network, header=self._header)
        return self._probs

    def discard(self) -> None:
        """Remove the kept epochs after the result is written.

        With `checkpoint: best` the epochs stay, because one common epoch is chosen after all folds.
        """
        if self._config.checkpoint != "best":
            self._kept.discard()

    @torch.inference_mode()
    def loss_of(self, prediction: Prediction, rows_N: Rows) -> float:
        """Return the loss of a prediction for these rows.

        The loss is the mean over the images. Of more than `CHUNK` images it is computed in chunks,
        because targets and intermediate values of 1,000 classes take several kilobytes an image.
        For soft_f1, which is no mean over images, it is then the mean over the chunks.
        """
        total = 0.0
        for start in range(0, len(rows_N), CHUNK):
            rows = rows_N[start : start + CHUNK]
            logits = [head_NK[start : start + CHUNK] for head_NK in prediction.logits]
            targets_NK = self._rows.one_hot(rows, self._setup.device)
            total += float(self._loss(logits, targets_NK)) * len(rows)
        return total / len(rows_N)


def counts_fully(config: TrainConfig, *, epoch: int, every_epoch: bool) -> bool:
    """Return whether the metrics of an epoch may be the result, or decide about the training.

    Args:
        epoch: the epoch, counted from 1.
        every_epoch: see FoldSetup.
    """
    decides = config.scheduler in FEEDBACK or every_epoch or _chosen_on_the_fold(config)
    return decides or config.checkpoint != "last" or epoch == config.epochs


def _chosen_on_the_fold(config: TrainConfig) -> bool:
    """Whether the epoch that scores a fold is the best one on that fold."""
    checkpoint = config.checkpoint
    return checkpoint == "fold_best" or (checkpoint == "last" and config.patience > 0)


def non_finite_loss(
    config: TrainConfig, what: str, value: float | None, *, at: str, lr: float, batch: str = ""
) -> NonFiniteLossError:
    """Return the error for a loss or norm that is NaN or infinite, with the main settings.

    Args:
        what: the name of the quantity that has the value, e.g. "training loss".
        at: the training and its epoch; for a training step, also the step.
        batch: a description of the images of the batch.
    """
    return NonFiniteLossError(
        f"{at}: the {what} is {value} (lr={lr:.3g}, optimizer={config.optimizer}, "
        f"backbone={config.backbone}{batch}). {LOWER_RATE}"
    )
