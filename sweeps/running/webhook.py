"""Messages to a chat about a sweep: its first failure, and its end.

One POST goes to a webhook of Slack, Mattermost, Discord or ntfy. Each of them reads its own key of
the body: `text`, `content`, or what the header `X-Message` names. A message never delays a trial
and never makes a sweep fail. The URL is a secret: who has it can write into the chat. No message of
this module shows it.
"""

import contextlib
import json
import logging
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from sweeps.errors import InfrastructureError, InputError
from sweeps.running.events import EndState, Event, Silent, Snapshot, TrialEnded
from sweeps.space.spec import SweepSpec
from trainer.files import is_disk_full

logger = logging.getLogger(__name__)

TIMEOUT_S = 5.0
LONGEST = 1_500  # characters of a message; Discord accepts 2,000
HEADERS = {
    "Content-Type": "application/json",
    "User-Agent": "foldsweep",
    # ntfy takes the message out of the body; the others ignore these headers
    "X-Template": "yes",
    "X-Message": "{{.text}}",
}


def url_of(spec: SweepSpec, *, given: str | None) -> str | None:
    """The URL of `notify.webhook`, else the given one; None if nobody is to be told.

    Args:
        given: the value of $SWEEPS_WEBHOOK.

    Raises:
        InputError: the text is no such URL. The message does not show it.
    """
    inside = spec.notify.webhook
    if inside is not None:
        return _checked(inside.get_secret_value(), name="notify.webhook")
    return None if given is None else _checked(given, name="$SWEEPS_WEBHOOK")


def _checked(url: str, *, name: str) -> str:
    try:
        parsed = urlsplit(url)
        known = parsed.scheme in ("http", "https") and bool(parsed.hostname) and parsed.port != 0
    except ValueError:  # for example, the port is not a number
        known = False
    if not known or not url.isprintable() or " " in url or not url.isascii():
        raise InputError(
            f"{name}: expected the URL of a webhook, https://... (it is a secret and not shown)"
        )
    return url


class Webhook(Silent):
    """A view that sends messages about a sweep.

    This is a context manager. If the infrastructure or the disk ends the sweep, leaving it sends a
    message. Leaving it waits at most `TIMEOUT_S` for the messages that are under way.
    """

    def __init__(self, url: str | None, *, sweep: str) -> None:
        """
        Args:
            url: see `url_of`; None sends nothing.
            sweep: name of the sweep.
        """
        self._url = url
        self._sweep = sweep
        self._failed = False
        self._sending: list[threading.Thread] = []

    def __enter__(self) -> "Webhook":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, InfrastructureError) or is_disk_full(error, Path.cwd()):
            self.send(f"stopped: {error}")
        deadline = time.monotonic() + TIMEOUT_S
        for thread in self._sending:
            thread.join(max(0.0, deadline - time.monotonic()))

    def notify(self, event: Event) -> None:
        """Send a message about the first failed trial."""
        failed = isinstance(event, TrialEnded) and event.state == EndState.FAILED
        if failed and not self._failed:
            self._failed = True
            assert isinstance(event, TrialEnded)
            self.send(f"trial {event.number} failed: {event.reason}")

    def send(self, text: str) -> None:
        """Begin to send a message; this neither blocks nor raises."""
        if self._url is None:
            return
        message = f"sweep {self._sweep}: {text}"[:LONGEST]
        thread = threading.Thread(
            target=_post, args=(self._url, message), name="webhook", daemon=True
        )
        with contextlib.suppress(RuntimeError):  # the system has no thread left
            thread.start()
            self._sending.append(thread)


def _post(url: str, text: str) -> None:
    """Send a message; a failure is logged, without the URL."""
    # nobody is called by what a trial's error happens to contain, such as @everyone
    body = {"text": text, "content": text, "allowed_mentions": {"parse": []}}
    request = urllib.request.Request(
        url, data=json.dumps(body).encode(), headers=HEADERS, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S):
            pass
    except urllib.error.HTTPError as error:
        logger.warning("notify.webhook: the message was refused with status %d", error.code)
    # errors of http.client may contain the URL, so only their kind is named
    except Exception as error:  # noqa: BLE001 - a message must not end anything
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        logger.warning("notify.webhook: the message was not sent (%s)", type(reason).__name__)


def progress_text(spec: SweepSpec, end: Snapshot, *, how: str) -> str:
    """The message at the end of a sweep.

    Args:
        how: how the sweep ended, as a sentence.
    """
    best = (
        "no trial completed"
        if end.best_score is None
        else f"best {spec.metric.name} {end.best_score:.4f} (trial {end.best_number})"
    )
    counts = f"{end.completed} completed, {end.pruned} pruned, {end.failed} failed"
    return f"{how} ({counts}; {best})"
