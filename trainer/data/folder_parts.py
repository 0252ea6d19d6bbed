"""Find sub-folders that are parts of a data set, such as `train` and `val`, and no classes.

The names of the folders and the paths of their images decide; the disk is not read again.
"""

import dataclasses
import re
from collections.abc import Iterable
from pathlib import Path

from trainer.data.part_words import ROLES
from trainer.data.values import yaml_name
from trainer.errors import DataError
from trainer.images.manifest import composed

# words beside a word of WORDS that leave its meaning as it is: `train_images`, `test-set`, `01.val`
FILLERS = (
    r"\d+x\d+|\d|images?|imgs?|pictures?|pics?|photos?|jpe?gs?|pngs?|data|sets?|splits?|parts?"
    r"|subsets?|folders?|dirs?|files?|crops?|cropped|resized|raw|clean|original|labell?ed"
    r"|augmented|small|full|new|final|stage|용|데이터|이미지|사진|세트|셋"
)
PART = re.compile(rf"(?:{FILLERS})*(?P<word>{'|'.join(ROLES)})(?:{FILLERS})*")
FOLD = re.compile(rf"(?:{FILLERS})*(?:fold|split)\d+")
SEPARATORS = re.compile(r"[\s_.,()\[\]-]+")
CAPITAL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
OPPOSITES = ("invalid", "notvalid", "nonvalid", "unvalid")
MAX_SHOWN = 6  # names of folders that a message shows


@dataclasses.dataclass(frozen=True)
class Misread:
    """Sub-folders that would become the classes and are parts of a data set.

    Attributes:
        text: the problem, and what to write instead.
        options: the options of `data` to write instead; empty if no options describe such data.
        held_out: whether `valid` among the options is a part that is meant to be held out.
    """

    text: str
    options: dict[str, str | list[str]] = dataclasses.field(default_factory=dict)
    held_out: bool = False


@dataclasses.dataclass
class _Folder:
    """A sub-folder with images.

    Attributes:
        path: the path of the folder, relative to the source.
        direct: the number of images directly in the folder.
        inner: the names of its sub-folders with images, and the paths in each of them.
    """

    path: str
    direct: int
    inner: dict[str, list[str]]

    @property
    def name(self) -> str:
        """The name of the folder, in the Unicode form NFC."""
        return composed(self.path.rpartition("/")[2])

    @property
    def role(self) -> str | None:
        """`train`, `valid` or `test` if the folder is called like a part of a data set."""
        return role_of_name(self.name)

    @property
    def keys(self) -> set[str]:
        """The names of the sub-folders for a comparison."""
        return {composed(name).casefold() for name in self.inner}


def role_of_name(name: str) -> str | None:
    """`train`, `valid` or `test` for the name of such a part of a data set, else None.

    Example:
        >>> role_of_name("train_images"), role_of_name("01.Val"), role_of_name("cats")
        ('train', 'valid', None)
    """
    found = PART.fullmatch(SEPARATORS.sub("", composed(name).casefold()))
    return ROLES[found["word"]] if found else None


def refuse_parts(source: Path, paths: Iterable[str]) -> list[str]:
    """Refuse a folder whose sub-folders are parts of a data set and would become the classes.

    Args:
        paths: the paths of the images, relative to `source`. The first folder of a path is the
            class.

    Returns:
        Notes about folders that may be parts, but are read as classes.

    Raises:
        DataError: the sub-folders are called like parts; or all of them hold the same sub-folders;
            or there is only one, with sub-folders.
    """
    place, tops = _branching(paths)
    found = _misread(source, place, tops)
    if found is not None:
        raise DataError(
            f"{source}: {found.text}. If the sub-folders of {source} are the classes all the same, "
            "write `layout: class_folders` below data"
        )
    return [
        f"a class is called {folder.name!r}, like a part of a data set. If that is meant, "
        "`layout: class_folders` below data says so"
        for folder in ([] if place else _called_like_parts(tops))
    ]


