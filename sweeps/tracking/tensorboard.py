"""Shows a sweep in TensorBoard, without a server: `tensorboard --logdir runs/mask/tensorboard`.

A trial is a run of TensorBoard, and each of its fold runs is another one inside it. The curves of
the folds have the epoch as their step, so the folds of a trial lie over each other. The trial's own
run has the running mean over its steps; in the tab "HParams" its parameters and its score; and its
pictures, except SVG files, which TensorBoard cannot show.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sweeps.errors import TrackerError
from sweeps.paths import SweepFiles
from sweeps.running.events import EndState
from sweeps.tracking.event_file import EventFile, picture, scalar
from sweeps.tracking.event_protocol import Summary, hparams, text
from sweeps.tracking.tracker import End, Epoch, Orders, SweepFacts, Trial

STARTED = "_hparams_/session_start_info"
STATE = "state/text_summary"  # how tensorboardX calls the tag `state`


class TensorBoardTracker:
    """The tracker that writes event files.

    It knows what is shown already from the event files themselves, see `EventFile`.
    """

    def __init__(self, facts: SweepFacts) -> None:
        self._folder = SweepFiles(facts.directory).tensorboard
        self._facts = facts
        self._files: dict[Path, EventFile] = {}

    def begin(self, trial: Trial) -> None:
        """Write the parameters of the trial."""
        run = self._run(trial)
        if STARTED not in run.tags:
            _, session, _ = hparams(_plain(trial.params), {})
            self._add(run, session.value, step=0, time=trial.started or 0.0)

    def epoch(self, trial: Trial, epoch: Epoch) -> None:
        """Write the metrics of the fold run, and the running mean of the trial."""
        fold = self._run(trial, f"fold-{epoch.fold}")
        if fold.last_step < epoch.epoch:
            values = [scalar(f"fold/{name}", value) for name, value in epoch.metrics.items()]
            self._add(fold, values, step=epoch.epoch, time=epoch.time)
        run = self._run(trial)
        if run.last_step < epoch.step:
            value = scalar(f"running/{self._facts.field}", epoch.value)
            self._add(run, [value], step=epoch.step, time=epoch.time)

    def end(self, trial: Trial, end: End) -> None:
        """Write the score, the summary and the state of a trial that will not go on.

        Only a completed trial has a value of the metric itself. So the tables of TensorBoard do not
        compare the mean over two folds with the mean over five.
        """
        run = self._run(trial)
        if end.state is EndState.INTERRUPTED or STATE in run.tags:
            return
        reason = f": {end.reason}" if end.reason else ""
        values = list(text("state", f"{end.state}{reason}").value)
        if end.score is not None:
            values.append(scalar(self._facts.metric, end.score))
        values += [scalar(f"summary/{name}", value) for name, value in end.summary.items()]
        values += filter(None, (picture(name, path) for name, path in end.pictures.items()))
        self._add(run, values, step=run.last_step, time=end.time)
        for folder in [path for path in self._files if path.is_relative_to(self._of(trial))]:
            del self._files[folder]  # a sweep has thousands of trials

    def orders(self) -> Orders:
        """TensorBoard has no buttons."""
        return Orders()

    def close(self) -> None:
        """Do nothing: each call has written its event."""

    def _of(self, trial: Trial) -> Path:
        return SweepFiles(self._folder).trial(trial.number).directory

    def _run(self, trial: Trial, *inside: str) -> EventFile:
        folder = self._of(trial).joinpath(*inside)
        if folder not in self._files:
            try:
                self._files[folder] = EventFile(folder)
            except OSError as error:
                raise _refused(folder, error) from None
        return self._files[folder]

    def _add(
        self, run: EventFile, values: Iterable[Summary.Value], *, step: int, time: float
    ) -> None:
        try:
            run.add(values, step=step, time=time)
        except OSError as error:
            raise _refused(self._folder, error) from None


def _plain(params: Mapping[str, Any]) -> dict[str, str | bool | float]:
    """The parameters as values that the tab "HParams" knows; others as JSON."""
    return {
        name: value if isinstance(value, str | bool | int | float) else json.dumps(value)
        for name, value in params.items()
    }


def _refused(folder: Path, error: OSError) -> TrackerError:
    return TrackerError(f"{folder}: TensorBoard's files cannot be written ({error.strerror})")
