"""One fold run: train on K-1 folds, score the held-out one, leave a directory that is complete or continues.

The directory holds `last.ckpt` while the fold run is unfinished, and at its end `curve.csv`, `oof.npz`,
`model.safetensors` and, written last, `result.json`: where that file stands, the fold is done for ever.
"""

import dataclasses
import enum
import json
import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from trainer.backbone import build_backbone, normalisation
from trainer.checkpoint import load_checkpoint, save_checkpoint, save_weights
from trainer.config import TrainConfig
from trainer.data.batches import Batches, steps_per_epoch
from trainer.data.folds import Folds
from trainer.data.images import ImageSource
from trainer.errors import ConfigError, NonFiniteLossError
from trainer.files import atomic_write, write_csv, write_json
from trainer.losses import build_loss
from trainer.metrics import METRICS, Probs, score_fold
from trainer.optimizers import build_optimizer
from trainer.predict import predict
from trainer.reporter import EpochReport, Reporter
from trainer.schedules import lr_at
from trainer.seeds import derive

logger = logging.getLogger(__name__)
CHECKPOINT_EVERY_S = 60.0
Row = dict[str, float]  # one epoch: `epoch` and the metrics of its EpochReport


class Ended(enum.Enum):
    """How a fold run can end without a result."""

    STOPPED = "stopped"  # for good; its checkpoint is gone
    INTERRUPTED = "interrupted"  # to be continued; its checkpoint stands


@dataclasses.dataclass(frozen=True)
class FoldResult:
    """What `result.json` holds.

    `metrics` are those of the last epoch on the held-out fold: taking the best epoch on the fold that
    scores it would flatter the result by 0.4-0.5 points. `mean` and `std` are those that the images were normalised
    with, which prediction needs again.
    """

    fold: int
    epochs: int
    metrics: dict[str, float]
    mean: list[float]
    std: list[float]
    config_hash: str
    folds_hash: str
    seconds: float
    device: str
    threads: int