def misread(source: Path, paths: Iterable[str]) -> Misread | None:
    """What `refuse_parts` refuses, with the options to write instead; None if it refuses nothing.

    Args:
        paths: as for `refuse_parts`.
    """
    return _misread(source, *_branching(paths))


def _branching(paths: Iterable[str]) -> tuple[str, list[_Folder]]:
    """The first level with several sub-folders or with images: its path, and the sub-folders."""
    place = ""
    tops = _folders(place, paths)
    while len(tops) == 1 and not tops[0].direct:
        place = tops[0].path
        tops = _folders(place, (path for inner in tops[0].inner.values() for path in inner))
    return place, tops


def _misread(source: Path, place: str, tops: list[_Folder]) -> Misread | None:
    found = _problem(source, tops)
    if found is None and place and len(tops) > 1:
        return Misread(
            f"its only sub-folder with images is {place}, which would become the only class. "
            f"It holds {_names(tops)}: write `source: {source / place}`",
            {"source": str(source / place)},
        )
    return found


def _folders(place: str, paths: Iterable[str]) -> list[_Folder]:
    """The sub-folders of the folder `place` that have images, by their names."""
    depth = place.count("/") + 1 if place else 0
    found: dict[str, _Folder] = {}
    for path in paths:
        parts = path.split("/", depth + 2)
        name = parts[depth]
        folder = found.get(name)
        if folder is None:
            folder = found[name] = _Folder("/".join(parts[: depth + 1]), 0, {})
        if len(parts) == depth + 2:
            folder.direct += 1
        else:
            folder.inner.setdefault(parts[depth + 1], []).append(path)
    return [found[name] for name in sorted(found)]


def _problem(source: Path, tops: list[_Folder]) -> Misread | None:
    """What is wrong with the folders as classes, and what to write instead; None if nothing is."""
    if len(tops) < 2:
        return None
    parts = _called_like_parts(tops) or _loose_parts(tops)
    if len(parts) > 1 or (parts and _is_part(parts[0], tops)):
        return _named_like_parts(source, parts, tops)
    if all(FOLD.fullmatch(SEPARATORS.sub("", folder.name.casefold())) for folder in tops):
        return Misread(
            f"its sub-folders ({_names(tops)}) are called like folds and would become the classes. "
            "Write a CSV with the columns path, label and fold, and `folds: {column: fold}`"
        )
    shared = _shared(tops)
    if not shared:
        return None
    inner = f"all of its {len(tops)} sub-folders ({_names(tops)}) hold the same sub-folders"
    below = [_Folder(name, 0, {}) for name in sorted(shared)]
    if all(folder.role for folder in below):
        return Misread(
            f"{inner} {_names(below)}, whose images would be mixed. Write a CSV with the columns "
            "path, label and fold (train or valid), and `folds: {column: fold}`"
        )
    sources = {"source": str(source / tops[0].path), "valid": str(source / tops[1].path)}
    return Misread(
        f"{inner} {_names(below)}. So these look like the classes, and the folders that hold them "
        f"look like parts of the data. Write `source: {sources['source']}`, and for a second "
        f"part `valid: {sources['valid']}`; or a CSV of all parts with the columns path and label",
        dict(sources) if len(tops) == 2 else {},
    )


def _is_part(folder: _Folder, tops: list[_Folder]) -> bool:
    """Whether the only folder that is called like a part is no class.

    `train` may be a class beside `car` and `plane`. So for this word, the sub-folders decide.
    """
    others = [other for other in tops if other is not folder]
    names = {composed(other.name).casefold() for other in others}
    names |= {key for other in others for key in other.keys}
    if folder.keys & names:
        return True
    if len(folder.inner) > 1 and not any(other.inner for other in others):
        return True
    return SEPARATORS.sub("", folder.name.casefold()) != "train"


