"""What can name a sweep, and the name that is made of a caption.

The name is that of the sweep's folder, its key in the storage and an argument of commands. W&B's
`name` is a caption of any text, so a name is made of it.
"""

import hashlib
import unicodedata

from sweeps.paths import RESERVED_FOLDERS

MAX_NAME = 100  # characters
MAX_BYTES = 240  # in UTF-8, because most file systems take names of 255 bytes
_DIGEST = 6  # digits at the end of a name whose caption was cut


def name_problem(name: str) -> str | None:
    """The reason why `name` cannot be the name of a sweep, or None.

    Example:
        >>> name_problem("mask-2"), name_problem("마스크")
        (None, None)
    """
    if name in RESERVED_FOLDERS:
        return f"{name!r} is the folder of other files beside the sweeps; choose another name"
    if (
        _fits(name)
        and _is_letter(name[0])
        and all(_is_letter(letter) or letter in "._-" for letter in name)
    ):
        return None
    rule = f"letters, digits, '.', '_' and '-', starting with a letter or digit, at most {MAX_NAME}"
    return f"{name!r} cannot name a folder: {rule}"


def sweep_name_of(caption: str) -> str:
    """The name of the sweep whose file has this `name`: itself, or a name that is made of it.

    Letters of every script are kept. The result is `caption` if no name can be made of it, because
    it has no letter and no digit, or if it is the name of another folder.

    Example:
        >>> sweep_name_of("Chest X-ray (first try)"), sweep_name_of("마스크 실험 #2")
        ('chest-x-ray-first-try', '마스크-실험-2')
        >>> sweep_name_of("Chest_X-ray.2")
        'Chest_X-ray.2'
    """
    composed = unicodedata.normalize("NFC", caption)
    if name_problem(composed) is None:
        return composed
    if caption in RESERVED_FOLDERS:
        return caption
    kept = (letter if _is_letter(letter) or letter in "._" else " " for letter in composed.lower())
    name = "-".join("".join(kept).split()).strip("._-")
    if not name:
        return caption
    # it ends with a digest, because captions that are cut may begin alike
    digest = hashlib.sha256(composed.encode()).hexdigest()[:_DIGEST]
    ending = "" if _fits(name) else f"-{digest}"
    while not _fits(name + ending):
        name = name[:-1].rstrip("._-")
    return name + ending


def _fits(name: str) -> bool:
    return 0 < len(name) <= MAX_NAME and len(name.encode()) <= MAX_BYTES


def _is_letter(letter: str) -> bool:
    """Whether a character is a letter, a mark on a letter, or a digit, of any script."""
    return unicodedata.category(letter)[0] in "LMN"
