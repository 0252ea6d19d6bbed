"""Weights of a backbone from a local file.

The file is read without running code. Either all weights of the backbone are loaded or none.
"""

import argparse
import dataclasses
import inspect
import pickle
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from trainer.errors import ConfigError, first_line
from trainer.model.checkpoint import DAMAGED

State = dict[str, Tensor]
# keys of the weights in the checkpoints of training scripts; as in timm, averaged weights first
WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model")
# prefixes from torch.compile and DistributedDataParallel, in either order
PREFIXES = ("_orig_mod.", "module.", "_orig_mod.")
# The module of an architecture in timm can have a function that rewrites old checkpoints. The
# function has one of these names.
FILTERS = (
    "checkpoint_filter_fn",
    "_filter_fn",
    "pretrained_filter_fn",
    "_filter_torchvision_pretrained",
    "checkpoint_filter_fn_classifier",
)
FILTER_FAILURES = (AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
SHOWN = 3  # how many names of each kind a message shows
# The counter of a batch norm may be missing, as in older files: torch starts the counter at 0, and
# timm never reads it.
COUNTER = "num_batches_tracked"


def load_backbone_weights(backbone: nn.Module, path: Path, *, name: str) -> None:
    """Load every parameter and buffer of `backbone` from a .safetensors or torch file.

    The file holds the weights of the backbone, the weights of timm's whole model (whose classifier
    is left out), or the weights of a foldsweep network (`model.safetensors` of a fold run, whose
    heads are left out). If timm has a filter function for the architecture, the
    filter rewrites older names and position embeddings of another image size. For a backbone on the
    meta device, names and shapes are compared and nothing is copied.

    Args:
        name: the name of the backbone, for messages.

    Raises:
        ConfigError: the file does not exist, is damaged or contains code, or its weights do not fit
            the backbone exactly.
    """
    wanted = backbone.state_dict()
    on_meta = any(tensor.is_meta for tensor in wanted.values())
    found = _named(_read(path, device="meta" if on_meta else "cpu"), path)
    best: _Misfit | None = None
    for state in _readings(found, backbone):
        needed = _without_classifier(state, backbone, wanted)
        misfit = _Misfit.between(needed, wanted)
        if not misfit.size:
            if not on_meta:
                backbone.load_state_dict(needed)
            return
        if best is None or misfit.size < best.size:
            best = misfit
    assert best is not None
    raise ConfigError(
        f"weights: {path} does not fit backbone {name}: {best.text()}. Name a file with weights "
        "of this backbone"
    )


@dataclasses.dataclass(frozen=True)
class _Misfit:
    """The differences between the weights in a file and the weights that a backbone needs.

    Attributes:
        missing: names that only the backbone has.
        unknown: names that only the file has.
        reshaped: names with both shapes, where the shapes differ.
    """

    missing: list[str]
    unknown: list[str]
    reshaped: list[str]

    @classmethod
    def between(cls, state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> "_Misfit":
        return cls(
            missing=[key for key in wanted if key not in state and not key.endswith(COUNTER)],
            unknown=[key for key in state if key not in wanted],
            reshaped=[
                f"{key}: {_shape(state[key])} in the file, {_shape(tensor)} needed"
                for key, tensor in wanted.items()
                if key in state and state[key].shape != tensor.shape
            ],
        )

    @property
    def size(self) -> int:
        return len(self.missing) + len(self.unknown) + len(self.reshaped)

    def text(self) -> str:
        kinds = {
            "missing": self.missing,
            "unknown": self.unknown,
            "of another shape": self.reshaped,
        }
        return "; ".join(
            f"{len(names)} {kind} ({_few(names)})" for kind, names in kinds.items() if names
        )


def _read(path: Path, *, device: str) -> Any:
    """The content of a file; on the meta device only names and shapes."""
    advice = "Name a whole .safetensors or torch file with a state dict"
    if not path.is_file():
        raise ConfigError(
            f"weights: there is no file {path}. Name an existing file, pretrained or none"
        )
    try:
        if path.suffix == ".safetensors":
            return (
                _safetensors_shapes(path) if device == "meta" else safetensors.torch.load_file(path)
            )
        # checkpoints of timm's training script hold its arguments, which are plain values
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location=device, weights_only=True)
    except pickle.UnpicklingError as error:
        found = _unsafe_names(path)
        if not found:
            raise ConfigError(
                f"weights: {path} is damaged, no torch file, or an old one that could run code. "
                f"{advice}"
            ) from error
        raise ConfigError(
            f"weights: {path} holds Python objects ({_few(found)}), which could run code and are "
            "not loaded. Save its state dict alone: torch.save(model.state_dict(), path)"
        ) from error
    except (safetensors.SafetensorError, *DAMAGED) as error:
        reason = first_line(error)
        raise ConfigError(f"weights: {path} cannot be read ({reason}). {advice}") from error


def _safetensors_shapes(path: Path) -> State:
    with safetensors.safe_open(path, framework="pt") as file:
        names = file.keys()  # the file object itself is not iterable
        return {
            name: torch.empty(file.get_slice(name).get_shape(), device="meta") for name in names
        }


def _unsafe_names(path: Path) -> list[str]:
    try:
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except DAMAGED:
        return []  # the file is not a zip file, which torch.save writes


def _named(content: Any, path: Path) -> State:
    """The state dict in the content of a file; its names have no prefixes of wrapper modules."""
    if isinstance(content, Mapping):
        wrapped = next(
            (content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)), content
        )
        if wrapped and all(
            isinstance(key, str) and isinstance(value, Tensor) for key, value in wrapped.items()
        ):
            return {_unwrapped(key): value for key, value in wrapped.items()}
    held = (
        f"its entries are {_few([*map(str, content)])}"
        if isinstance(content, Mapping)
        else type(content).__name__
    )
    raise ConfigError(
        f"weights: {path} holds no state dict ({held}). Save one: torch.save(model.state_dict(), "
        "path)"
    )


