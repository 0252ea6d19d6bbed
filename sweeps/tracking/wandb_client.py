"""W&B's client in the process of a tracker: its environment, the login, its errors, its end.

The client (wandb 0.31) is a Python package and a helper process, `wandb-core`, which talks to the
server. Both take much from the environment and from the folder of the process, and change it.
"""

import dataclasses
import logging
import os
import threading
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from sweeps.errors import InputError, SweepsError, TrackerError
from sweeps.processes import kill_children

log = logging.getLogger(__name__)
Mode = Literal["auto", "online", "off"]
HELPER = "wandb-core"
RELEASE_S = 30.0
# What a program that we run inside, such as a W&B agent or a notebook, means for its own run. With
# WANDB_SWEEP_ID the client ignores the id, the project and the entity that it is given; with
# WANDB_SERVICE it shares the helper process of another program.
NOT_OURS = tuple(
    f"WANDB_{name}"
    for name in (
        "SWEEP_ID",
        "RUN_ID",
        "RUN_GROUP",
        "NAME",
        "NOTES",
        "TAGS",
        "JOB_TYPE",
        "RESUME",
        "SWEEP_PARAM_PATH",
        "SERVICE",
        "PROGRAM",
        "MODE",
    )
)


@dataclasses.dataclass(frozen=True)
class Patience:
    """How long the client waits, in seconds.

    Attributes:
        init_s: until a run is open.
        finish_s: until all data of a run have arrived at its end.
        ask_s: until a question, such as for the state of the sweep, is answered.
        look_s: from one look at the state of the sweep to the next.
        prove_s: before each question whether a finished run has arrived, until it has.
        send_s: between two uploads of the epochs of a run; the client drops fractions, and takes
            15 for 0.
    """

    init_s: float = 20
    finish_s: float = 20
    ask_s: int = 5
    look_s: float = 10
    prove_s: tuple[float, ...] = (0, 1, 4, 10)
    send_s: int = 5


def prepare(environ: MutableMapping[str, str], *, folder: Path) -> None:
    """Make an environment fit for trackers: nothing of another run in it, quiet, files in `folder`.

    This must come before the first import of wandb.
    """
    for name in NOT_OURS:
        environ.pop(name, None)
    _keep_from_reporting(environ)
    environ.update(WANDB_SILENT="true", WANDB_DIR=str(folder))


def _keep_from_reporting(environ: MutableMapping[str, str]) -> None:
    """Keep the client, before its first import, from sending W&B its own errors and figures.

    If those hang, the process ends 10 s later.
    """
    environ["WANDB_ERROR_REPORTING"] = "false"


def is_online(mode: Mode, environ: MutableMapping[str, str]) -> bool:
    """Whether a sweep is sent to W&B: `auto` sends it if somebody is logged in.

    A user who keeps the client offline by WANDB_MODE is not sent anything of by `auto`. Ask before
    `prepare`, which removes that variable.

    Raises:
        InputError: the API key cannot be one, or both a key and an identity token are given.
    """
    if mode != "auto":
        return mode == "online"
    if environ.get("WANDB_MODE", "online") not in ("online", "shared"):
        return False
    return has_credentials()


def has_credentials() -> bool:
    """Whether there is an API key, an entry in netrc or an identity token for the W&B server.

    Raises:
        InputError: the API key cannot be one, or both a key and an identity token are given.
    """
    _keep_from_reporting(os.environ)
    import wandb
    from wandb.sdk import wandb_setup
    from wandb.sdk.lib import wbauth

    try:
        settings = wandb_setup.singleton().settings
        auth = wbauth.authenticate_session(
            host=settings.base_url, source="sweeps", prompt=False, update_session=False
        )
    except wandb.errors.AuthenticationError as error:
        raise InputError(f"W&B: {error}") from None
    return auth is not None


def log_in(entity: str | None = None, *, patience: Patience | None = None) -> str:
    """Ask W&B who is logged in.

    Returns:
        `entity`, else $WANDB_ENTITY, else the user's default entity.

    Raises:
        InputError: nobody is logged in, or W&B refuses the credentials.
        TrackerError: W&B does not answer.
    """
    _keep_from_reporting(os.environ)
    import wandb

    try:
        api = wandb.Api(timeout=(patience or Patience()).ask_s)
        default = api.default_entity  # asked in any case: it proves that the key is right
    except Exception as error:
        release(within_s=3)
        if _is_refusal(error):
            raise InputError(
                f"W&B refuses to log in: {short(error)}. Run `wandb login` or set WANDB_API_KEY"
            ) from None
        raise TrackerError(f"W&B does not answer: {short(error)}") from error
    found = entity or api.settings["entity"] or default
    if not found:
        raise InputError("W&B has no default entity for this login: set tracking.wandb.entity")
    return str(found)


def _is_refusal(error: BaseException | None) -> bool:
    """Whether it is the login that is wrong, and not the server or the way to it."""
    import wandb
    from wandb.sdk.lib.service.service_connection import WandbApiFailedError

    if isinstance(error, wandb.errors.UsageError):
        return True  # nobody is logged in
    while error is not None:
        if isinstance(error, WandbApiFailedError):
            return error.response is not None and error.response.http_status in (401, 403)
        if error.__cause__ is None:
            return isinstance(error, wandb.errors.AuthenticationError)  # the form of the key
        error = error.__cause__
    return False


@contextmanager
def calls(what: str) -> Iterator[None]:
    """Make every error of the client a TrackerError.

    The client raises errors of its own, of requests, of sockets and of its mailbox, and
    `SystemExit` if the helper process ended with an error.

    Args:
        what: what cannot be sent, for the message, such as `the end of trial 7`.
    """
    try:
        yield
    except SweepsError:
        raise
    except (Exception, SystemExit) as error:
        raise TrackerError(f"W&B did not take {what}: {short(error)}") from error


def short(error: BaseException) -> str:
    """The first line of an error's message, else its kind."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".:") if lines else type(error).__name__


def release(*, within_s: float = RELEASE_S) -> None:
    """End the helper process and forget its state; the next call of the client starts another.

    This gives open runs `finish_timeout` seconds to send their data, and never fails. A helper
    process that got errors from the server does not always end; it is killed after `within_s`.
    """
    ending = threading.Thread(target=_tear_down, name="wandb-teardown", daemon=True)
    ending.start()
    ending.join(within_s)
    if ending.is_alive():
        log.debug("W&B's helper process does not end: it is killed")
        kill_children(HELPER)
        ending.join(within_s)
    os.environ.pop("WANDB_SERVICE", None)  # the address of a dead helper process


def _tear_down() -> None:
    import wandb

    try:
        wandb.teardown()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the helper process may be dead
        log.debug("W&B's helper process did not end well: %s", short(error))


def run_settings(patience: Patience, **settings: Any) -> Any:
    """`wandb.Settings` of a run: nothing about the machine, no output, no code, no links."""
    import wandb

    return wandb.Settings(
        init_timeout=patience.init_s,
        finish_timeout=patience.finish_s,
        x_file_stream_transmit_interval=patience.send_s,
        silent=True,
        console="off",
        symlink=False,
        disable_git=True,
        disable_code=True,
        x_disable_stats=True,
        x_disable_machine_info=True,
        x_save_requirements=False,
        **settings,
    )
