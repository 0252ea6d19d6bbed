"""State on disk, whole or absent: the checkpoint of an unfinished fold run, the weights of a finished one."""

import pickle
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn

from trainer.errors import CheckpointError, first_line
from trainer.files import atomic_write

FORMAT = 1
# what torch.load raises for files that are cut off, overwritten or not checkpoints at all
DAMAGED = (
    OSError,
    RuntimeError,
    EOFError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    AssertionError,
    pickle.UnpicklingError,
)


def save_checkpoint(path: Path, state: dict[str, Any], *, identity: dict[str, Any]) -> None:
    """Write `state` (tensors, numbers, strings, lists and dicts of them) under `identity`."""
    with atomic_write(path) as file:
        torch.save({"format": FORMAT, "identity": identity, "state": state}, file)


def load_checkpoint(path: Path, *, identity: dict[str, Any]) -> dict[str, Any] | None:
    """The state saved at `path`, in host memory, or None if there is none.

    Networks and optimizers move to the device what belongs there. Step counters stay: an optimizer that reads one on
    the host would wait for the device in every step.

    Args:
        identity: must equal the one saved: a checkpoint continues only the very same fold run.

    Raises:
        CheckpointError: damaged, or saved by another configuration, other folds or another version.
    """
    if not path.is_file():
        return None
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        version, found, state = saved["format"], saved["identity"], saved["state"]
    except DAMAGED as error:
        reason = first_line(error)
        raise CheckpointError(
            f"{path}: the checkpoint is damaged ({reason}). Remove it to start this fold again"
        ) from None
    if version != FORMAT or found != identity:
        different = sorted(key for key in identity if found.get(key) != identity[key]) or ["format"]
        raise CheckpointError(
            f"{path}: the checkpoint belongs to another fold run (different: "
            f"{', '.join(different)}). Remove it, or use another directory"
        )
    assert isinstance(state, dict)
    return state


def save_weights(path: Path, model: nn.Module) -> None:
    """Write the model's weights as safetensors, which load without running code."""
    state = {
        name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()
    }
    with atomic_write(path) as file:
        file.write(safetensors.torch.save(state))


def load_weights(path: Path, model: nn.Module) -> None:
    """Fill `model` with weights written by `save_weights`.

    Raises:
        CheckpointError: missing, damaged, or of another network.
    """
    try:
        model.load_state_dict(safetensors.torch.load_file(path))
    except (OSError, RuntimeError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{path}: the weights do not load ({first_line(error)})") from None
