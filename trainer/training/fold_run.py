"""A fold run in progress: it trains epochs, saves checkpoints and writes the result."""

import copy
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainer.errors import NonFiniteLossError
from trainer.fields.evaluation import Tta
from trainer.files import write_csv
from trainer.images.batches import drop_others, steps_per_epoch
from trainer.images.images import Rows
from trainer.learning.batch_norm import images_measured
from trainer.learning.curve import best_epoch, stops_early
from trainer.learning.learner import Learner
from trainer.learning.phases import Phases
from trainer.learning.schedules import goes_back, lr_at, second_stage_epoch, watches_gap
from trainer.learning.step import NonFiniteStep
from trainer.metrics import Goal, Probs
from trainer.model.checkpoint import load_checkpoint, save_checkpoint
from trainer.model.freezing import frozen_backbone
from trainer.model.network import build_network
from trainer.seeds import derive
from trainer.training.begun_epoch import BegunEpoch
from trainer.training.fold_setup import FoldSetup
from trainer.training.from_setup import batches_of, header_of, heads_of, loss_of, mean_std_of
from trainer.training.inputs import FeatureInputs, ImageInputs, Inputs, TrainingRows
from trainer.training.kept_epochs import leave_results_only
from trainer.training.predict import Prediction, predict
from trainer.training.reporter import EpochReport
from trainer.training.result import CHECKPOINT, CURVE, RESULT, FoldResult, details, write_result
from trainer.training.scoring import Scoring, non_finite_loss
from trainer.training.tta_views import Views

logger = logging.getLogger(__name__)
Row = dict[str, float]  # one epoch of the curve: `epoch` and the metrics of its EpochReport
CHECKED_EVERY = 200  # steps between two checks on the host for losses that are NaN or infinite
NAMED = 3  # images of a bad batch that the error message names


def epochs_again(
    rows: Sequence[Row], *, fold: int, epochs: int, notes: Sequence[str]
) -> Iterator[EpochReport]:
    """Yield the report of each epoch in the rows of a curve.

    Args:
        epochs: the number of epochs of the configuration.
        notes: the notes of the fold run, which every report gets.
    """
    for row in rows:
        metrics = {name: value for name, value in row.items() if name != "epoch"}
        yield EpochReport(
            fold=fold, epoch=int(row["epoch"]), epochs=epochs, metrics=metrics, notes=tuple(notes)
        )