def pick_device(name: str = "auto") -> torch.device:
    """`cpu`, `cuda`, or for `auto` the GPU where there is one.

    Raises:
        ConfigError: cuda is asked for and there is none.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device cuda: torch sees no CUDA GPU on this machine. Use cpu or auto")
    return torch.device(name)


def read_result(directory: Path, *, config_hash: str, folds_hash: str) -> FoldResult | None:
    """The result of a finished fold run of this very configuration and these folds, else None."""
    path = directory / "result.json"
    if not path.is_file():
        return None
    try:
        result = FoldResult(**json.loads(path.read_text()))
    except (ValueError, TypeError):  # of another version
        return None
    return result if (result.config_hash, result.folds_hash) == (config_hash, folds_hash) else None


def run_fold(
    config: TrainConfig,
    images: ImageSource,
    folds: Folds,
    *,
    fold: int,
    directory: Path,
    reporter: Reporter,
    device: torch.device,
    threads: int,
    checkpoint_every_s: float = CHECKPOINT_EVERY_S,
    clock: Callable[[], float] = time.monotonic,
) -> FoldResult | Ended:
    """Train and score one fold, or continue where its directory says it stopped.

    A continued fold run equals an uninterrupted one bit for bit on the CPU, given the same `threads`.

    Args:
        images: preprocessed as `config.preprocessing` says, in manifest order.
        threads: torch's CPU threads; other numbers add in another order and give other last bits.
        checkpoint_every_s: least time between two checkpoints while nothing asks for one.

    Raises:
        NonFiniteLossError: the training loss became NaN or infinite.
        ConfigError, CheckpointError: see there.
    """
    done = read_result(directory, config_hash=config.fingerprint(), folds_hash=folds.hash)
    if done is not None:
        return done
    torch.set_num_threads(threads)
    run = _FoldRun(config, images, folds, fold, directory, device)
    run.resume()
    saved_at, on_disk = clock(), True  # the start of the next epoch can be restored (at first: from the seed)
    while not run.complete:
        report = run.train_epoch(interrupted=reporter.interrupted if on_disk else _never)
        if report is None:
            return Ended.INTERRUPTED
        if not reporter.epoch(report):
            run.discard()
            return Ended.STOPPED
        on_disk = False
        if run.complete:
            break
        interrupted = reporter.interrupted()
        if interrupted or clock() - saved_at >= checkpoint_every_s:
            run.save()
            saved_at, on_disk = clock(), True
        if interrupted:
            return Ended.INTERRUPTED
    return run.finish()


def _never() -> bool:
    return False


class _FoldRun:
    """The moving parts of a fold run between two epochs."""

    def __init__(
        self,
        config: TrainConfig,
        images: ImageSource,
        folds: Folds,
        fold: int,
        directory: Path,
        device: torch.device,
    ) -> None:
        self._config, self._folds, self._fold, self._directory, self._device = config, folds, fold, directory, device
        self._seed = derive(config.seed, "fold", fold)
        self._train_rows, self._valid_rows = folds.train_rows(fold), folds.valid_rows(fold)
        self._steps = steps_per_epoch(len(self._train_rows), config.batch_size)
        # timm draws initial weights and dropout masks from torch's global generator: seeded by purpose each time
        torch.manual_seed(derive(self._seed, "weights"))
        model = build_backbone(config, n_classes=len(folds.manifest.classes))
        self._model = model.to(device).to(memory_format=torch.channels_last)
        self._optimizer = build_optimizer(self._model, config, device=device)
        self._loss = build_loss(config)
        if config.normalise == "dataset":  # of what this fold run may see
            self._mean, self._std = images.channel_sums(self._train_rows).mean_std()
        else:
            self._mean, self._std = normalisation(config)
        self._batches = Batches(images, folds.manifest.labels_N, device=device, mean=self._mean, std=self._std)
        self._curve: list[Row] = []
        self._probs: Probs | None = None  # of the last epoch, for the held-out rows

    @property
    def complete(self) -> bool:
        """All epochs are done, or early stopping ended them."""
        return len(self._curve) >= self._config.epochs or stops_early(self._config, self._curve)

    @property
    def _identity(self) -> dict[str, Any]:
        return {"config": self._config.fingerprint(), "folds": self._folds.hash, "fold": self._fold}

    @property
    def _checkpoint(self) -> Path:
        return self._directory / "last.ckpt"

    def resume(self) -> None:
        """Continue from the checkpoint, if one stands."""
        state = load_checkpoint(self._checkpoint, identity=self._identity, device=self._device)
        if state is None:
            return
        if self._device.type == "cpu" and state["threads"] != torch.get_num_threads():
            logger.info("%s was made with %d threads: starting again", self._checkpoint, state["threads"])
            return
        self._model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._curve = state["curve"]

    def save(self) -> None:
        """Write the checkpoint."""
        state = {
            "model": self._model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "curve": self._curve,
            "threads": torch.get_num_threads(),
        }
        save_checkpoint(self._checkpoint, state, identity=self._identity)

    def discard(self) -> None:
        """Remove the checkpoint: an optimizer's state costs 0.2-2 GB."""
        self._checkpoint.unlink(missing_ok=True)

    def train_epoch(self, *, interrupted: Callable[[], bool]) -> EpochReport | None:
        """Train and score the next epoch; None if interrupted before its end."""
        start, epoch = time.perf_counter(), len(self._curve) + 1
        torch.manual_seed(derive(self._seed, "epoch", epoch, "dropout"))
        train_loss = self._optimize(epoch, interrupted)
        if train_loss is None:
            return None
        rows, batch_size = self._valid_rows, 2 * self._config.batch_size
        self._probs = predict(self._model, self._batches, rows, batch_size=batch_size)
        scores = score_fold(self._probs, self._valid_labels())
        self._refuse_non_finite("validation loss", scores["loss"], epoch)
        metrics = {
            **scores,
            "train_loss": train_loss,
            "lr": self._optimizer.param_groups[0]["lr"],
            "seconds": time.perf_counter() - start,
        }
        self._curve.append({"epoch": epoch, **metrics})
        return EpochReport(fold=self._fold, epoch=epoch, epochs=self._config.epochs, metrics=metrics)

    def finish(self) -> FoldResult:
        """Write curve, OOF and weights, then the result; the checkpoint goes."""
        probs = self._probs
        assert probs is not None  # a fold run is never saved after its last epoch
        metrics = score_fold(probs, self._valid_labels())
        # the result of an earlier configuration must not stand beside what follows
        (self._directory / "result.json").unlink(missing_ok=True)
        write_csv(self._directory / "curve.csv", self._curve[0], (row.values() for row in self._curve))
        with atomic_write(self._directory / "oof.npz") as file:
            np.savez(file, rows=self._valid_rows, probs=probs)
        save_weights(self._directory / "model.safetensors", self._model)
        result = FoldResult(
            fold=self._fold,
            epochs=len(self._curve),
            metrics={name: metrics[name] for name in METRICS},
            mean=list(self._mean),
            std=list(self._std),
            config_hash=self._config.fingerprint(),
            folds_hash=self._folds.hash,
            seconds=round(sum(row["seconds"] for row in self._curve), 3),
            device=str(self._device),
            threads=torch.get_num_threads(),
        )
        write_json(self._directory / "result.json", dataclasses.asdict(result))
        self.discard()
        return result

    def _optimize(self, epoch: int, interrupted: Callable[[], bool]) -> float | None:
        """One pass over the training rows: the mean loss, or None if interrupted."""
        self._model.train()
        on_gpu = self._device.type == "cuda"
        total = torch.zeros((), device=self._device)
        first_step = (epoch - 1) * self._steps
        seed = derive(self._seed, "epoch", epoch, "order")
        batches = self._batches.shuffled(self._train_rows, batch_size=self._config.batch_size, seed=seed)
        for step, (images_BCHW, labels_B) in enumerate(batches, start=first_step):
            if interrupted():
                return None
            lr = lr_at(self._config, step=step, steps_per_epoch=self._steps)
            for group in self._optimizer.param_groups:
                group["lr"] = lr
            with torch.autocast("cuda", dtype=torch.bfloat16, enabled=on_gpu):
                loss = self._loss(self._model(images_BCHW), labels_B)
            if not on_gpu:  # on a GPU a look at every loss would wait for the device: one look per epoch
                self._refuse_non_finite("training loss", loss.item(), epoch, step)
            self._optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            self._optimizer.step()
            total += loss.detach()
        mean_loss = total.item() / self._steps
        self._refuse_non_finite("training loss", mean_loss, epoch)
        return mean_loss

    def _refuse_non_finite(self, what: str, loss: float, epoch: int, step: int | None = None) -> None:
        if not math.isfinite(loss):
            at = f"epoch {epoch}" if step is None else f"epoch {epoch}, step {step}"
            lr = self._optimizer.param_groups[0]["lr"]
            raise NonFiniteLossError(
                f"fold {self._fold}, {at}: the {what} is {loss} "
                f"(lr={lr:.3g}, optimizer={self._config.optimizer}, backbone={self._config.backbone}). "
                "A lower lr or a warm-up usually helps"
            )

    def _valid_labels(self) -> npt.NDArray[np.int64]:
        return self._folds.manifest.labels_N[self._valid_rows]


def stops_early(config: TrainConfig, curve: list[Row]) -> bool:
    """Whether `patience` epochs have passed without an improvement of `monitor` by more than `min_delta`."""
    if not config.patience:
        return False
    sign = 1 if METRICS[config.monitor] == "maximize" else -1
    best, best_epoch = -math.inf, 0
    for number, row in enumerate(curve, start=1):
        if sign * row[config.monitor] > best + config.min_delta:
            best, best_epoch = sign * row[config.monitor], number
    return len(curve) - best_epoch >= config.patience
