"""The files of a fold run's state: the checkpoint while unfinished, the weights when finished.

Each file is written atomically, so it is whole or absent.
"""

import hashlib
import json
import pickle
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn

from trainer.errors import CheckpointError, first_line
from trainer.files import atomic_write

FORMAT = 1
PARAMETERS = "parameters"  # key of a text in the header of a file of weights
# what torch.load raises for files that are truncated, overwritten or no checkpoints
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
    """Write a checkpoint.

    Args:
        state: tensors, numbers and strings, also in lists and dicts.
        identity: what identifies the fold run; `load_checkpoint` compares it.
    """
    with atomic_write(path) as file:
        torch.save({"format": FORMAT, "identity": identity, "state": state}, file)


def load_checkpoint(path: Path, *, identity: dict[str, Any]) -> dict[str, Any] | None:
    """The state saved at `path`, in host memory, or None if the file does not exist.

    Networks and optimizers later move their tensors to the device. Step counters stay in host
    memory: the optimizer reads them on the host, and would otherwise wait for the device in every
    step.

    Args:
        identity: must equal the saved identity: a checkpoint continues only the same fold run.

    Raises:
        CheckpointError: the file is damaged, or was saved by another configuration, other folds or
            another version.
    """
    if not path.is_file():
        return None
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        version = saved["format"]
        found = saved["identity"]
        state = saved["state"]
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


def save_weights(path: Path, model: nn.Module, *, header: Mapping[str, str] | None = None) -> None:
    """Write the model's weights as a safetensors file, which is loaded without running code.

    Args:
        header: texts that `read_header` returns, see `trainer.model.weights_header`. The number of
            the model's parameters is added, see `read_parameters`.
    """
    texts = dict(header or {})
    if texts:
        texts[PARAMETERS] = str(sum(each.numel() for each in model.parameters()))
    state = {
        name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()
    }
    content = safetensors.torch.save(state, texts)
    (length,) = struct.unpack_from("<Q", content)
    described = json.loads(content[8 : 8 + length])
    # Safetensors writes these texts in a random order. Equal weights must give equal bytes.
    described["__metadata__"] = dict(sorted(described.get("__metadata__", {}).items()))
    head = json.dumps(described, separators=(",", ":"), ensure_ascii=False).encode()
    head += b" " * (-len(head) % 8)  # the format aligns the tensors to 8 bytes
    with atomic_write(path) as file:
        file.write(struct.pack("<Q", len(head)) + head)
        file.write(memoryview(content)[8 + length :])


def read_header(path: Path) -> dict[str, str]:
    """Return the texts that `save_weights` wrote; no weights are read.

    A file of an earlier version has no texts.

    Raises:
        CheckpointError: the file is missing, cut off or no safetensors file.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except (OSError, safetensors.SafetensorError) as error:
        raise _not_loading(path, error) from None


def read_parameters(path: Path) -> int | None:
    """Return the number of parameters of the network that `save_weights` wrote.

    Returns:
        The number; None if the file is missing or damaged, or of a version before 2026-11-28.
    """
    try:
        return int(read_header(path)[PARAMETERS])
    except (CheckpointError, KeyError, ValueError):
        return None


def weights_digest(path: Path) -> str:
    """64 hex digits that identify the weights of a file, whatever its texts say."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        described = json.loads(file.read(length))
        described.pop("__metadata__", None)
        digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
        digest.update(file.read())
    return digest.hexdigest()


def load_weights(path: Path, model: nn.Module) -> None:
    """Load weights that `save_weights` wrote into `model`.

    Raises:
        CheckpointError: the file is missing or damaged, or has the weights of another network.
    """
    try:
        model.load_state_dict(safetensors.torch.load_file(path))
    except (OSError, RuntimeError, safetensors.SafetensorError) as error:
        raise _not_loading(path, error) from None


def _not_loading(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(f"{path}: the weights do not load ({first_line(error)})")