class FoldRun:
    """A fold run in progress.

    The object exists during one call of `run_fold` and holds everything that takes memory.
    """

    def __init__(self, setup: FoldSetup, *, phases: Phases) -> None:
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
        loss = loss_of(setup, self._heads)
        self._mean_std = mean_std_of(setup)
        header = header_of(setup, self._mean_std)
        self._scoring = Scoring(setup, loss=loss, rows=self._rows, header=header)
        # layers draw initial weights and dropout masks from torch's global generator, so it is
        # seeded before each use
        torch.manual_seed(derive(setup.seed, "weights"))
        network = build_network(
            config, self._heads, code=setup.code, head_seed=derive(setup.seed, "heads")
        )
        self._learner = Learner(
            network.to(setup.device).to(memory_format=torch.channels_last),
            config,
            loss=loss,
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
        # weights and moments after the best epoch of the first stage of two_stage
        self._best: dict[str, Any] | None = None

    @property
    def complete(self) -> bool:
        """Whether all epochs are done or early stopping has ended the training."""
        done = len(self._curve)
        second = self._second_stage
        counted_from = second if second is not None and second <= done + 1 else 1
        return done >= self._config.epochs or stops_early(
            self._config, self._curve, counted_from=counted_from
        )

    @property
    def past(self) -> Iterator[EpochReport]:
        """The reports of the epochs done so far."""
        return epochs_again(
            self._curve,
            fold=self._setup.fold,
            epochs=self._config.epochs,
            notes=self._learner.notes,
        )

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
        self._learner.restore(state)
        self._curve = state["curve"]
        self._best = state.get("best")  # checkpoints of 2026-11-22 do not have it
        self._begun = BegunEpoch.of(state.get("begun"), self._setup.device)

    def save(self) -> None:
        """Write the checkpoint, unless it is there already."""
        if self._saved:
            return
        state = {
            **self._learner.state(),
            "curve": self._curve,
            "best": self._best,
            "begun": self._begun and vars(self._begun),
            "threads": torch.get_num_threads(),
        }
        with self._phases.phase("checkpoint"):
            save_checkpoint(self._checkpoint, state, identity=self._setup.identity)
        self._saved = True
        self._scoring.forget_others(self._curve)

    def drop(self) -> None:
        """Remove all files that only a continued fold run needs.

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
        self._scoring.keep(self._curve, self._learner.scored)
        if watches_gap(self._config):
            self._go_back_or_remember()
        (report,) = epochs_again(
            self._curve[-1:],
            fold=self._setup.fold,
            epochs=self._config.epochs,
            notes=self._learner.notes,
        )
        return report

    def finish(self) -> FoldResult:
        """Write curve, OOF and weights, then the result, and remove the checkpoint."""
        directory = self._setup.directory
        epoch = self._scoring.epoch_of(self._curve)
        # the result of an earlier configuration must not exist beside the new files
        (directory / RESULT).unlink(missing_ok=True)
        write_csv(directory / CURVE, self._curve[0], (row.values() for row in self._curve))
        probs_NK = self._scoring.write(epoch, self._learner.scored)
        result = self._result(epoch, probs_NK)
        write_result(directory, result)
        self._checkpoint.unlink(missing_ok=True)
        self._scoring.discard()
        return result

    def _result(self, epoch: int, probs_NK: Probs) -> FoldResult:
        mean, std = self._mean_std
        return FoldResult(
            fold=self._setup.fold,
            epochs=len(self._curve),
            scored_epoch=epoch,
            biased=self._scoring.biased,
            metrics={name: self._curve[epoch - 1][name] for name in self._scoring.metric_names},
            **details(probs_NK, self._setup.valid_labels),  # type: ignore[arg-type]
            mean=list(mean),
            std=list(std),
            accumulation=self._learner.parts,
            notes=self._learner.notes,
            config_hash=self._setup.config_hash,
            folds_hash=self._setup.folds.hash,
            seconds=round(sum(row["seconds"] for row in self._curve), 3),
            device=str(self._setup.device),
            threads=torch.get_num_threads(),
        )

    @property
    def _checkpoint(self) -> Path:
        return self._setup.directory / CHECKPOINT

    @property
    def _second_stage(self) -> int | None:
        two_stage = self._config.scheduler == "two_stage"
        return second_stage_epoch(self._config, self._curve) if two_stage else None

    def _go_back_or_remember(self) -> None:
        """Restore the state of the best epoch if this epoch ended the first stage by its gap.

        Until then, remember the state if this epoch is the best so far. After the last epoch
        nothing is restored, because no epoch follows.
        """
        epoch = len(self._curve)
        if self._best is not None and goes_back(self._config, self._curve):
            if epoch < self._config.epochs:
                self._learner.restore_weights_and_moments(self._best)
            self._best = None
        elif self._second_stage is not None and epoch + 1 >= self._second_stage:
            self._best = None
        elif best_epoch(self._curve, metric="loss", goal=Goal.MINIMIZE) == epoch:
            self._best = copy.deepcopy(self._learner.weights_and_moments())

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

    def _score(self, epoch: int) -> dict[str, float]:
        """Return the metrics of the held-out fold."""
        at = self._setup.at(epoch)
        counts = self._scoring.counts(epoch)
        if self._learner.has_statistics:
            self._learner.within_memory(partial(self._measure, epoch, counts=counts), at=at)
        tta = self._config.tta if counts else "none"
        rows_N = self._setup.valid_rows
        held_out = self._learner.within_memory(partial(self._predict, rows_N, tta), at=at)
        scores = self._scoring.score(held_out, at=at, lr=self._learner.lr)
        if watches_gap(self._config):
            rows_N = self._fitted_rows
            fitted = self._learner.within_memory(partial(self._predict, rows_N, "none"), at=at)
            scores["fitted_loss"] = self._scoring.loss_of(fitted, rows_N)
        return scores

    def _measure(self, epoch: int, *, counts: bool) -> None:
        """Measure the batch norm statistics on training batches that no step has seen."""
        batch_size = self._config.batch_size
        images = images_measured(len(self._setup.train_rows), batch_size=batch_size, counts=counts)
        batches = self._inputs.epoch(epoch, seed=derive(self._setup.seed, "statistics"))
        few = islice(batches, -(-images // batch_size))
        self._learner.measure_statistics(views for views, _ in few)

    def _predict(self, rows_N: Rows, tta: Tta) -> Prediction:
        return predict(
            self._learner.scored,
            self._inputs,
            rows_N,
            heads=self._heads,
            batch_size=self._scored_at_once,
            tta=tta,
        )

    @property
    def _fitted_rows(self) -> Rows:
        """As many training rows as are held out, to compare their loss with the held-out loss."""
        train_rows = self._setup.train_rows
        rng = np.random.default_rng(derive(self._setup.seed, "fitted"))
        count = min(len(train_rows), len(self._setup.valid_rows))
        rows_N: Rows = np.sort(rng.choice(train_rows, count, replace=False))
        return rows_N

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
        return non_finite_loss(self._setup, bad.what, bad.value, at=at, lr=lr, batch=batch)
