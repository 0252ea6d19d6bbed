"""One fold run: train on K-1 folds and score the held-out fold. One refit: train on all images.

The directory of an unfinished fold run has `last.ckpt`, from which the fold run can continue, and
possibly `epochs/` (see kept_epochs.py). The directory of a finished fold run has `curve.csv`,
`oof.npz`, `model.safetensors` and `result.json`. `result.json` is written last: if it exists, the
fold is never trained again.
"""

import enum
import time
from collections.abc import Callable

import torch

from trainer.errors import SMALLER_BATCH, ConfigError, OutOfMemoryError, first_line
from trainer.learning.learner import sizes
from trainer.learning.phases import NoPhases, Phases
from trainer.training.epochs import Epochs, Result, epochs_again
from trainer.training.fold_run import FoldRun
from trainer.training.fold_setup import FoldSetup, TrainingSetup
from trainer.training.refit import Refit, RefitSetup
from trainer.training.refit_result import RefitResult, read_refit
from trainer.training.reporter import Reporter
from trainer.training.result import FoldResult, read_curve, read_result

CHECKPOINT_EVERY_S = 60.0
WITHIN_EPOCH_EVERY_S = 300.0


class Ended(enum.Enum):
    """The ways in which a fold run can end without a result."""

    STOPPED = "stopped"  # the fold run never continues, and its checkpoint is removed
    # The fold run can continue from its checkpoint, or another process has taken it over.
    INTERRUPTED = "interrupted"


def pick_device(name: str = "auto") -> torch.device:
    """Return the torch device named `cpu`, `cuda` or `auto`.

    `auto` means the GPU if this node has a GPU, else the CPU.

    Raises:
        ConfigError: `name` is `cuda` and torch finds no GPU.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device cuda: torch sees no CUDA GPU on this machine. Use cpu or auto")
    return torch.device(name)


def run_fold(
    setup: FoldSetup,
    reporter: Reporter,
    *,
    phases: Phases | None = None,
    checkpoint_every_s: float = CHECKPOINT_EVERY_S,
    within_epoch_every_s: float = WITHIN_EPOCH_EVERY_S,
    clock: Callable[[], float] = time.monotonic,
) -> FoldResult | Ended:
    """Train and score one fold, or continue an unfinished fold run from its checkpoint.

    On the CPU a continued fold run equals an uninterrupted fold run bit for bit, with the same
    number of `threads`.

    Args:
        phases: receives the phases of the training, to measure their time; None measures nothing.
        checkpoint_every_s: the least time between two checkpoints after epochs, unless the fold
            run is interrupted.
        within_epoch_every_s: the time after which a checkpoint is written within an epoch.
        clock: returns the time in seconds.

    Raises:
        NonFiniteLossError: a loss became NaN or infinite; the optimizer did not take that step.
        OutOfMemoryError: even split batches do not fit into the GPU's memory.
        ConfigError: the configuration does not work with this data or this node.
        CheckpointError: the checkpoint is damaged or belongs to another fold run.
    """
    done = read_result(
        setup.directory,
        config_hash=setup.config_hash,
        folds_hash=setup.folds.hash,
        without_weights=setup.without_weights,
    )
    if done is not None:
        again = epochs_again(
            read_curve(setup.directory),
            fold=setup.fold,
            epochs=setup.last_epoch,
            notes=done.notes,
        )
        return done if all(map(reporter.past, again)) else Ended.STOPPED
    times = _Times(clock, checkpoint_every_s, within_epoch_every_s)
    return _train(setup, lambda: FoldRun(setup, phases=phases or NoPhases()), reporter, times)


def run_refit(
    setup: RefitSetup,
    reporter: Reporter,
    *,
    checkpoint_every_s: float = CHECKPOINT_EVERY_S,
    within_epoch_every_s: float = WITHIN_EPOCH_EVERY_S,
    clock: Callable[[], float] = time.monotonic,
) -> RefitResult | Ended:
    """Train on all images, or continue an unfinished refit from its checkpoint.

    The reports of the epochs have `train_loss`, `lr` and `seconds` only. For the other arguments
    and for exceptions see `run_fold`.
    """
    done = read_refit(setup.directory, identity=setup.identity)
    if done is not None:
        return done
    times = _Times(clock, checkpoint_every_s, within_epoch_every_s)
    return _train(setup, lambda: Refit(setup, phases=NoPhases()), reporter, times)


def _train(
    setup: TrainingSetup,
    begin: Callable[[], Epochs[Result]],
    reporter: Reporter,
    times: "_Times",
) -> Result | Ended:
    """Begin a training, or continue it from its checkpoint, and train it to its end."""
    set_up_torch(setup.device, setup.threads)
    try:
        training = begin()
        training.resume()
        times.saved()
        return _finish(training, reporter, times)
    except torch.OutOfMemoryError as error:
        # Too little memory for the passes of the network is handled by splitting batches. This
        # error happened in another place.
        raise OutOfMemoryError(
            f"{setup.name}: CUDA out of memory ({sizes(setup.config)}). {SMALLER_BATCH}. "
            f"Torch says: {first_line(error)}"
        ) from None


class _Times:
    """When checkpoints are due, in the seconds of a clock that counts from the last checkpoint."""

    def __init__(self, clock: Callable[[], float], every_s: float, within_epoch_s: float) -> None:
        self._clock = clock
        self._every_s = every_s
        self._within_epoch_s = within_epoch_s
        self.saved()

    def saved(self) -> None:
        """Count from now."""
        self._saved_at = self._clock()

    def due_after_epoch(self) -> bool:
        """Whether a checkpoint is due after an epoch."""
        return self._clock() - self._saved_at >= self._every_s

    def due_within_epoch(self) -> bool:
        """Whether a checkpoint is due within an epoch; the time then counts from now."""
        due = self._clock() - self._saved_at >= self._within_epoch_s
        if due:
            self.saved()
        return due


def _finish(training: Epochs[Result], reporter: Reporter, times: _Times) -> Result | Ended:
    """Train all remaining epochs and write the result."""
    if not all(map(reporter.past, training.past)):
        training.drop()
        return Ended.STOPPED

    def due() -> bool:
        # a process that took the training over must find its own checkpoint
        return times.due_within_epoch() and reporter.owns()

    while not training.complete:
        report = training.train_epoch(interrupted=reporter.interrupted, due=due)
        if report is None:
            if reporter.owns():
                training.save()
            return Ended.INTERRUPTED
        go_on = reporter.epoch(report)
        if not reporter.owns():
            return Ended.INTERRUPTED
        if not go_on:
            training.drop()
            return Ended.STOPPED
        if training.complete:
            break
        interrupted = reporter.interrupted()
        if interrupted or times.due_after_epoch():
            training.save()
            times.saved()
        if interrupted:
            return Ended.INTERRUPTED
    return training.finish()


def set_up_torch(device: torch.device, threads: int) -> None:
    """Set what holds for the whole process: torch's CPU threads, and how a GPU calculates."""
    torch.set_num_threads(threads)
    if device.type == "cuda":
        # tensor sizes stay the same, so cuDNN searches the fastest algorithm only once
        torch.backends.cudnn.benchmark = True
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
