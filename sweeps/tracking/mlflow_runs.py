"""Shows a sweep in MLflow, in a database beside the sweeps or on a server.

A sweep is an experiment and a trial is a run, which is found again by a tag. The curves of
all folds are in the run: `fold-2/f1` over the epoch, and the running mean over the steps.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sweeps.errors import TrackerError
from sweeps.paths import mlflow_artifacts_folder
from sweeps.running.events import EndState
from sweeps.tracking.tracker import End, Epoch, Orders, SweepFacts, Trial

INSTALL = "MLflow is not installed: pip install 'foldsweep[mlflow]'"
SWEEP = "foldsweep.sweep"  # tag: the sweep's uuid
TRIAL = "foldsweep.trial"  # tag: number of the trial
STATE = "foldsweep.state"  # tag: how the trial ended
REASON = "foldsweep.reason"  # tag: why it was pruned or failed
RUNNING = "RUNNING"
STATUS = {
    EndState.COMPLETED: "FINISHED",
    EndState.PRUNED: "FINISHED",
    EndState.FAILED: "FAILED",
    EndState.INTERRUPTED: "KILLED",
}


# MLflow's own defaults keep a caller for minutes when a server is away; the user's values count
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}


def default_uri(runs: Path) -> str:
    """The database in the runs folder: MLflow 3 refuses a folder of files as a store."""
    return f"sqlite:///{quote(str(runs.absolute() / 'mlflow.db'))}"


class MlflowTracker:
    """The tracker that writes runs of MLflow.

    It reads at the start which trials are shown, and of a trial in progress which steps are.
    """

    def __init__(self, facts: SweepFacts, *, uri: str | None = None) -> None:
        """Connect to the store, and create the sweep's experiment if there is none.

        Args:
            uri: the address of a server or database; None for `default_uri`.

        Raises:
            TrackerError: MLflow is not installed, or the store cannot be opened.
        """
        for name, value in PATIENCE.items():
            os.environ.setdefault(name, value)
        try:
            from mlflow import MlflowClient
        except ImportError:
            raise TrackerError(INSTALL) from None
        runs = facts.directory.parent
        self._facts = facts
        self._uri = uri or default_uri(runs)
        self._running = f"running/{facts.field}"
        self._runs: dict[int, str] = {}  # id of the run of each trial that is shown
        self._over: set[int] = set()  # trials whose end is shown
        self._steps: dict[int, int] = {}  # last step that is shown
        with self._answered():
            self._client = MlflowClient(tracking_uri=self._uri)
            self._experiment = self._experiment_id(
                artifacts=None if uri else mlflow_artifacts_folder(runs)
            )
            self._look()

    def begin(self, trial: Trial) -> None:
        """Create the run, or set it to running again."""
        number = trial.number
        if number in self._over:
            return
        with self._answered():
            if number not in self._runs:
                self._runs[number] = self._create(trial)
                self._steps[number] = 0
                return
            self._client.update_run(self._runs[number], status=RUNNING)
            if number not in self._steps:
                history = self._client.get_metric_history(self._runs[number], self._running)
                self._steps[number] = max((metric.step for metric in history), default=0)

    def epoch(self, trial: Trial, epoch: Epoch) -> None:
        """Write the metrics of the fold run and the running mean in one batch."""
        number = trial.number
        if number in self._over or epoch.step <= self._steps[number]:
            return
        values = {f"fold-{epoch.fold}/{name}": value for name, value in epoch.metrics.items()}
        self._log(number, values, step=epoch.epoch, time=epoch.time)
        # last, because it is what a later process asks for
        self._log(number, {self._running: epoch.value}, step=epoch.step, time=epoch.time)
        self._steps[number] = epoch.step

    def end(self, trial: Trial, end: End) -> None:
        """Write score, summary, pictures and state; the state last.

        Only a completed trial has a value of the metric itself, so that the table of runs does not
        compare the mean over two folds with the mean over five.
        """
        number = trial.number
        if number in self._over:
            return
        run = self._runs[number]
        interrupted = end.state is EndState.INTERRUPTED
        if not interrupted:
            values = {f"summary/{name}": value for name, value in end.summary.items()}
            if end.score is not None:
                values[self._facts.metric] = end.score
            self._log(number, values, step=self._steps[number], time=end.time)
        with self._answered():
            for path in end.pictures.values():
                self._client.log_artifact(run, str(path))
            if not interrupted:
                self._client.set_tag(run, REASON, end.reason[:5000])
                self._client.set_tag(run, STATE, str(end.state))
            self._client.set_terminated(run, STATUS[end.state], _milliseconds(end.time))
        if not interrupted:
            self._over.add(number)

    def orders(self) -> Orders:
        """MLflow has no buttons."""
        return Orders()

    def close(self) -> None:
        """Do nothing: each call has written what it was told."""

    def _experiment_id(self, *, artifacts: Path | None) -> str:
        found = self._client.get_experiment_by_name(self._facts.name)
        if found is None:
            return str(
                self._client.create_experiment(
                    self._facts.name,
                    artifact_location=None if artifacts is None else artifacts.absolute().as_uri(),
                    tags={"mlflow.note.content": self._facts.description},
                )
            )
        if found.lifecycle_stage != "active":
            raise TrackerError(
                f"experiment {self._facts.name!r} of {self._uri} was deleted. "
                "Restore it with `mlflow experiments restore`"
            )
        return str(found.experiment_id)

    def _look(self) -> None:
        """Find the runs of the sweep's trials that are shown already."""
        token = None
        while True:
            page = self._client.search_runs(
                [self._experiment],
                filter_string=f"tags.`{SWEEP}` = '{self._facts.uuid}'",
                page_token=token,
            )
            for run in page:
                number = int(run.data.tags[TRIAL])
                self._runs[number] = run.info.run_id
                if STATE in run.data.tags and run.info.status != RUNNING:
                    self._over.add(number)
            token = page.token
            if not token:
                return

    def _create(self, trial: Trial) -> str:
        from mlflow.entities import Param

        run = self._client.create_run(
            self._experiment,
            start_time=None if trial.started is None else _milliseconds(trial.started),
            tags={SWEEP: self._facts.uuid, TRIAL: str(trial.number)},
            run_name=f"trial {trial.number}",
        )
        params = [Param(name, str(value)) for name, value in trial.params.items()]
        for part in _parts(params, 100):
            self._client.log_batch(run.info.run_id, params=part)
        return str(run.info.run_id)

    def _log(self, number: int, values: Mapping[str, float], *, step: int, time: float) -> None:
        from mlflow.entities import Metric

        metrics = [
            Metric(name, float(value), _milliseconds(time), step) for name, value in values.items()
        ]
        with self._answered():
            self._client.log_batch(self._runs[number], metrics=metrics)

    @contextlib.contextmanager
    def _answered(self) -> Iterator[None]:
        """Turn an error of MLflow into one of the tracker."""
        from mlflow.exceptions import MlflowException

        try:
            yield
        except (MlflowException, OSError) as error:
            raise TrackerError(f"MLflow at {self._uri}: {error}") from error


def _milliseconds(time: float) -> int:
    return round(1000 * time)


def _parts(values: list[Any], size: int) -> Iterable[list[Any]]:
    return (values[start : start + size] for start in range(0, len(values), size))
