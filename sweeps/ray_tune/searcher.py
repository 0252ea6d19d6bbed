"""Tune's searcher: it asks the driver which trial comes next."""

import dataclasses
from typing import Any

from ray.tune.search import Searcher

from sweeps.errors import InfrastructureError
from sweeps.ray_tune.registry import DRIVERS
from sweeps.ray_tune.worker import OUTCOME
from sweeps.running.asking import Next
from sweeps.running.messages import Assignment, Outcome, OutcomeState


class DriverSearcher(Searcher):
    """Passes the driver's assignments to Tune, and the outcomes of trials to the driver.

    The searcher can be pickled. Its only state is the sweep's trial number of each Tune trial.
    """

    def __init__(self, driver_key: str) -> None:
        super().__init__(metric=None, mode=None)
        self._driver_key = driver_key
        self._numbers: dict[str, int] = {}

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Ignore Tune's metric and direction: the driver knows its own."""
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The configuration of the next trial.

        Returns:
            A mapping with the trial's assignment; None if Tune has to ask again later; FINISHED at
            the end of the sweep.
        """
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
        """Notify the driver that a trial has ended.

        The trial reported its outcome, or Tune stopped it, or Ray could not keep a worker for it
        alive (`error`).
        """
        number = self._numbers.pop(trial_id, None)
        if number is None:
            return
        driver = DRIVERS[self._driver_key]
        # Deaths of worker processes do not arrive here: the next attempt counts them, and reports a
        # failed trial if there are too many (see Attempt). So Ray cannot keep any worker alive.
        if error:
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
        """Do nothing: the Optuna storage holds the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: the Optuna storage holds the state."""

    def get_state(self) -> dict[str, Any]:
        """An empty mapping: a new driver reads the trials from the Optuna storage."""
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """Do nothing: the Optuna storage holds the state."""
