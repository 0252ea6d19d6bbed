"""What a fold run leaves behind: a worker that serves hundreds of trials must not fill up."""

import atexit
import gc

import torch

from trainer.images.batches import resident_bytes

TOLERANCE = 0.01  # of what was in use before
# workspaces that libraries keep from their first use on (cuBLAS: 8 to 32 MiB per handle), and unused parts of blocks
SLACK_BYTES = 64 * 2**20


def settle() -> None:
    """Take what is imported by now out of the garbage collector's sight; once per process, before its first trial.

    A look at a trial's tensors then takes 1 ms in place of 250.
    """
    gc.collect()
    gc.freeze()
    atexit.register(gc.unfreeze)  # extension modules complain of what is left at the exit


def used_bytes(device: torch.device) -> int:
    """Memory that live tensors take, beyond the decoded data sets that all trials of a worker share.

    On a GPU what torch holds there, after it has given back what it can: others may share the card. On the CPU the
    storages of all tensors that Python knows.
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        return torch.cuda.memory_reserved(device) - resident_bytes()
    # not isinstance: it asks lazy proxies for their class, and some of them warn
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
    """What a trial left in memory; 0 within 1 % of what was in use before it, and within what libraries keep."""
    left = after - before
    return left if left > max(TOLERANCE * before, SLACK_BYTES) else 0
