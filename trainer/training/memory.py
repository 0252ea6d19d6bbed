"""The memory that a trial leaves in use.

The memory of a worker that trains hundreds of trials must not grow.
"""

import atexit
import contextlib
import gc
from collections.abc import Iterator

import torch

from trainer.images.batches import resident_bytes

TOLERANCE = 0.01  # share of the memory that was in use before the trial
# what libraries keep after their first use, and unused parts of memory blocks
SLACK_BYTES = 64 * 2**20


def settle() -> None:
    """Exclude all objects that exist now from garbage collection.

    This function is called once per process, before the first trial. The search for a trial's
    tensors then takes 1 ms instead of 250 ms.
    """
    gc.collect()
    gc.freeze()
    # extension modules print warnings about objects that still exist at the exit
    atexit.register(gc.unfreeze)


@contextlib.contextmanager
def settled() -> Iterator[None]:
    """As `settle`, until the block ends: for a process that goes on with something else.

    A process that has settled before stays as it is.
    """
    if gc.get_freeze_count():
        yield
        return
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def used_bytes(device: torch.device) -> int:
    """Return the memory of live tensors, without the decoded data sets that all trials share.

    On a GPU this is the memory that torch has reserved, after torch has released its unused memory,
    because other processes may share the GPU. On the CPU this is the size of the storages of all
    tensors that Python's garbage collector finds.
    """
    gc.collect()
    if device.type == "cuda":
        # cuBLAS keeps a workspace for each thread that has used it, on Hopper 32 MiB each; a
        # training leaves two of them
        torch._C._cuda_clearCublasWorkspaces()
        torch.cuda.empty_cache()
        return torch.cuda.memory_reserved(device) - resident_bytes()
    # not `isinstance`, which reads the class of lazy proxies: some proxies then print a warning
    kinds = (torch.Tensor, torch.nn.Parameter)
    tensors = [
        thing for thing in gc.get_objects() if type(thing) in kinds and thing.device.type == "cpu"
    ]
    return sum(
        {
            tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
            for tensor in tensors
        }.values()
    )


def leftover_bytes(before: int, after: int) -> int:
    """Return the memory that a trial left in use.

    The result is 0 up to 1 % of the memory in use before the trial, and up to `SLACK_BYTES`, which
    libraries keep.

    Args:
        before: memory in use before the trial.
        after: memory in use after the trial.
    """
    left = after - before
    return left if left > max(TOLERANCE * before, SLACK_BYTES) else 0
