'''Functions of the user's own: `metric`, `loss` and `backbone` may name one in a file, \
as `my_task.py:weighted_kappa`.

The file is in the folder of the search space. It must not import other files of yours: only \
its own content is part
of a fold run's identity. Code that it needs is in the file itself or in an installed package. \
Arguments and results
of the functions (B images of a batch, K classes, F features, N images):

    from collections.abc import Sequence
    import numpy as np, timm, torch
    from sklearn.metrics import cohen_kappa_score

    def weighted_kappa(probs_NK: np.ndarray, labels_N: np.ndarray, classes: Sequence[str]) -> float:
        """metric: takes float32 probabilities, class indices, class names; returns a finite \
number. `metric_goal` says whether a higher or a lower one is better."""
        return cohen_kappa_score(labels_N, probs_NK.argmax(axis=1), weights="quadratic")

    def mean_absolute(logits_BK: torch.Tensor, targets_BK: torch.Tensor) -> torch.Tensor:
        """loss: takes float32 logits and targets, rows that are distributions over the classes; \
returns a scalar, the mean over the images."""
        return (logits_BK.softmax(dim=1) - targets_BK).abs().sum(dim=1).mean()

    def two_sizes(size_HW: tuple[int, int], pretrained: bool) -> torch.nn.Module:
        """backbone: maps images (B, 3, H, W) to features (B, F); the classifier is added to it."""
        return timm.create_model("resnet18" if size_HW[0] < 128 else "resnet50", \
pretrained=pretrained, num_classes=0)

A metric is also called by processes without torch (`sweeps best`), so import torch only where \
a loss or backbone needs it.
'''
# The docstring above is a section of docs/parameters.md. A backslash joins two lines of the source
# into one line of that document.

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import hashlib
import importlib.abc
import importlib.util
import math
import numbers
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trainer.errors import ConfigError
from trainer.fields.declare import is_user_function

if TYPE_CHECKING:
    from torch import Tensor, nn

    from trainer.config import TrainConfig


Function = Callable[..., Any]


MODULE_PREFIX = "foldsweep_own_"  # marks a frame of the user's file in a traceback


LONGEST_TEXT = 300  # characters of an exception's text that are shown


LONGEST_LIST = 10  # names that are shown


CALLS = {
    "metric": "metric(probs_NK, labels_N, classes)",
    "loss": "loss(logits_BK, targets_BK)",
    "backbone": "backbone(size_HW, pretrained)",
}


@dataclasses.dataclass(frozen=True)
class _Source:
    """A user's file as it was read: the name of its module belongs to the executed bytes.

    `code_digest` and `load_user_function` each read the file.
    """

    name: str
    path: Path
    content: bytes

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


class _Loader(importlib.abc.SourceLoader):
    """Compiles the bytes of a `_Source`.

    The loader neither reads nor writes a file of byte code beside the user's file.
    """

    def __init__(self, source: _Source) -> None:
        self._source = source

    def get_filename(self, fullname: str) -> str:
        return str(self._source.path)

    def get_data(self, path: str | bytes) -> bytes:
        return self._source.content


def user_references(config: TrainConfig) -> dict[str, str]:
    """The user functions that `config` uses, by field: {"loss": "my_task.py:my_loss"}."""
    fields = {"backbone": config.backbone, "loss": config.loss, "metric": config.metric}
    return {
        field: value
        for field, value in fields.items()
        if value is not None and is_user_function(value)
    }


def code_digest(config: TrainConfig, folder: Path | None) -> str:
    """16 hex digits that identify the content of the files that `user_references` names.

    Without user functions, the result is "".

    Raises:
        ConfigError: a file cannot be read.
    """
    references = user_references(config)
    digests = {field: _read(reference, folder).digest for field, reference in references.items()}
    return (
        hashlib.sha256(repr(sorted(digests.items())).encode()).hexdigest()[:16] if digests else ""
    )


def load_user_function(reference: str, folder: Path | None) -> Function:
    """The function that `reference` names. The path of its file is relative to `folder`.

    A process executes a file once, and again only if the file's path or content differs.

    Raises:
        ConfigError: there is no folder or no such file, the file raises an error, or the file has
            no such function.
    """
    source = _read(reference, folder)
    module = _imported(source)
    name = reference.rpartition(":")[2]
    if not hasattr(module, name):
        raise ConfigError(
            f"{source.name} has no function {name!r}.{_hint(name, _functions(module))}"
        )
    function = getattr(module, name)
    if not callable(function):
        raise ConfigError(f"{reference} is a {type(function).__name__}, not a function")
    return function  # type: ignore[no-any-return]


def call_metric(
    function: Function,
    probs_NK: npt.NDArray[np.float32],
    labels_N: npt.NDArray[np.int64],
    classes: Sequence[str],
    reference: str,
) -> float:
    """The value of the user's metric for these predictions.

    The function gets copies of the arrays, so that it cannot change the caller's arrays.

    Raises:
        ConfigError: the function raised an error, or did not return a finite number.
    """
    with as_config_error(reference, "metric"):
        value = function(probs_NK.copy(), labels_N.copy(), tuple(classes))
    # numpy and torch have scalars with an empty shape
    number = value.item() if getattr(value, "shape", None) == () else value
    if isinstance(number, bool) or not isinstance(number, numbers.Real):
        raise ConfigError(f"{reference} returned {described(value)}; a metric returns one number")
    if not math.isfinite(number):
        raise ConfigError(
            f"{reference} returned {described(value)}; "
            "a metric returns a finite number, whatever is predicted"
        )
    return float(number)


