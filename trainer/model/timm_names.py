"""The names of timm's backbones and optimizers, and where timm has pretrained weights.

torch is imported only when the answer is not in the cache folder.
"""

import dataclasses
import difflib
import fnmatch
import functools
import importlib.metadata
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer.cache_folder import writable_cache_folder
from trainer.files import write_json

# Names of timm's optimizers (as patterns) that foldsweep cannot use, with the reason.
# tests/trainer/learning/test_optimizers.py tries all other optimizers.
EXCLUDED = {
    "adahessian": "it needs second derivatives",
    "bnb*": "it needs the bitsandbytes package",
    "fused*": "it needs NVIDIA's apex package; adam, adamw and sgd are fused without it",
    "kron*": "it does not resume exactly from a checkpoint",
}


@dataclasses.dataclass(frozen=True)
class WeightsSource:
    """The place from which timm takes a backbone's pretrained weights.

    Attributes:
        hub_id: the model's id on the hub; empty if the weights are a file at `url`.
        file: the name of the file on the hub; empty for the hub's usual names.
        url: the address of the file; empty if the weights are on the hub.
    """

    hub_id: str
    file: str
    url: str


def known_backbones() -> frozenset[str]:
    """The backbone names that the installed timm accepts, with and without a pretrained tag."""
    known: frozenset[str] = _registry()["backbones"]
    return known


def known_optimizers() -> frozenset[str]:
    """The optimizer names of the installed timm, without the names that `EXCLUDED` matches."""
    return frozenset(name for name in _registry()["optimizers"] if _reason_against(name) is None)


def canonical_backbone(name: str) -> str:
    """The name that the installed timm has for a backbone whose name it has given up.

    Any other name is returned as it is: `check_backbone` says what is wrong with it.

    Example:
        >>> canonical_backbone("swsl_resnext50_32x4d"), canonical_backbone("resnet50")
        ('resnext50_32x4d.fb_swsl_ig1b_ft_in1k', 'resnet50')
    """
    registry = _registry()
    known = name
    # timm gives some names up for others that it has given up, too
    while known in registry["renamed"]:
        known = registry["renamed"][known]
    return known if known in registry["backbones"] else name


def weights_source(name: str) -> WeightsSource | None:
    """The place of a backbone's pretrained weights; None if timm lists no weights of it."""
    place = _registry()["weights"].get(name)
    return None if place is None else WeightsSource(*place)


def check_backbone(name: str) -> str | None:
    """A text that describes what is wrong with the name of a backbone, or None."""
    gone = _registry()["renamed"].get(name)
    if gone is not None and gone not in known_backbones():
        plain = gone.partition(".")[0]
        return f"timm calls {name!r} {gone!r} and has no such weights any more. Use {plain!r}"
    command = "`python -c 'import timm; print(timm.list_models())'`"
    return _problem("model", name, known=known_backbones(), command=command)


def check_optimizer(name: str) -> str | None:
    """A text that describes what is wrong with the name of an optimizer, or None."""
    known = _registry()["optimizers"]
    reason = _reason_against(name)
    if name in known and reason is not None:
        return f"{name!r} cannot train here: {reason}. Choose another one"
    command = "`python -c 'import timm.optim; print(timm.optim.list_optimizers())'`"
    return _problem("optimizer", name, known=known_optimizers(), command=command)


def _registry() -> dict[str, Any]:
    """timm's names of backbones and optimizers, the new names of old ones, and sources of weights.

    Importing timm takes 4-6 s. Therefore the cache folder keeps the answers for each version of
    timm.
    """
    path = writable_cache_folder() / f"timm-{importlib.metadata.version('timm')}-registry.json"
    if not path.is_file():
        write_json(path, _asked())
    return _read(path)


@functools.lru_cache(maxsize=1)
def _read(path: Path) -> dict[str, Any]:
    answers: dict[str, Any] = json.loads(path.read_text())
    return {**answers, "backbones": frozenset(answers["backbones"])}


def _asked() -> dict[str, Any]:
    import timm
    import timm.optim
    from timm.models import _registry as registry

    backbones = sorted({*timm.list_models(), *timm.list_pretrained()})
    given_up: Mapping[str, str | None] = registry._deprecated_models
    settings = {name: timm.get_pretrained_cfg(name) for name in backbones}
    return {
        "backbones": backbones,
        "optimizers": sorted(timm.optim.list_optimizers()),
        "renamed": {old: new for old, new in given_up.items() if new},
        "weights": {
            name: _source(found)
            for name, found in settings.items()
            if found is not None and (found.hf_hub_id or (found.url and isinstance(found.url, str)))
        },
    }


def _source(settings: Any) -> tuple[str, str, str]:
    """The fields of `WeightsSource`. As in timm, the hub comes before the address of a file."""
    if settings.hf_hub_id:
        return settings.hf_hub_id, settings.hf_hub_filename or "", ""
    return "", "", settings.url


def _problem(kind: str, name: str, *, known: frozenset[str], command: str) -> str | None:
    if name in known:
        return None
    near = difflib.get_close_matches(
        name.lower(), sorted(known), n=3
    )  # all names in timm are lower case
    hint = f" Nearest: {', '.join(map(repr, near))}." if near else ""
    return f"timm has no {kind} {name!r}.{hint} {command} lists them"


def _reason_against(name: str) -> str | None:
    return next(
        (reason for pattern, reason in EXCLUDED.items() if fnmatch.fnmatchcase(name, pattern)), None
    )
