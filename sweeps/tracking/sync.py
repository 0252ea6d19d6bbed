"""Show a stored sweep in trackers after the fact: what they have already is not sent again."""

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator

from filelock import Timeout

from sweeps.errors import InputError, TrialRefusedError
from sweeps.paths import SweepFiles
from sweeps.space.tracking import TRACKERS, TrackerName
from sweeps.study.stored_sweep import StoredSweep
from sweeps.tracking.choice import make_tracker, refuse_unusable, tracking_of
from sweeps.tracking.follower import shown_by, tell_all
from sweeps.tracking.orders import SHOWN
from sweeps.tracking.reading import Records
from sweeps.tracking.recorded import facts_of
from sweeps.tracking.teller import Teller
from sweeps.tracking.tracker import SweepFacts


@dataclasses.dataclass(frozen=True)
class Synced:
    """What a tracker shows after it was told everything.

    Attributes:
        trials: number of the trials that it shows.
        refused: for each trial that its program refuses, a sentence that names it and the reason.
    """

    tracker: TrackerName
    trials: int
    refused: tuple[str, ...]


def sync(
    sweep: StoredSweep, files: SweepFiles, *, to: Iterable[TrackerName] = ()
) -> Iterator[Synced]:
    """Tell trackers all that the records of a sweep hold, one tracker after the other.

    Args:
        to: the trackers; none for those that the search space names.

    Raises:
        InputError: no tracker is named, one is not installed, or a running sweep shows itself.
        TrackerError: a tracker cannot be reached, or something has not arrived.
    """
    facts = facts_of(sweep, files)
    names = tuple(to) or tracking_of(facts).names
    if not names:
        raise InputError(
            f"sweep {sweep.name!r} names no tracker. Give one with --to "
            f"({', '.join(TRACKERS)}), or a section `tracking` in its search space"
        )
    asked = tracking_of(facts).also(names)
    if "wandb" in names:  # to send later what a run could not send is what `auto` is for
        asked = asked.online()
    refuse_unusable(asked, sweep=sweep.name)
    records = Records(sweep, facts)
    for name in dict.fromkeys(names):
        try:
            with shown_by(name, facts).acquire(timeout=0):
                synced = _tell(name, facts, records)
        except Timeout:
            raise InputError(
                f"another process shows sweep {sweep.name!r} in {SHOWN[name]} at this moment: "
                "a running `sweeps run` or `sweeps sync`. Try again when it is done"
            ) from None
        yield synced


def _tell(name: TrackerName, facts: SweepFacts, records: Records) -> Synced:
    """Tell a tracker everything, and what its program refuses only once."""
    refused: dict[int, str] = {}
    while True:
        tracker = make_tracker(name, facts)
        teller = Teller(tracker, without=refused)
        try:
            with contextlib.closing(tracker):
                tell_all(records, teller)
        except TrialRefusedError as error:
            refused[error.trial] = str(error)
        else:
            return Synced(name, teller.trials, tuple(refused.values()))