def call_loss(function: Function, logits_BK: Tensor, targets_BK: Tensor, reference: str) -> Tensor:
    """The value of the user's loss for a batch.

    The value may be NaN or infinite: the caller must check whether it is finite.

    Raises:
        ConfigError: the function raised an error, or did not return a scalar tensor.
    """
    import torch

    with as_config_error(reference, "loss", passing=(torch.OutOfMemoryError,)):
        loss = function(logits_BK, targets_BK)
    if not isinstance(loss, torch.Tensor) or loss.shape != ():
        raise ConfigError(
            f"{reference} returned {described(loss)}; "
            "a loss returns a scalar tensor, e.g. its .mean()"
        )
    return loss


def call_backbone(
    function: Function, size_HW: tuple[int, int], pretrained: bool, reference: str
) -> nn.Module:
    """The module that the user's backbone function builds for images of `size_HW`.

    Raises:
        ConfigError: the function raised an error, or did not return a module.
    """
    from torch import nn

    with as_config_error(reference, "backbone"):
        backbone = function(size_HW, pretrained)
    if not isinstance(backbone, nn.Module):
        raise ConfigError(
            f"{reference} returned {described(backbone)}; "
            "a backbone function returns a torch.nn.Module"
        )
    return backbone


def _read(reference: str, folder: Path | None) -> _Source:
    name = reference.rpartition(":")[0]
    if folder is None:
        raise ConfigError(
            f"{reference}: {name} is looked for beside the search space, and here there is none"
        )
    path = (folder / name).resolve()
    try:
        return _Source(name, path, path.read_bytes())
    except FileNotFoundError:
        beside = sorted(found.name for found in folder.glob("*.py"))
        raise ConfigError(
            f"{reference}: there is no file {path}.{_hint(name, beside, has='The folder has')}"
        ) from None
    except OSError as error:
        raise ConfigError(f"{reference}: {path} cannot be read: {error.strerror}") from None


def _imported(source: _Source) -> ModuleType:
    name = (
        MODULE_PREFIX + hashlib.sha256(str(source.path).encode() + source.content).hexdigest()[:16]
    )
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_loader(name, _Loader(source))
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        with as_config_error(source.name, "import", passing=(), folder=source.path.parent):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]  # the module is incomplete
        raise
    return module


@contextlib.contextmanager
def as_config_error(
    what: str, call: str, *, passing: tuple[type[Exception], ...] = (), folder: Path | None = None
) -> Iterator[None]:
    """Turn errors of the user's code into a ConfigError of one line.

    The line names the place in the user's file. Exceptions of the types in `passing`, and
    MemoryError, are raised unchanged.

    Args:
        what: the file or the reference that the message begins with.
        call: "import", or the field of the user function that is called.
        folder: the folder of the user's file, if the file is being imported.
    """
    untouched: tuple[type[Exception], ...] = (MemoryError, *passing)
    try:
        yield
    except untouched:
        raise
    except (Exception, SystemExit) as error:
        line = _user_line(error)
        where = what if line is None else f"{what}, line {line}"
        text = _one_line(error.msg if isinstance(error, SyntaxError) else str(error))
        hint = ""
        if isinstance(error, TypeError) and line is None and call in CALLS:
            hint = f". It is called as {CALLS[call]}"
        elif (
            isinstance(error, ModuleNotFoundError)
            and folder is not None
            and (folder / f"{error.name}.py").is_file()
        ):
            hint = f". A file stands alone: put what it needs of {error.name}.py into it"
        raise ConfigError(f"{where}: {type(error).__name__}: {text}{hint}") from error


def _user_line(error: BaseException) -> int | None:
    """The line number in the innermost frame of the user's file; None if no frame is in it."""
    if isinstance(error, SyntaxError):
        return error.lineno
    lines = [
        line
        for frame, line in traceback.walk_tb(error.__traceback__)
        if frame.f_globals.get("__name__", "").startswith(MODULE_PREFIX)
    ]
    return lines[-1] if lines else None


def _functions(module: ModuleType) -> list[str]:
    """The names of the public callables that the user's file itself defines."""
    return [
        name
        for name, value in vars(module).items()
        if callable(value)
        and not name.startswith("_")
        and getattr(value, "__module__", None) == module.__name__
    ]


def _hint(name: str, known: Sequence[str], *, has: str = "It has") -> str:
    """A hint for a message: the known name that is most similar, and the first known names."""
    near = difflib.get_close_matches(name, known, n=1)
    meant = f" Did you mean {near[0]!r}?" if near else ""
    return f"{meant} {has}: {', '.join(known[:LONGEST_LIST])}" if known else meant


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_TEXT else f"{line[:LONGEST_TEXT]}..."


def described(value: Any) -> str:
    """A short text for a value that a user function returned.

    The text of a number is the number. The text of any other value is its type, and its shape if
    the value has one.
    """
    if isinstance(value, numbers.Number):
        return _one_line(str(value))
    shape = getattr(value, "shape", None)
    kind = type(value).__name__
    return kind if shape is None else f"{kind} of shape {tuple(shape)}"
