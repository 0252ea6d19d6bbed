"""A training in progress: it trains one epoch after another and saves checkpoints.

A fold run (fold_run.py) and a refit (refit.py) have this in common. They differ in what they do
after an epoch, and in the files that they leave.
"""

import abc
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from trainer.errors import NonFiniteLossError
from trainer.fields.evaluation import Tta
from trainer.images.batches import drop_others, steps_per_epoch
from trainer.images.images import Rows
from trainer.learning.batch_norm import images_measured
from trainer.learning.learner import Learner
from trainer.learning.phases import Phases
from trainer.learning.schedules import lr_at
from trainer.learning.step import NonFiniteStep
from trainer.model.checkpoint import load_checkpoint, save_checkpoint
from trainer.model.freezing import frozen_backbone
from trainer.model.network import build_network
from trainer.seeds import derive
from trainer.training.begun_epoch import BegunEpoch
from trainer.training.fold_setup import TrainingSetup
from trainer.training.from_setup import batches_of, header_of, heads_of, loss_of, mean_std_of
from trainer.training.inputs import FeatureInputs, ImageInputs, Inputs, TrainingRows
from trainer.training.kept_epochs import leave_results_only
from trainer.training.predict import Prediction, predict
from trainer.training.reporter import EpochReport
from trainer.training.result import CHECKPOINT
from trainer.training.scoring import non_finite_loss
from trainer.training.tta_views import Views

logger = logging.getLogger(__name__)
Row = dict[str, float]  # one epoch of the curve: `epoch` and the metrics of its EpochReport
Result = TypeVar("Result")  # the content of the result.json of a finished training
CHECKED_EVERY = 200  # steps between two checks on the host for losses that are NaN or infinite
NAMED = 3  # images of a bad batch that the error message names
NO_FOLD = -1  # the fold in the reports of a training that holds no fold out


def epochs_again(
    rows: Sequence[Row], *, fold: int, epochs: int, notes: Sequence[str]
) -> Iterator[EpochReport]:
    """Yield the report of each epoch in the rows of a curve.

    Args:
        fold: the fold that is held out, or NO_FOLD.
        epochs: the number of epochs of the configuration.
        notes: the notes of the training, which every report gets.
    """
    for row in rows:
        metrics = {name: value for name, value in row.items() if name != "epoch"}
        yield EpochReport(
            fold=fold, epoch=int(row["epoch"]), epochs=epochs, metrics=metrics, notes=tuple(notes)
        )


