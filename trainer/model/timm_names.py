"""The names of timm's backbones and optimizers; torch is imported only when no list is cached."""

import difflib
import fnmatch
import importlib.metadata
import json
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


def known_backbones() -> frozenset[str]:
    """The backbone names that the installed timm accepts, with and without a pretrained tag."""
    return _names()["backbones"]


def known_optimizers() -> frozenset[str]:
    """The optimizer names of the installed timm, without the names that `EXCLUDED` matches."""
    return frozenset(name for name in _names()["optimizers"] if _reason_against(name) is None)


def check_backbone(name: str) -> str | None:
    """A text that describes what is wrong with the name of a backbone, or None."""
    command = "`python -c 'import timm; print(timm.list_models())'`"
    return _problem("model", name, known=known_backbones(), command=command)


def check_optimizer(name: str) -> str | None:
    """A text that describes what is wrong with the name of an optimizer, or None."""
    known = _names()["optimizers"]
    reason = _reason_against(name)
    if name in known and reason is not None:
        return f"{name!r} cannot train here: {reason}. Choose another one"
    command = "`python -c 'import timm.optim; print(timm.optim.list_optimizers())'`"
    return _problem("optimizer", name, known=known_optimizers(), command=command)


def _names() -> dict[str, frozenset[str]]:
    """The names of timm's backbones and optimizers.

    Importing timm takes 4-6 s. Therefore the cache folder keeps the names for each version of timm.
    """
    path = writable_cache_folder() / f"timm-{importlib.metadata.version('timm')}-names.json"
    if not path.is_file():
        import timm
        import timm.optim

        backbones = {*timm.list_models(), *timm.list_pretrained()}
        answers = {
            "backbones": sorted(backbones),
            "optimizers": sorted(timm.optim.list_optimizers()),
        }
        write_json(path, answers)
    remembered: dict[str, Any] = json.loads(path.read_text())
    return {kind: frozenset(names) for kind, names in remembered.items()}


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
