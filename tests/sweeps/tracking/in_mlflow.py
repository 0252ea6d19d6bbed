"""What MLflow's store holds of a trial."""

import functools
import shutil
import tempfile
from pathlib import Path

from sweeps.running.events import EndState
from sweeps.tracking.mlflow_runs import STATE, TRIAL, MlflowTracker, default_uri
from tests.sweeps.tracking.told import Shown, facts


def mlflow_tracker(folder: Path) -> MlflowTracker:
    """A tracker on the database beside the sweep in this folder."""
    if not (folder.parent / _empty().name).exists():
        shutil.copy(_empty(), folder.parent)
    return MlflowTracker(facts(folder))


@functools.cache
def _empty() -> Path:
    """A database with MLflow's tables and nothing in them, which takes seconds to make."""
    from mlflow import MlflowClient

    folder = Path(tempfile.mkdtemp(prefix="foldsweep-mlflow-"))
    MlflowClient(tracking_uri=default_uri(folder)).search_experiments()
    return folder / "mlflow.db"


def in_mlflow(folder: Path, number: int) -> Shown:
    """What MLflow shows of a trial of the sweep in this folder."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=default_uri(folder.parent))
    experiment = client.get_experiment_by_name(facts(folder).name)
    (run,) = client.search_runs([experiment.experiment_id], f"tags.`{TRIAL}` = '{number}'")
    running = client.get_metric_history(run.info.run_id, "running/f1")
    state = run.data.tags.get(STATE)
    return Shown(
        steps=[metric.step for metric in running],
        values=[metric.value for metric in running],
        fold_epochs=[
            (fold, metric.step)
            for fold in (0, 1)
            for metric in client.get_metric_history(run.info.run_id, f"fold-{fold}/loss")
        ],
        ended=None if state is None else EndState(state),
        score=run.data.metrics.get("valid/f1"),
    )