def _called_like_parts(tops: list[_Folder]) -> list[_Folder]:
    """The folders that are called like a part. Beside a class `invalid`, `valid` is a class."""
    plain = {SEPARATORS.sub("", folder.name.casefold()) for folder in tops}
    found = []
    for folder in tops:
        name = SEPARATORS.sub("", folder.name.casefold())
        opposites = {name.replace("valid", opposite) for opposite in OPPOSITES} - {name}
        if folder.role is not None and not opposites & plain:
            found.append(folder)
    return found


def _loose_parts(tops: list[_Folder]) -> list[_Folder]:
    """Folders such as `seg_train` and `seg_test`: different parts of one name."""
    found: dict[tuple[str, ...], dict[str, _Folder]] = {}
    for folder in tops:
        words = [word.casefold() for word in SEPARATORS.split(CAPITAL.sub(" ", folder.name))]
        for at, word in enumerate(words):
            if word in ROLES:
                found.setdefault((*words[:at], *words[at + 1 :]), {})[ROLES[word]] = folder
                break
    return next((list(parts.values()) for parts in found.values() if len(parts) > 1), [])


def _shared(tops: list[_Folder]) -> set[str]:
    """The sub-folders that all folders hold, if they look like the classes."""
    keys = [folder.keys for folder in tops]
    shared = set.intersection(*keys)
    images = sum(len(paths) for folder in tops for paths in folder.inner.values())
    direct = sum(folder.direct for folder in tops)
    if len(shared) < 2 or 2 * len(shared) < len(set.union(*keys)) or direct > images:
        return set()
    return {composed(name) for name in tops[0].inner if composed(name).casefold() in shared}


def _named_like_parts(source: Path, parts: list[_Folder], tops: list[_Folder]) -> Misread:
    """Folders that are called like parts."""
    what = (
        f"its sub-folders {_names(parts)} are called like parts of a data set"
        if len(parts) > 1
        else f"its sub-folder {parts[0].name} is called like a part of a data set"
    )
    problem = f"{what} and would become {'classes' if len(parts) > 1 else 'a class'}. "
    role_of = {folder.path: _loose_role(folder) for folder in parts}
    train = next((f for f in parts if role_of[f.path] == "train"), None)
    valid = next((f for f in parts if role_of[f.path] == "valid"), None)
    if train is None and len(tops) > len(parts):
        names = ", ".join(yaml_name(folder.name) for folder in parts)
        them = "it" if len(parts) == 1 else "them"
        return Misread(
            f"{problem}Write `exclude: [{names}]` below data to leave {them} out",
            {"exclude": [folder.name for folder in parts]},
        )
    train = train or parts[0]
    if not train.inner:
        return Misread(
            f"{problem}The images of {train.name} are in no class folders: "
            "write a CSV with the columns path and label"
        )
    options: dict[str, str | list[str]] = {"source": str(source / _class_level(train))}
    advice = f"Write `source: {options['source']}`"
    if valid is None or not valid.inner:
        return Misread(problem + advice, options)
    options["valid"] = str(source / _class_level(valid))
    advice += (
        f" and `valid: {options['valid']}` "
        "(held out with `folds: {column: fold}`, else pooled with the source)"
    )
    return Misread(problem + advice, options, held_out=True)


def _loose_role(folder: _Folder) -> str | None:
    words = SEPARATORS.split(CAPITAL.sub(" ", folder.name))
    return folder.role or next(
        (ROLES[word.casefold()] for word in words if word.casefold() in ROLES), None
    )


def _class_level(folder: _Folder) -> str:
    """The path of the folder below which the class folders are."""
    while len(folder.inner) == 1 and not folder.direct:
        (inner,) = _folders(
            folder.path, (path for paths in folder.inner.values() for path in paths)
        )
        if not inner.inner:
            break
        folder = inner
    return folder.path


def _names(folders: list[_Folder]) -> str:
    names = [composed(folder.path) for folder in folders]
    more = f" and {len(names) - MAX_SHOWN:,} more" if len(names) > MAX_SHOWN else ""
    return ", ".join(names[:MAX_SHOWN]) + more
