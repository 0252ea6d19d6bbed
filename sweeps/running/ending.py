"""What is recorded of a trial that has ended on its worker."""

import dataclasses
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sweeps.errors import InfrastructureError
from sweeps.paths import TrialFiles
from sweeps.running.deaths import Tries, last_lines, why_over, with_last_line
from sweeps.running.events import EndState
from sweeps.running.messages import Outcome, OutcomeState
from sweeps.running.plan import Draw
from sweeps.study.records import (
    ENDED_ELSEWHERE,
    FOLD_SCORES,
    INTERRUPTED,
    REASON,
    spread,
)
from trainer.files import atomic_write
from trainer.metrics import Goal


@dataclasses.dataclass(frozen=True)
class End:
    """The end of a trial, as it is recorded.

    Attributes:
        score: the score of a completed trial.
        attributes: attributes of the stored trial, without its notes.
        traceback: the traceback of a failed trial.
    """

    state: EndState
    score: float | None = None
    attributes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    traceback: str = ""

    @property
    def worked(self) -> bool:
        """Whether the trial was completed or pruned: it neither failed nor will be continued."""
        return self.state in (EndState.COMPLETED, EndState.PRUNED)

    @property
    def reason(self) -> str:
        """Why the trial was pruned or failed."""
        return str(self.attributes.get(REASON, ""))

    def files(
        self, number: int, files: TrialFiles, draw: Draw
    ) -> Callable[[], Iterable[Path]] | None:
        """What writes the traceback and the pictures of the trial, and yields the files.

        Returns:
            None for a trial that will be continued.
        """
        if self.state is EndState.INTERRUPTED:
            return None

        def write() -> Iterator[Path]:
            if self.traceback:
                with atomic_write(files.error) as file:
                    file.write(self.traceback.encode(errors="replace"))
                yield files.error
            yield from draw(number, self.state)

        return write


TO_BE_CONTINUED = End(EndState.INTERRUPTED, attributes={INTERRUPTED: True})
FAILED_ELSEWHERE = End(EndState.FAILED, attributes={REASON: ENDED_ELSEWHERE})


def end_of(outcome: Outcome, *, goal: Goal, stop_reason: str | None = None) -> End:
    """The end of a trial with this outcome.

    Args:
        goal: the direction of the sweep's metric.
        stop_reason: why the driver answered that the trial has to stop, or None.
    """
    scores = list(outcome.fold_scores)
    if outcome.state == OutcomeState.COMPLETED:
        numbers = spread(scores, goal=goal) | outcome.measured.known()
        return End(EndState.COMPLETED, statistics.fmean(scores), {FOLD_SCORES: scores, **numbers})
    if outcome.state == OutcomeState.FAILED:
        return End(
            EndState.FAILED, attributes={REASON: outcome.reason}, traceback=outcome.traceback
        )
    # the user may press Ctrl-C between the driver's answer and the end of the trial
    if outcome.state == OutcomeState.STOPPED or stop_reason is not None:
        reason = "stopped" if stop_reason is None else stop_reason
        return End(EndState.PRUNED, attributes={FOLD_SCORES: scores, REASON: reason})
    return TO_BE_CONTINUED


def given_up(tries: Tries, log: Path) -> End:
    """The end of a trial whose last try in vain had nothing beside it.

    Args:
        log: the log of its worker.
    """
    reason = with_last_line(why_over(tries), log)
    return End(EndState.FAILED, attributes={REASON: reason}, traceback="\n".join(last_lines(log)))


def disk_full(directory: Path, reason: str) -> InfrastructureError:
    """The error of a sweep that a full disk ends."""
    return InfrastructureError(
        f"the disk of {directory} is full ({reason}). "
        "Free some space and run the same command again to continue"
    )
