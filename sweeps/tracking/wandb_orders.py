"""What users ask of a whole sweep in the web pages of W&B: the sweep's state there."""

import logging
import threading
from collections.abc import Callable

from sweeps.errors import TrackerError
from sweeps.tracking.tracker import Command
from sweeps.tracking.wandb_client import Patience, short

log = logging.getLogger(__name__)
COMMANDS = {
    "RUNNING": Command.RUN,
    "PENDING": Command.RUN,
    "PAUSED": Command.PAUSE,
    "FINISHED": Command.DRAIN,
    "CANCELED": Command.INTERRUPT,
    "CANCELLED": Command.INTERRUPT,
}


def command_of(state: str) -> Command | None:
    """What the state of a sweep at W&B asks for; None if we do not know the state.

    Example:
        >>> command_of("PAUSED")
        <Command.PAUSE: 'pause'>
    """
    return COMMANDS.get(state.upper())


class Watch:
    """Looks at the state of a sweep every few seconds, on its own thread."""

    def __init__(self, state: Callable[[], str], *, patience: Patience) -> None:
        """Begin to look.

        Args:
            state: asks W&B for the state; it may raise anything.
        """
        self._state = state
        self._patience = patience
        self._command: Command | None = None
        self._failing = False
        self._looked = threading.Event()
        self._over = threading.Event()
        thread = threading.Thread(target=self._look_again, daemon=True, name="wandb-orders")
        thread.start()

    def command(self) -> Command:
        """What was asked for when W&B answered last; this waits for the end of the first look.

        Raises:
            TrackerError: W&B has not answered yet. No command can be assumed instead: the caller
                would take it for an order, or the right one that follows.
        """
        self._looked.wait()
        if self._command is None:
            raise TrackerError("W&B does not say whether the sweep goes on")
        return self._command

    def close(self) -> None:
        """Look no more; a look that has begun ends by itself."""
        self._over.set()

    def _look_again(self) -> None:
        while not self._over.is_set():
            self._look()
            self._looked.set()
            self._over.wait(self._patience.look_s)

    def _look(self) -> None:
        try:
            state = self._state()
        except Exception as error:  # noqa: BLE001 - the errors of the client have no common base
            if not (self._failing or self._over.is_set()):
                log.warning("W&B does not say whether the sweep goes on: %s", short(error))
            self._failing = True
            return
        self._failing = False
        command = command_of(state)
        if command is None:
            log.warning("W&B has a state of sweeps that is unknown here: %s", state)
        self._command = command or self._command or Command.RUN
