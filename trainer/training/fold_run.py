"""A fold run in progress: it scores the held-out fold after each epoch and writes the result."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from trainer.files import write_csv
from trainer.images.images import Rows
from trainer.learning.curve import best_epoch, stops_early
from trainer.learning.phases import Phases
from trainer.learning.schedules import goes_back, second_stage_epoch, watches_gap
from trainer.metrics import Goal, Probs
from trainer.seeds import derive
from trainer.training.epochs import Epochs
from trainer.training.fold_setup import FoldSetup
from trainer.training.reporter import EpochReport
from trainer.training.result import CURVE, RESULT, FoldResult, details, write_result
from trainer.training.scoring import Scoring


class FoldRun(Epochs[FoldResult]):
    """A fold run in progress."""

    _setup: FoldSetup

    def __init__(self, setup: FoldSetup, *, phases: Phases) -> None:
        """Build network, optimizer and inputs. No file is written."""
        super().__init__(setup, phases=phases)
        self._scoring = Scoring(setup, loss=self._loss, rows=self._rows, header=self._header)
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

    def save(self) -> None:
        """Write the checkpoint, unless it is there already."""
        if not self._saved:
            super().save()
            self._scoring.forget_others(self._curve)

    def train_epoch(
        self, *, interrupted: Callable[[], bool], due: Callable[[], bool] = lambda: False
    ) -> EpochReport | None:
        """See Epochs. The epoch is kept if it may score the fold."""
        report = super().train_epoch(interrupted=interrupted, due=due)
        if report is not None:
            self._scoring.keep(self._curve, self._learner.scored)
            if watches_gap(self._config):
                self._go_back_or_remember()
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

    def _state(self) -> dict[str, Any]:
        return {**super()._state(), "best": self._best}

    def _restore(self, state: dict[str, Any]) -> None:
        super()._restore(state)
        self._best = state.get("best")  # checkpoints of 2026-11-22 do not have it

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

    def _score(self, epoch: int) -> dict[str, float]:
        """Return the metrics of the held-out fold."""
        counts = self._scoring.counts(epoch)
        self._measure_statistics(epoch, counts=counts)
        tta = self._config.tta if counts else "none"
        held_out = self._prediction(self._setup.valid_rows, tta, epoch=epoch)
        scores = self._scoring.score(held_out, at=self._setup.at(epoch), lr=self._learner.lr)
        if watches_gap(self._config):
            rows_N = self._fitted_rows
            fitted = self._prediction(rows_N, "none", epoch=epoch)
            scores["fitted_loss"] = self._scoring.loss_of(fitted, rows_N)
        return scores

    @property
    def _fitted_rows(self) -> Rows:
        """As many training rows as are held out, to compare their loss with the held-out loss."""
        train_rows = self._setup.train_rows
        rng = np.random.default_rng(derive(self._setup.seed, "fitted"))
        count = min(len(train_rows), len(self._setup.valid_rows))
        rows_N: Rows = np.sort(rng.choice(train_rows, count, replace=False))
        return rows_N
