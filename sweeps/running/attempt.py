"""Decides which process may write into a trial's directory: the one that began its attempt last.

A trial whose worker process died is tried again. If a driver or Ray lost its connection to a
worker, the worker may not know this yet and goes on. So two processes may evaluate one trial at the
same time. `attempt.json` has the token of one attempt. The
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
        deaths: number of worker processes that died while they evaluated this trial. A death
            counts only if the same driver handed out the trial, and if the node of the dead process
            was still in the cluster when the next attempt began.
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
        """Record that the evaluation returned, so that the next attempt counts no death."""
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
