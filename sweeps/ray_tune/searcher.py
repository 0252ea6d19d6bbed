"""Tune's question "which trial next?", passed on to the driver."""

import dataclasses
from typing import Any

from ray.tune.search import Searcher

from sweeps.errors import InfrastructureError
from sweeps.ray_tune.registry import DRIVERS
from sweeps.ray_tune.worker import OUTCOME
from sweeps.running.asking import Next
from sweeps.running.messages import Assignment, Outcome, OutcomeState


class DriverSearcher(Searcher):
    """A picklable shell: which of Tune's trials is which of ours, and nothing else."""

    def __init__(self, driver_key: str) -> None:
        super().__init__(metric=None, mode=None)
        self._driver_key = driver_key
        self._numbers: dict[str, int] = {}

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Metric and direction are the driver's; Tune's are not needed."""
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """A trial's assignment, None to be asked again, FINISHED at the end."""
        answer = DRIVERS[self._driver_key].next()
        if answer is Next.FINISHED:
            return str(Searcher.FINISHED)
        if answer is Next.WAIT:
            return None
        assert isinstance(answer, Assignment)
        self._numbers[trial_id] = answer.number
        return {"assignment": dataclasses.asdict(answer)}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """The trial has ended: by itself, stopped by the driver, or with its worker."""
        number = self._numbers.pop(trial_id, None)
        if number is None:
            return
        driver = DRIVERS[self._driver_key]
        if (
            error
        ):  # workers count the deaths that are a trial's own: here Ray cannot keep any worker going
            log = driver.files.trial(number).log
            driver.fail(
                InfrastructureError(
                    f"Ray cannot keep a worker for trial {number} going, see {log}, `ray status`"
                )
            )
            driver.finished(number, Outcome(OutcomeState.INTERRUPTED))
        elif result is not None and OUTCOME in result:
            driver.finished(number, Outcome(**dict(result[OUTCOME])))
        else:
            scores = tuple((result or {}).get("fold_scores", ()))
            state = OutcomeState.INTERRUPTED if driver.stopping else OutcomeState.STOPPED
            driver.finished(number, Outcome(state, fold_scores=scores))

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the storage remembers."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: the storage remembers."""

    def get_state(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """Nothing."""
