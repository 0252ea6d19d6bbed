"""What a driver has to do, and the assignments that follow from it."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from sweeps.paths import SweepFiles
from sweeps.running.events import EndState
from sweeps.running.messages import Assignment, Share
from sweeps.running.patience import GRACE_S
from sweeps.search.distributions import fields_of
from sweeps.space.spec import SweepSpec
from sweeps.study.records import is_finish

# Draws the pictures of a trial that is over, and yields their files.
Draw = Callable[[int, EndState], Iterable[Path]]


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a driver has to do.

    Attributes:
        files: the sweep's directory, as an absolute path that every worker can read and write.
        share: the part of a machine that one trial gets.
        trial_cap: number of trials in all, trials of earlier drivers included; None if only the
            budget ends the sweep.
        defaults: values of fields that the search space does not name; see
            `SweepRecord.defaults`.
        draw: draws the pictures that are stored with the end of a trial.
        expected_trial_s: seconds of a trial as `sweeps check --train` estimated them, or None.
        grace_s: how long trials have to end after a stop, in seconds.
    """

    spec: SweepSpec
    files: SweepFiles
    share: Share
    trial_cap: int | None
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    draw: Draw = lambda number, state: ()
    expected_trial_s: float | None = None
    grace_s: float = GRACE_S

    def assignment(self, trial: FrozenTrial, *, driver: str, alone: bool = False) -> Assignment:
        """The message that sends a trial to a worker.

        Args:
            driver, alone: see Assignment.
        """
        return Assignment(
            number=trial.number,
            values={**self.defaults, **fields_of(self.spec, trial)},
            sweep_directory=str(self.files.directory),
            metric=self.spec.metric.field,
            max_epochs=self.spec.max_epochs,
            device=self.share.device,
            threads=self.share.threads,
            streamed=self.share.streamed,
            driver=driver,
            retries=self.spec.retries,
            alone=alone,
            reported=trial.last_step or 0,
            every_epoch=self.spec.judges_epochs,
            without_weights=is_finish(trial),
        )
