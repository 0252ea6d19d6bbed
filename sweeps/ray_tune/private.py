"""Ray on this machine for one sweep: closed to other machines, and to other users of this one."""

import contextlib
import functools
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from ray._private import ray_constants, services
from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]  # of Cython

AUTH_MODE = "RAY_AUTH_MODE"
TOKEN = "RAY_AUTH_TOKEN"
TOKEN_PATH = "RAY_AUTH_TOKEN_PATH"


@contextlib.contextmanager
def private() -> Iterator[None]:
    """A context manager around a Ray that this process starts.

    Ray's processes listen on the loopback interface only, as Ray does on macOS, and ask for a token
    that is made for this block. The token is in the environment of this process and its children,
    and in no file. A token or a mode of the user's own is kept. A signal to this process' group, as
    `timeout` and Slurm send it, does not reach Ray: running trials need it to save their state.
    """
    # Ray has no public option: an address of this machine that is given is replaced by one that
    # other machines reach
    everywhere = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    start = services.ConsolePopen
    services.ConsolePopen = functools.partial(start, process_group=0)
    before = {name: os.environ.get(name) for name in (AUTH_MODE, TOKEN)}
    # Ray itself sets the mode `token` in the environment, where it stays for the next Ray
    own = not (os.environ.get(TOKEN) or os.environ.get(TOKEN_PATH)) and (
        (before[AUTH_MODE] or "token").lower() == "token"
    )
    if own:
        os.environ[TOKEN] = secrets.token_hex(32)
        AuthenticationTokenLoader.instance().reset_cache()
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = everywhere
        services.ConsolePopen = start
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        if own:
            AuthenticationTokenLoader.instance().reset_cache()


def default_token_file() -> Path:
    """The file in which Ray looks for a token, and writes one."""
    return Path.home() / ".ray" / "auth_token"


def close_token_file() -> None:
    """Let nobody else read the token that Ray has left in a file of this user's."""
    file = default_token_file()
    with contextlib.suppress(OSError):
        found = file.stat()
        if found.st_uid == os.getuid() and stat.S_IMODE(found.st_mode) & 0o077:
            file.chmod(0o600)
