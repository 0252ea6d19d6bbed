"""Tune's scheduler: it asks the driver whether a trial goes on or stops."""

from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from sweeps.ray_tune.registry import DRIVERS, WORKERS
from sweeps.running.messages import TrialReport


class DriverScheduler(FIFOScheduler):
    """Passes a trial's reports to the driver and returns the driver's decision to Tune.

    The scheduler can be pickled. Trials start in the order in which the driver hands them out.
    """

    def __init__(self, driver_key: str) -> None:
        super().__init__()
        self._driver_key = driver_key

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Take note of a trial whose worker may have to be killed."""
        WORKERS[self._driver_key].add(tune_controller, trial)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """Forget a trial that has ended; so do the next two methods."""
        WORKERS[self._driver_key].remove(trial)

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """See `on_trial_error`."""
        WORKERS[self._driver_key].remove(trial)

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        """See `on_trial_error`."""
        WORKERS[self._driver_key].remove(trial)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Decide after an epoch whether a trial goes on or stops.

        Tune does not call this method for a trial's last result, which is marked as done.
        """
        report = TrialReport(**{key: result[key] for key in TrialReport.__dataclass_fields__})
        go_on = DRIVERS[self._driver_key].epoch(trial.config["assignment"]["number"], report)
        return str(TrialScheduler.CONTINUE if go_on else TrialScheduler.STOP)
