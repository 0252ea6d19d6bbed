"""Tune's question "go on or stop?", passed on to the driver."""

from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from sweeps.ray_tune.registry import DRIVERS
from sweeps.running.messages import TrialReport


class DriverScheduler(FIFOScheduler):
    """A picklable shell; trials start in the order the driver gave them out."""

    def __init__(self, driver_key: str) -> None:
        super().__init__()
        self._driver_key = driver_key

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Go on or stop, after an epoch. A trial's last result never comes here (it says done)."""
        report = TrialReport(**{key: result[key] for key in TrialReport.__dataclass_fields__})
        go_on = DRIVERS[self._driver_key].epoch(trial.config["assignment"]["number"], report)
        return str(TrialScheduler.CONTINUE if go_on else TrialScheduler.STOP)
