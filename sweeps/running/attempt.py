"""Decides which process may write into a trial's directory: the one that began its attempt last.

A trial whose worker process died is tried again. If a driver or Ray lost its connection to a
worker, the worker may not know this yet and goes on. So two processes may evaluate one trial at the
same time. `attempt.json` has the token of one attempt. The
attempt that began last owns the directory. An earlier attempt reads another token in the file, and
exits without writing.

The file also has what is known of earlier attempts, so that neither a killed driver nor a machine
that went down loses it.
"""

import contextlib
import dataclasses
import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sweeps.paths import TrialFiles
from sweeps.processes import kernel_kills
from sweeps.running.deaths import Tries
from trainer.files import write_json
from trainer.training.result import CHECKPOINT, RESULT

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
        out_of_memory: whether at one of these deaths the kernel killed a process of the node for
            lack of memory.
        tries: the attempts before this one that got nowhere, under all drivers and on all nodes.
    """

    path: Path
    number: int
    token: str
    deaths: int
    tries: Tries
    out_of_memory: bool = False

    @classmethod
    def begin(
        cls,
        files: TrialFiles,
        *,
        driver: str,
        node: str = "",
        alone: bool = False,
        is_alive: Callable[[str], bool] = lambda node: True,
        kernel_kills: Callable[[], int | None] = kernel_kills,
    ) -> "Attempt":
        """Make a new attempt the owner of the trial's directory.

        Args:
            driver: id of the driver that handed out the trial. Deaths under another driver do not
                count as `deaths`, only as `tries`: it may not have been the trial that caused them.
            node: id of the node on which this process runs.
            alone: whether the driver has no other trial running, because this one is suspected.
            is_alive: whether the node with the given id is still in the cluster. The loss of a
                node does not count as a death: it may not have been the trial that caused it.
            kernel_kills: see `sweeps.processes`.
        """
        last = _read(files.attempt)
        same_driver = last.get("driver") == driver
        deaths = last.get("deaths", 0) if same_driver else 0
        out_of_memory = same_driver and bool(last.get("out_of_memory"))
        kills = kernel_kills()
        if same_driver and not last["ended"] and is_alive(last["node"]):
            deaths += 1
            before = last.get("kernel_kills")
            if kills is not None and before is not None and last["node"] == node:
                out_of_memory |= kills > before
        number = last.get("number", 0) + 1
        token = uuid.uuid4().hex
        attempt = cls(files.attempt, number, token, deaths, tries_at(files), out_of_memory)
        about = {"number": number, "token": token, "driver": driver, "node": node}
        about |= {"out_of_memory": out_of_memory, "kernel_kills": kills}
        tries = dataclasses.asdict(attempt.tries)
        found = _shown(files)
        write_json(
            files.attempt,
            {**about, "deaths": deaths, "ended": False, **tries, "alone": alone, "found": found},
        )
        return attempt

    def owns(self) -> bool:
        """Whether no other attempt at this trial has begun since this attempt began."""
        return bool(_read(self.path).get("token") == self.token)

    def end(self) -> None:
        """Record that the evaluation returned, so that the next attempt counts no death."""
        last = _read(self.path)
        if last.get("token") == self.token:
            write_json(self.path, {**last, "ended": True})


def tries_at(files: TrialFiles) -> Tries:
    """The attempts at a trial up to now that got nowhere; the last one counts if nothing runs."""
    last = _read(files.attempt)
    if "found" not in last:  # an earlier version began it
        return Tries()
    return Tries(last["in_vain"], last["died_alone"]).after(
        ended=last["ended"],
        alone=last["alone"],
        progress=bool(_shown(files).items() - last["found"].items()),
    )


def excuse(files: TrialFiles, *, driver: str) -> None:
    """Record that the last attempt was ended on purpose, if this driver handed it out.

    Its worker was killed, so it cannot record its end itself.
    """
    last = _read(files.attempt)
    if last.get("driver") == driver and not last["ended"]:
        with contextlib.suppress(OSError):  # a full disk: one try in vain too many is counted
            write_json(files.attempt, {**last, "ended": True})


def _shown(files: TrialFiles) -> dict[str, int]:
    """What a trial has to show: its results and checkpoints with the times of their last change."""
    shown = {}
    for fold in files.folds():
        for path in (fold / RESULT, fold / CHECKPOINT):
            with contextlib.suppress(FileNotFoundError):
                shown[f"{fold.name}/{path.name}"] = path.stat().st_mtime_ns
    return shown


def _read(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    # a file without these keys was written by hand, or was damaged on the disk
    return values if isinstance(values, dict) and values.keys() >= KEYS else {}
