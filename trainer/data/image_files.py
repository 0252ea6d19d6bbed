"""Find the image file of each row, and refuse files that are missing or in a wrong place."""

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from trainer.data.folders import within
from trainer.errors import DataError
from trainer.images.manifest import composed

MAX_NAMED = 10  # rows that one message names; the message only counts the other rows


class FileNames:
    """Finds files whose names on the disk have another Unicode form than in a table.

    A Mac writes names in the form NFD, and most programs write NFC. Each folder is listed at most
    once, and only if a name in it is missing.
    """

    def __init__(self) -> None:
        self._names: dict[str, dict[str, str]] = {}

    def on_disk(self, path: str) -> str:
        """The path as it is on the disk, or `path` itself if there is no such file or folder."""
        if path.isascii() or os.path.lexists(path):
            return path
        parent, name = os.path.split(path)
        if not name:
            return path
        folder = self.on_disk(parent) if parent else "."
        if folder not in self._names:
            try:
                names = sorted(os.listdir(folder))
            except (OSError, ValueError):  # ValueError: a NUL in the path
                names = []
            self._names[folder] = {composed(other): other for other in names}
        found = self._names[folder].get(composed(name))
        return path if found is None else os.path.join(folder if parent else "", found)


def existing(path: str) -> Path:
    """The path of a file or folder that the user names, in the Unicode form of the disk."""
    return Path(FileNames().on_disk(str(Path(path))))


def find_files(
    paths: list[str], *, root: Path, homes: Sequence[str]
) -> tuple[list[int], list[int], int]:
    """Find the image files of all rows.

    A path whose file has another Unicode form on the disk is replaced in `paths` by the path on the
    disk. Each folder is resolved only once, so that 200,000 rows take about a second.

    Args:
        paths: the path of each row, relative to `root`; empty paths are left out.
        homes: the resolved folders of the sources.

    Returns:
        The rows without a file, the rows whose file is outside `homes`, and the number of replaced
        paths.
    """
    missing: list[int] = []
    outside: list[int] = []
    inside: dict[str, bool] = {}
    names = FileNames()
    replaced = 0
    base = str(root)
    for row, path in enumerate(paths):
        if not path:
            continue  # trainer.data.cleaning rejects rows without a path
        file = os.path.join(base, path)
        found = _look_up(file, homes, inside)
        if found is None and not path.isascii():
            other = names.on_disk(file)
            found = None if other == file else _look_up(other, homes, inside)
            if found is not None:
                paths[row] = other if os.path.isabs(path) else other.removeprefix(f"{base}/")
                replaced += 1
        if found is None:
            missing.append(row)
        elif not found:
            outside.append(row)
    return missing, outside, replaced


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