class Epochs(abc.ABC, Generic[Result]):
    """A training in progress.

    The object exists during one call of `run_fold` or `run_refit` and holds everything that takes
    memory.
    """

    def __init__(self, setup: TrainingSetup, *, phases: Phases) -> None:
        """Build network, optimizer and inputs. No file is written."""
        config = setup.config
        manifest = setup.folds.manifest
        self._setup = setup
        self._config = config
        self._phases = phases
        self._steps = steps_per_epoch(len(setup.train_rows), config.batch_size)
        self._heads = heads_of(config, setup.folds)
        self._rows = TrainingRows(
            config, setup.train_rows, manifest.labels_N, len(manifest.classes)
        )
        self._loss = loss_of(setup, self._heads)
        self._mean_std = mean_std_of(setup)
        self._header = header_of(setup, self._mean_std)
        # layers draw initial weights and dropout masks from torch's global generator, so it is
        # seeded before each use
        torch.manual_seed(derive(setup.seed, "weights"))
        network = build_network(
            config, self._heads, code=setup.code, head_seed=derive(setup.seed, "heads")
        )
        self._learner = Learner(
            network.to(setup.device).to(memory_format=torch.channels_last),
            config,
            loss=self._loss,
            parts=setup.parts,
            phases=phases,
            make_room=lambda: drop_others(keep=setup.images),
        )
        self._images = ImageInputs(config, batches_of(setup, self._mean_std), self._rows)
        self._inputs: Inputs = self._images
        self._features_wanted = (
            frozen_backbone(config, epoch=config.epochs) and not config.augmented
        )
        self._curve: list[Row] = []
        self._begun: BegunEpoch | None = None
        self._saved = True  # whether a checkpoint, or the seed, has everything

    @property
    @abc.abstractmethod
    def complete(self) -> bool:
        """Whether no epoch is left to train."""

    @abc.abstractmethod
    def finish(self) -> Result:
        """Write the files of the finished training, the result last; remove the checkpoint."""

    @abc.abstractmethod
    def _score(self, epoch: int) -> dict[str, float]:
        """Return the metrics of an epoch after its last step."""

    @property
    def past(self) -> Iterator[EpochReport]:
        """The reports of the epochs done so far."""
        return self._reports(self._curve)

    def resume(self) -> None:
        """Continue from the checkpoint, if the directory has one."""
        state = load_checkpoint(self._checkpoint, identity=self._setup.identity)
        if state is None:
            return
        if self._setup.device.type == "cpu" and state["threads"] != torch.get_num_threads():
            logger.info(
                "%s was made with %d threads: starting again", self._checkpoint, state["threads"]
            )
            return
        self._restore(state)

    def save(self) -> None:
        """Write the checkpoint, unless it is there already."""
        if self._saved:
            return
        with self._phases.phase("checkpoint"):
            save_checkpoint(self._checkpoint, self._state(), identity=self._setup.identity)
        self._saved = True

    def drop(self) -> None:
        """Remove all files that only a continued training needs.

        The state of an optimizer takes 0.2-2 GB.
        """
        leave_results_only(self._setup.directory)

    def train_epoch(
        self, *, interrupted: Callable[[], bool], due: Callable[[], bool] = lambda: False
    ) -> EpochReport | None:
        """Train and score the next epoch, or the rest of it, and return its report.

        Args:
            interrupted: called before each step; True ends the call at once.
            due: called after each step; True writes a checkpoint within the epoch.

        Returns:
            The report, or None if the epoch was interrupted. Then `save` writes a checkpoint from
            which the epoch continues.
        """
        start = time.perf_counter()
        epoch = len(self._curve) + 1
        self._prepare(epoch)
        if self._begun is None:
            torch.manual_seed(derive(self._setup.seed, "epoch", epoch, "dropout"))
        else:
            self._begun.restore_generators()
        train_loss = self._optimize(epoch, interrupted, due)
        if train_loss is None:
            return None
        self._begun = None
        with self._phases.phase("metrics"):
            scores = self._score(epoch)
        metrics = {
            **scores,
            "train_loss": train_loss,
            "lr": self._learner.lr,
            "seconds": time.perf_counter() - start,
        }
        self._curve.append({"epoch": epoch, **metrics})
        (report,) = self._reports(self._curve[-1:])
        return report

    def _state(self) -> dict[str, Any]:
        """Return the complete state for a checkpoint."""
        return {
            **self._learner.state(),
            "curve": self._curve,
            "begun": self._begun and vars(self._begun),
            "threads": torch.get_num_threads(),
        }

    def _restore(self, state: dict[str, Any]) -> None:
        """Restore the state of a checkpoint."""
        self._learner.restore(state)
        self._curve = state["curve"]
        self._begun = BegunEpoch.of(state.get("begun"), self._setup.device)

    def _reports(self, rows: Sequence[Row]) -> Iterator[EpochReport]:
        held_out = self._setup.held_out
        return epochs_again(
            rows,
            fold=NO_FOLD if held_out is None else held_out,
            epochs=self._setup.last_epoch,
            notes=self._learner.notes,
        )

    @property
    def _checkpoint(self) -> Path:
        return self._setup.directory / CHECKPOINT

    def _prepare(self, epoch: int) -> None:
        """Set train mode for the epoch, and compute features once if the backbone is frozen."""
        self._learner.begin_epoch(epoch, forward=self._inputs.forward)
        if self._features_wanted and self._inputs is self._images:
            with self._phases.phase("features"):
                self._inputs = self._learner.within_memory(self._features, at=self._setup.at(epoch))
            self._learner.begin_epoch(epoch, forward=self._inputs.forward)

    def _features(self) -> FeatureInputs:
        rows = {"train_rows": self._setup.train_rows, "valid_rows": self._setup.valid_rows}
        return FeatureInputs(
            self._images, self._rows, self._learner.network, batch_size=self._scored_at_once, **rows
        )

    def _optimize(
        self, epoch: int, interrupted: Callable[[], bool], due: Callable[[], bool]
    ) -> float | None:
        """Train on all training rows once; return the mean loss, or None if interrupted."""
        begun = self._begun
        done = begun.done if begun else 0
        total = begun.loss if begun else torch.zeros((), device=self._setup.device)
        first_step = (epoch - 1) * self._steps
        at = self._setup.at(epoch)
        try:
            for views, targets_BK in self._batches(epoch, start=done):
                if interrupted():
                    self._stop_within(done, total)
                    return None
                step = first_step + done
                lr = lr_at(self._config, step=step, steps_per_epoch=self._steps, curve=self._curve)
                loss = self._learner.step(views, targets_BK, lr=lr, index=step, at=at)
                total = total + loss * len(targets_BK)
                done += 1
                self._saved = False
                if (step + 1) % CHECKED_EVERY == 0:
                    self._learner.check()
                if done < self._steps and due():
                    self._stop_within(done, total)
                    self.save()
            self._learner.check()
        except NonFiniteStep as bad:
            raise self._non_finite_step(bad, epoch) from None
        return total.item() / len(self._setup.train_rows)

    def _stop_within(self, done: int, total: Tensor) -> None:
        """Remember where the epoch stands, after it is known that all steps were taken."""
        self._learner.check()
        self._begun = BegunEpoch.now(done, total) if done else None

    def _batches(self, epoch: int, *, start: int = 0) -> Iterator[tuple[Views, Tensor]]:
        batches = self._inputs.epoch(epoch, seed=self._setup.seed, start=start)
        while True:
            with self._phases.phase("data"):
                batch = next(batches, None)
            if batch is None:
                return
            yield batch

    @property
    def _scored_at_once(self) -> int:
        """The batch size of scoring: a forward pass alone needs less memory than a step."""
        return max(1, 2 * self._config.batch_size // self._learner.parts)

    def _measure_statistics(self, epoch: int, *, counts: bool) -> None:
        """Measure the batch norm statistics on training batches that no step has seen."""
        if self._learner.has_statistics:
            self._learner.within_memory(
                partial(self._measure, epoch, counts=counts), at=self._setup.at(epoch)
            )

    def _measure(self, epoch: int, *, counts: bool) -> None:
        batch_size = self._config.batch_size
        images = images_measured(len(self._setup.train_rows), batch_size=batch_size, counts=counts)
        batches = self._inputs.epoch(epoch, seed=derive(self._setup.seed, "statistics"))
        few = islice(batches, -(-images // batch_size))
        self._learner.measure_statistics(views for views, _ in few)

    def _prediction(self, rows_N: Rows, tta: Tta, *, epoch: int) -> Prediction:
        """Return the prediction for these rows after `epoch`."""
        return self._learner.within_memory(
            lambda: predict(
                self._learner.scored,
                self._inputs,
                rows_N,
                heads=self._heads,
                batch_size=self._scored_at_once,
                tta=tta,
            ),
            at=self._setup.at(epoch),
        )

    def _non_finite_step(self, bad: NonFiniteStep, epoch: int) -> NonFiniteLossError:
        lr = lr_at(self._config, step=bad.step, steps_per_epoch=self._steps, curve=self._curve)
        rows_B = self._rows.batches(derive(self._setup.seed, "epoch", epoch))[
            bad.step % self._steps
        ]
        names = [self._setup.folds.manifest.paths[row] for row in rows_B[:NAMED]] + ["..."] * (
            len(rows_B) > NAMED
        )
        batch = f", batch of {len(rows_B)} with {', '.join(names)}"
        at = f"{self._setup.at(epoch)}, step {bad.step}"
        return non_finite_loss(self._config, bad.what, bad.value, at=at, lr=lr, batch=batch)
