"""Which backbones there are; without importing torch once the answer is known."""

import difflib
import importlib.metadata
import json

from trainer.data.cache import writable_cache_folder
from trainer.files import write_json


def known_backbones() -> frozenset[str]:
    """Names that the installed timm accepts, with and without a pretrained tag.

    Importing timm takes 4-6 s, so its answer is remembered per version in the cache folder.
    """
    path = writable_cache_folder() / f"timm-{importlib.metadata.version('timm')}.json"
    if not path.is_file():
        import timm

        write_json(path, sorted({*timm.list_models(), *timm.list_pretrained()}))
    return frozenset(json.loads(path.read_text()))


def check_backbone(name: str) -> str | None:
    """What is wrong with a backbone name, or None."""
    known = known_backbones()
    if name in known:
        return None
    near = difflib.get_close_matches(name, sorted(known), n=3)
    hint = f" Nearest: {', '.join(map(repr, near))}." if near else ""
    return f"timm has no model {name!r}.{hint} `python -c 'import timm; print(timm.list_models())'` lists them"
