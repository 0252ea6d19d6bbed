"""Who may write into a trial's directory: the attempt whose number stands in its `attempt.json`.

A trial whose worker process died is tried again, and a driver that was cut off may have left workers that do not know
it yet. The one that began last owns the directory; an earlier one sees another number there and leaves without a word.
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
        number: from 1, over all drivers.
        deaths: worker processes that died with this trial under this driver, on nodes that live on.
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
        """Take the trial's directory over.

        Args:
            driver: who gave the trial out; what happened under another driver was not the trial's fault.
            node: where this process is.
            is_alive: whether a node is still there: a trial is not to blame for the loss of its node.
        """
        last = _read(files.attempt)
        deaths = last.get("deaths", 0) if last.get("driver") == driver else 0
        if last.get("driver") == driver and not last["ended"] and is_alive(last["node"]):
            deaths += 1
        attempt = cls(files.attempt, last.get("number", 0) + 1, uuid.uuid4().hex, deaths)
        attempt._write(driver=driver, node=node, ended=False)
        return attempt

    def owns(self) -> bool:
        """Whether no other attempt has begun since."""
        return bool(_read(self.path).get("token") == self.token)

    def end(self) -> None:
        """This process has left the trial by itself: whatever comes next, it did not die."""
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
    return (
        values if isinstance(values, dict) and values.keys() >= KEYS else {}
    )  # else by hand, or a disk that lied
