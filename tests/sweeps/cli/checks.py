"""What `sweeps check` says beside its tables, and tables to be checked."""

import csv
import dataclasses
import re
from pathlib import Path

from tests.sweeps.cli.conftest import Ended


def shown(ended: Ended) -> Ended:
    """Without the lines about progress, which depend on what is known already."""
    progress = re.compile(
        r"^\d\d:\d\d:\d\d  (reading|comparing) images: [\d,]+ of [\d,]+\n", flags=re.MULTILINE
    )
    return dataclasses.replace(ended, err=progress.sub("", ended.err))


def warnings(ended: Ended) -> list[str]:
    return [
        line.removeprefix("warning: ")
        for line in ended.err.splitlines()
        if line.startswith("warning: ")
    ]


def write_rows(path: Path, header: str, rows: list[list[object]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header.split(","), *rows])