def _unwrapped(key: str) -> str:
    for prefix in PREFIXES:
        key = key.removeprefix(prefix)
    return key


def _readings(found: State, backbone: nn.Module) -> Iterator[State]:
    """The state dicts that the file can mean.

    First come the names as they are, then the names as those of a foldsweep network, then both as
    timm's filter rewrites them.
    """
    readings = [found]
    if all(key.startswith(("backbone.", "heads.")) for key in found):
        of_network = {
            key.removeprefix("backbone."): found[key]
            for key in found
            if key.startswith("backbone.")
        }
        readings.append(of_network)
    yield from readings
    rewrite = _filter_of(backbone)
    for state in readings if rewrite else ():
        assert rewrite is not None
        try:
            yield rewrite(dict(state), backbone)
        except FILTER_FAILURES:  # the names are not what the filter expects
            continue


def _filter_of(backbone: nn.Module) -> Callable[[State, nn.Module], State] | None:
    module = sys.modules.get(type(backbone).__module__)
    if module is None or not module.__name__.startswith("timm."):
        return None
    function = next((getattr(module, name) for name in FILTERS if hasattr(module, name)), None)
    if function is None or len(inspect.signature(function).parameters) > 1:
        return function
    return lambda state, _: function(state)


def _without_classifier(state: State, backbone: nn.Module, wanted: Mapping[str, Tensor]) -> State:
    """The state without the classifier of timm's whole model, which a backbone lacks.

    An example of a left-out name is `head.fc.weight`.
    """
    names = getattr(backbone, "pretrained_cfg", {}).get("classifier") or ()
    heads = {name.partition(".")[0] for name in ((names,) if isinstance(names, str) else names)}
    return {
        key: value
        for key, value in state.items()
        if key in wanted or key.partition(".")[0] not in heads
    }


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"


def _few(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
