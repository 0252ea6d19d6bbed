"""One fold run: train on K-1 folds, score the held-out one, leave a directory that is complete or continues.

The directory holds `last.ckpt` while the fold run is unfinished (and `epochs/`, see kept_epochs.py), and at its end
`curve.csv`, `oof.npz`, `model.safetensors` and, written last, `result.json`: where that file stands, the fold is done
for ever.
"""

import enum
import time
from collections.abc import Callable

import torch

from trainer.errors import ConfigError, OutOfMemoryError, first_line
from trainer.learning.learner import sizes
from trainer.learning.phases import NoPhases, Phases
from trainer.training.fold_run import FoldRun, epochs_again
from trainer.training.fold_setup import FoldSetup
from trainer.training.reporter import Reporter
from trainer.training.result import FoldResult, read_curve, read_result

CHECKPOINT_EVERY_S = 60.0


class Ended(enum.Enum):
    """How a fold run can end without a result."""

    STOPPED = "stopped"  # for good; its checkpoint is gone
    INTERRUPTED = (
        "interrupted"  # to be continued, from its checkpoint or by the process that took it over
    )


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


def run_fold(
    setup: FoldSetup,
    reporter: Reporter,
    *,
    phases: Phases | None = None,
    checkpoint_every_s: float = CHECKPOINT_EVERY_S,
    clock: Callable[[], float] = time.monotonic,
) -> FoldResult | Ended:
    """Train and score one fold, or continue where its directory says it stopped.

    A continued fold run equals an uninterrupted one bit for bit on the CPU, given the same `threads`.

    Args:
        phases: told what the time is spent on.
        checkpoint_every_s: least time between two checkpoints while nothing asks for one.

    Raises:
        NonFiniteLossError: a loss became NaN or infinite; nothing of that step was applied.
        OutOfMemoryError: even split batches do not fit into the GPU's memory.
        ConfigError, CheckpointError: see there.
    """
    config, directory = setup.config, setup.directory
    done = read_result(directory, config_hash=setup.config_hash, folds_hash=setup.folds.hash)
    if done is not None:
        again = epochs_again(
            read_curve(directory), fold=setup.fold, epochs=config.epochs, notes=done.notes
        )
        return done if all(map(reporter.past, again)) else Ended.STOPPED
    _set_up_torch(setup.device, setup.threads)
    try:
        run = FoldRun(setup, phases=phases or NoPhases())
        run.resume()
        return _to_the_end(run, reporter, checkpoint_every_s=checkpoint_every_s, clock=clock)
    except torch.OutOfMemoryError as error:  # beside the network's passes, where batches are split
        raise OutOfMemoryError(
            f"fold {setup.fold}: CUDA out of memory ({sizes(config)}). A smaller batch_size or resize helps. "
            f"Torch says: {first_line(error)}"
        ) from None


def _to_the_end(
    run: FoldRun, reporter: Reporter, *, checkpoint_every_s: float, clock: Callable[[], float]
) -> FoldResult | Ended:
    if not all(map(reporter.past, run.past)):
        run.drop()
        return Ended.STOPPED
    saved_at, on_disk = (
        clock(),
        True,
    )  # the start of the next epoch can be restored (at first: from the seed)
    while not run.complete:
        report = run.train_epoch(interrupted=reporter.interrupted if on_disk else _never)
        if report is None:
            return Ended.INTERRUPTED
        go_on = reporter.epoch(report)
        if not reporter.owns():
            return Ended.INTERRUPTED
        if not go_on:
            run.drop()
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


def _set_up_torch(device: torch.device, threads: int) -> None:
    torch.set_num_threads(threads)
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = (
            True  # sizes stay the same: the fastest algorithm is tried out once
        )
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True


def _never() -> bool:
    return False
