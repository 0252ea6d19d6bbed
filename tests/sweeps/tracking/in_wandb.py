"""W&B as the contract of trackers sees it: the real client, and what the stand-in has."""

import gc
from pathlib import Path
from typing import Any

import psutil
from wandb.sdk import wandb_setup

from sweeps.running.events import EndState
from sweeps.tracking.tracker import SweepFacts
from sweeps.tracking.wandb_client import Patience, release
from sweeps.tracking.wandb_runs import WandbTracker
from tests.fakes.wandb_server import ENTITY, StoredRun
from tests.sweeps.tracking.told import Shown, facts, nothing

# for a stand-in that is well: it answers at once, but this machine may be busy
QUICK = Patience(init_s=60, finish_s=60, ask_s=60, look_s=0.05, prove_s=(0,), send_s=1)
# for one that is not
SHORT = Patience(init_s=1, finish_s=1, ask_s=1, look_s=0.05, prove_s=(0,), send_s=1)


def tracker_on(folder: Path, **changes: Any) -> WandbTracker:
    """A tracker whose runs are in the project of the folder's name."""
    given: dict[str, Any] = {
        "project": folder.name,
        "entity": ENTITY,
        "keep_sweep_id": (folder / "sweep-id").write_text,
        "patience": QUICK,
        **changes,
    }
    kept = folder / "sweep-id"
    if kept.exists():
        given.setdefault("sweep_id", kept.read_text())
    return WandbTracker(given.pop("facts", facts(folder)), **given)


def kill_helper() -> None:
    """Kill the helper process of the client."""
    for child in psutil.Process().children():
        if child.name().startswith("wandb-core"):
            child.kill()
            connection = wandb_setup.singleton().assert_service()
            connection._proc.join()  # else its `Popen` complains later that it still runs


def die() -> None:
    """What is left of a tracker's process after kill -9: nothing. Its helper ends with it."""
    kill_helper()
    release()
    gc.collect()  # what the client left open is complained of here, and not in another test


def shown(run: StoredRun | None, *, metric: str = "valid/f1") -> Shown:
    """What W&B shows of a trial."""
    if run is None:
        return nothing(Path(), 0)
    curves = [row for row in run.history if "epoch" in row]
    state = run.summary.get("state")
    return Shown(
        steps=[row["_step"] for row in curves],
        values=[row[metric] for row in curves],
        fold_epochs=[
            (fold, row["epoch"]) for row in curves for fold in range(9) if f"fold-{fold}/f1" in row
        ],
        ended=None if state is None else EndState(state),
        score=run.summary.get(metric),
    )


def run_id(number: int, of: SweepFacts | None = None) -> str:
    return f"{(of or facts(Path())).uuid[:8]}-{number:04d}"
