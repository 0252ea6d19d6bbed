"""Run simulations on several processes, and keep their results so that a call can go on later."""

import dataclasses
import functools
import json
import multiprocessing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
Record = dict[str, float]


def simulated(
    tasks: Sequence[T],
    measure: Callable[[T], Record],
    *,
    file: Path | None,
    processes: int | None,
) -> list[Record]:
    """Return what was measured of each task, in the order of the tasks.

    Args:
        tasks: frozen dataclasses of numbers and texts; everything random follows from them.
        file: results of earlier calls, one JSON object a line. Those of other tasks stay in it and
            those that it lacks are appended. None keeps nothing.
        processes: as many as cores if None.
    """
    known = _read(file)
    missing = [task for task in tasks if _key(task) not in known]
    with multiprocessing.Pool(processes) as pool:
        for task, record in pool.imap_unordered(functools.partial(_pair, measure), missing):
            known[_key(task)] = record
            if file is not None:
                with file.open("a") as opened:
                    opened.write(json.dumps({"task": _fields(task), "found": record}) + "\n")
    return [known[_key(task)] for task in tasks]


def _pair(measure: Callable[[T], Record], task: T) -> tuple[T, Record]:
    return task, measure(task)


def _read(file: Path | None) -> dict[str, Record]:
    if file is None or not file.exists():
        return {}
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    return {json.dumps(line["task"]): line["found"] for line in lines}


def _key(task: Any) -> str:
    return json.dumps(_fields(task))


def _fields(task: Any) -> dict[str, Any]:
    return dataclasses.asdict(task)
