"""Find the image file of each row, and refuse files that are missing or in a wrong place."""

import collections
import dataclasses
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from trainer.data.folders import within
from trainer.errors import DataError
from trainer.images.manifest import composed

MAX_NAMED = 10  # rows that one message names; the message only counts the other rows
LOOSE = "\0"  # no name of a file begins with it
# how a path is spelled otherwise on the disk -> the words for it, with an example
RESPELLED = {
    "backslashes": "have backslashes, as on Windows ({0} is {1})",
    "unicode": "have another Unicode form on the disk (composed and decomposed, as on a Mac)",
    "capitals": "have other capitals or white space on the disk ({0} is {1})",
}


class FileNames:
    """Finds files whose names on the disk are spelled otherwise than in a table.

    A Mac writes names in the Unicode form NFD, and most programs write NFC. Each folder is listed
    at most once, and only if a name in it is missing.

    Args:
        loose: whether capitals, and white space at the ends, make no difference either, provided
            that only one file has such a name.
    """

    def __init__(self, *, loose: bool = False) -> None:
        self._loose = loose
        self._names: dict[str, dict[str, str]] = {}
        self._folders: dict[str, str] = {}  # as they are on the disk

    def on_disk(self, path: str) -> str:
        """The path as it is on the disk, or `path` itself if there is no such file or folder."""
        if (path.isascii() and not self._loose) or os.path.lexists(path):
            return path
        return self.of_missing(path) or path

    def of_missing(self, path: str) -> str | None:
        """As `on_disk`, of a path that is not there as it is written; None if it is nowhere."""
        parent, name = os.path.split(path)
        if not name:
            return None
        folder = self._folders.get(parent)
        if folder is None:
            folder = self._folders[parent] = self.on_disk(parent) if parent else "."
        if folder not in self._names:
            self._names[folder] = self._listed(folder)
        names = self._names[folder]
        found = names.get(composed(name)) or names.get(_loosely(name))
        return None if found is None else os.path.join(folder if parent else "", found)

    def _listed(self, folder: str) -> dict[str, str]:
        """The names in a folder as they are on the disk, by each spelling that finds them."""
        try:
            there = sorted(os.listdir(folder))
        except (OSError, ValueError):  # ValueError: a NUL in the path
            return {}
        names: dict[str, str] = {}
        if self._loose:
            counts = collections.Counter(map(_loosely, there))
            names = {key: name for name in there if counts[key := _loosely(name)] == 1}
        return names | {composed(name): name for name in there}


def _loosely(name: str) -> str:
    return f"{LOOSE}{composed(name).strip().casefold()}"


def existing(path: str) -> Path:
    """The path of a file or folder that the user names, as it is on the disk.

    The Unicode form may differ, and Windows writes a backslash between folders.
    """
    if "\\" in path and not os.path.lexists(path):
        slashed = Path(FileNames().on_disk(path.replace("\\", "/")))
        if slashed.exists():
            return slashed
    return Path(FileNames().on_disk(str(Path(path))))


@dataclasses.dataclass(frozen=True)
class Found:
    """What `find_files` found.

    Attributes:
        missing: the rows without a file.
        outside: the rows whose file is outside the folders of the sources.
        folders: the rows whose path is a folder, among `missing`.
        notes: sentences about paths that are spelled otherwise on the disk.
    """

    missing: list[int]
    outside: list[int]
    folders: list[int]
    notes: list[str]


def find_files(paths: list[str], *, root: Path, homes: Sequence[str]) -> Found:
    """Find the image files of all rows.

    A path whose file is spelled otherwise on the disk is replaced in `paths` by the path on the
    disk: with slashes for backslashes, in another Unicode form, or with other capitals, such as
    `.JPG`. Each folder is resolved only once, so that 200,000 rows take about a second.

    Args:
        paths: the path of each row, relative to `root`; empty paths are left out.
        homes: the resolved folders of the sources.
    """
    missing: list[int] = []
    outside: list[int] = []
    folders: list[int] = []
    inside: dict[str, bool] = {}
    names = FileNames(loose=True)
    respelled: dict[str, list[tuple[str, str]]] = {how: [] for how in RESPELLED}
    base = str(root)
    for row, path in enumerate(paths):
        if not path:
            continue  # trainer.data.cleaning rejects rows without a path
        file = os.path.join(base, path)
        found = _look_up(file, homes, inside)
        if found is None:
            other = _spelled(file, names)
            if other is not None:
                paths[row] = other if os.path.isabs(path) else other.removeprefix(f"{base}/")
                respelled[_difference(path, paths[row])].append((path, paths[row]))
                found = _look_up(other, homes, inside)
                file = other
        if found is None:
            missing.append(row)
            if os.path.isdir(file):
                folders.append(row)
        elif not found:
            outside.append(row)
    notes = [
        f"{len(pairs):,} of {len(paths):,} image paths {RESPELLED[how].format(*pairs[0])}; their "
        "files were found"
        for how, pairs in respelled.items()
        if pairs
    ]
    return Found(missing, outside, folders, notes)


def _spelled(file: str, names: FileNames) -> str | None:
    """The path of a missing file or folder as it is on the disk, or None if it is not there."""
    if "\0" in file:
        return None
    slashed = file.replace("\\", "/")
    if slashed != file and os.path.lexists(slashed):
        return slashed
    found = names.of_missing(slashed)
    return None if found == file else found


def _difference(written: str, found: str) -> str:
    """The key of RESPELLED for a path and its spelling on the disk."""
    if "\\" in written and "\\" not in found:
        return "backslashes"
    return "unicode" if composed(written) == composed(found) else "capitals"


def _look_up(file: str, homes: Sequence[str], inside: dict[str, bool]) -> bool | None:
    """Whether a file is inside `homes`, or None if there is no such file.

    Args:
        inside: the answer for each folder that was asked for before.
    """
    try:
        mode = os.lstat(file).st_mode
        if stat.S_ISLNK(mode):
            mode = os.stat(file).st_mode
            answer = _within_any(os.path.realpath(file), homes)
        else:
            folder = os.path.dirname(file)
            if folder not in inside:
                inside[folder] = _within_any(os.path.realpath(folder), homes)
            answer = inside[folder]
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return None
    return answer if stat.S_ISREG(mode) else None


def _within_any(path: str, folders: Sequence[str]) -> bool:
    return any(within(path, folder) for folder in folders)


def refuse_other_codes(source: str, names: Sequence[str]) -> None:
    """Refuse file names that are not UTF-8, because neither CSV nor JSON can contain them.

    For example, an archive from a Korean Windows has such names.

    Raises:
        DataError: there are such names.
    """
    odd = [
        os.fsencode(name).decode(errors="backslashreplace") for name in names if not _is_utf8(name)
    ]
    if odd:
        raise DataError(
            f"{source}: {len(odd)} file names are not UTF-8. Rename them "
            f"(`convmv -r -f cp949 -t utf8 --notest FOLDER` does it for Korean ones){named(odd)}"
        )


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def named(entries: Sequence[str]) -> str:
    """The first MAX_NAMED entries, each on a separate line, and the number of the other entries.

    Example:
        >>> named(["line 2: a.jpg", "line 3: b.jpg"])
        '\\n  line 2: a.jpg\\n  line 3: b.jpg'
    """
    shown = "".join(f"\n  {entry}" for entry in entries[:MAX_NAMED])
    return shown + (f"\n  and {len(entries) - MAX_NAMED} more" if len(entries) > MAX_NAMED else "")
