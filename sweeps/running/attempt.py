"""Which process may write into a trial's directory: the attempt whose token is in `attempt.json`.

A trial whose worker process died is tried again. A driver that lost its connection may have left
workers that do not know this yet. So two processes may evaluate one trial at the same time. The
attempt that began last owns the directory. An earlier attempt reads another token in the file, and
exits without writing.
"""

import dataclasses
import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sweeps.paths import TrialFiles
from trainer.files import write_json

KEYS = {"number", "token", "driver", "node", "deaths", "ended"}


@dataclasses.dataclass(frozen=True)
class Attempt:
    """One try to evaluate a trial.

    Attributes:
        path: the trial's `attempt.json`.
        number: number of the attempt, from 1; attempts under all drivers are counted.
        token: a random text that no other attempt has.
        deaths: number of worker processes that died while they evaluated this trial. Only deaths
            under this driver count, and only deaths on nodes that are still alive.
    """

    path: Path
    number: int
    token: str
    deaths: int

    @classmethod
    def begin(
        cls,
        files: TrialFiles,
        *,
        driver: str,
        node: str = "",
        is_alive: Callable[[str], bool] = lambda node: True,
    ) -> "Attempt":
        """Make a new attempt the owner of the trial's directory.

        Args:
            driver: id of the driver that handed out the trial. Deaths under another driver do not
                count: the trial did not cause them.
            node: id of the node on which this process runs.
            is_alive: whether the node with the given id is still in the cluster. The loss of a
                node does not count as a death: the trial did not cause it.
        """
        last = _read(files.attempt)
        deaths = last.get("deaths", 0) if last.get("driver") == driver else 0
        if last.get("driver") == driver and not last["ended"] and is_alive(last["node"]):
            deaths += 1
        attempt = cls(files.attempt, last.get("number", 0) + 1, uuid.uuid4().hex, deaths)
        attempt._write(driver=driver, node=node, ended=False)
        return attempt

    def owns(self) -> bool:
        """Whether no other attempt at this trial has begun since this attempt began."""
        return bool(_read(self.path).get("token") == self.token)

    def end(self) -> None:
        """Record that this attempt ended by itself, so the next attempt does not count a death."""
        last = _read(self.path)
        if last.get("token") == self.token:
            self._write(driver=last["driver"], node=last["node"], ended=True)

    def _write(self, *, driver: str, node: str, ended: bool) -> None:
        values = {"number": self.number, "token": self.token, "driver": driver, "node": node}
        write_json(self.path, {**values, "deaths": self.deaths, "ended": ended})


def _read(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    # a file without these keys was written by hand, or was damaged on the disk
    return values if isinstance(values, dict) and values.keys() >= KEYS else {}
