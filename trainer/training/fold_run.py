"""A fold run in progress: it trains epochs, saves checkpoints and writes the result."""

import copy
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from trainer.config import TrainConfig
from trainer.data.folds import Folds
from trainer.errors import NonFiniteLossError
from trainer.fields.declare import is_user_function
from trainer.files import write_csv
from trainer.images.batches import Batches, drop_others, steps_per_epoch
from trainer.learning.curve import stops_early
from trainer.learning.learner import Learner
from trainer.learning.losses import HeadsLoss, build_loss
from trainer.learning.phases import Phases
from trainer.learning.schedules import goes_back, lr_at, second_stage_epoch
from trainer.learning.step import NonFiniteStep
from trainer.metrics import Probs
from trainer.model.backbone import normalisation
from trainer.model.checkpoint import load_checkpoint, save_checkpoint
from trainer.model.freezing import frozen_backbone
from trainer.model.heads import Heads
from trainer.model.network import build_network
from trainer.seeds import derive
from trainer.training.fold_setup import FoldSetup
from trainer.training.inputs import FeatureInputs, ImageInputs, Inputs, TrainingRows
from trainer.training.kept_epochs import leave_results_only
from trainer.training.predict import Prediction, predict
from trainer.training.reporter import EpochReport
from trainer.training.result import CHECKPOINT, CURVE, RESULT, FoldResult, details, write_result
from trainer.training.scoring import Scoring, non_finite_loss
from trainer.training.tta_views import Views
from trainer.user_code import call_loss, load_user_function

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
        loss = self._build_loss()
        self._scoring = Scoring(setup, loss=loss, rows=self._rows)
        # layers draw initial weights and dropout masks from torch's global generator, so it is
        # seeded before each use
        torch.manual_seed(derive(setup.seed, "weights"))
        network = build_network(config, self._heads, code=setup.code)
        self._learner = Learner(
            network.to(setup.device).to(memory_format=torch.channels_last),
            config,
            loss=loss,
            parts=setup.parts,
            phases=phases,
            make_room=lambda: drop_others(keep=setup.images),
        )
        self._images = self._build_inputs()
        self._inputs: Inputs = self._images
        self._features_wanted = (
            frozen_backbone(config, epoch=config.epochs) and not config.augmented
        )
        self._curve: list[Row] = []

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

    def save(self) -> None:
        """Write the checkpoint."""
        state = {**self._learner.state(), "curve": self._curve, "threads": torch.get_num_threads()}
        with self._phases.phase("checkpoint"):
            save_checkpoint(self._checkpoint, state, identity=self._setup.identity)
        self._scoring.forget_others(self._curve)

    def drop(self) -> None:
        """Remove all files that only a continued fold run needs.

        The state of an optimizer takes 0.2-2 GB.
        """
        leave_results_only(self._setup.directory)

    def train_epoch(self, *, interrupted: Callable[[], bool]) -> EpochReport | None:
        """Train and score the next epoch and return its report.

        Args:
            interrupted: called before each step; True ends the epoch at once.

        Returns:
            The report, or None if the epoch was interrupted.
        """
        start = time.perf_counter()
        epoch = len(self._curve) + 1
        self._prepare(epoch)
        before = (
            copy.deepcopy(self._learner.weights_and_moments()) if self._may_go_back(epoch) else None
        )
        torch.manual_seed(derive(self._setup.seed, "epoch", epoch, "dropout"))
        train_loss = self._optimize(epoch, interrupted)
        if train_loss is None:
            return None
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
        if before is not None and goes_back(self._config, self._curve):
            self._learner.restore_weights_and_moments(before)
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

    def _may_go_back(self, epoch: int) -> bool:
        """Return whether the state before this epoch may have to be restored after the epoch.

        This is the case if the epoch may end the first stage of two_stage by its gap. After the
        last epoch nothing is restored, because no epoch follows.
        """
        if (
            self._config.scheduler != "two_stage"
            or not self._config.second_gap
            or epoch == self._config.epochs
        ):
            return False
        return self._second_stage is None or epoch < self._second_stage

    def _build_loss(self) -> HeadsLoss:
        name = self._config.loss
        return build_loss(
            self._config,
            self._heads,
            labels_N=self._setup.folds.manifest.labels_N[self._setup.train_rows],
            device=self._setup.device,
            user_loss=partial(call_loss, load_user_function(name, self._setup.code), reference=name)
            if is_user_function(name)
            else None,
        )

    def _build_inputs(self) -> ImageInputs:
        images = self._setup.images
        # the statistics must not depend on the held-out fold
        if self._config.normalise == "dataset":
            self._mean_std = images[0].channel_sums(self._setup.train_rows).mean_std()
        else:
            self._mean_std = normalisation(self._config)
        batches = [
            Batches(view, device=self._setup.device, mean_std=self._mean_std, beside=images)
            for view in images
        ]
        return ImageInputs(self._config, batches, self._rows)

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

    def _optimize(self, epoch: int, interrupted: Callable[[], bool]) -> float | None:
        """Train on all training rows once; return the mean loss, or None if interrupted."""
        total = torch.zeros((), device=self._setup.device)
        first_step = (epoch - 1) * self._steps
        at = self._setup.at(epoch)
        try:
            for step, (views, targets_BK) in enumerate(self._batches(epoch), start=first_step):
                if interrupted():
                    return None
                lr = lr_at(self._config, step=step, steps_per_epoch=self._steps, curve=self._curve)
                total += self._learner.step(views, targets_BK, lr=lr, index=step, at=at)
                if (step + 1) % CHECKED_EVERY == 0:
                    self._learner.check()
            self._learner.check()
        except NonFiniteStep as bad:
            raise self._non_finite_step(bad, epoch) from None
        return total.item() / self._steps

    def _batches(self, epoch: int) -> Iterator[tuple[Views, Tensor]]:
        batches = self._inputs.epoch(epoch, seed=self._setup.seed)
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
        prediction = self._learner.within_memory(self._predict, at=at)
        return self._scoring.score(prediction, at=at, lr=self._learner.lr)

    def _predict(self) -> Prediction:
        return predict(
            self._learner.scored,
            self._inputs,
            self._setup.valid_rows,
            heads=self._heads,
            batch_size=self._scored_at_once,
        )

    def _non_finite_step(self, bad: NonFiniteStep, epoch: int) -> NonFiniteLossError:
        lr = lr_at(self._config, step=bad.step, steps_per_epoch=self._steps, curve=self._curve)
        batches = self._rows.batches(derive(self._setup.seed, "epoch", epoch))
        rows_B = next(islice(batches, bad.step % self._steps, None))
        names = [self._setup.folds.manifest.paths[row] for row in rows_B[:NAMED]] + ["..."] * (
            len(rows_B) > NAMED
        )
        batch = f", batch of {len(rows_B)} with {', '.join(names)}"
        at = f"{self._setup.at(epoch)}, step {bad.step}"
        return non_finite_loss(self._setup, bad.what, bad.value, at=at, lr=lr, batch=batch)


def heads_of(config: TrainConfig, folds: Folds) -> Heads:
    """Return one head for all joint classes, or one head per label column (`heads: separate`)."""
    manifest = folds.manifest
    return (
        Heads.joint(len(manifest.classes)) if config.heads == "joint" else Heads.separate(manifest)
    )
