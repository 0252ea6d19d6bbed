"""The command before anything is imported: a password leaves its arguments."""

import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from sweeps.secret_arguments import without_secret

URL = "postgresql://kim:secret@localhost/sweeps"
COMMANDS = [(str(Path(sys.executable).with_name("sweeps")),), (sys.executable, "-m", "sweeps")]


@pytest.mark.parametrize(
    ("arguments", "left", "url"),
    [
        (["run", "a.yaml", "--storage", URL, "--local"], ["run", "a.yaml", "--local"], URL),
        (["list", f"--storage={URL}"], ["list"], URL),
        (["list", "--storage", "sqlite:///a.db", "--storage", URL], ["list"], URL),
        (["list", "--storage", "postgresql://h/d?password=x"], ["list"], "postgresql://h/d?password=x"),
    ],
)  # fmt: skip
def test_a_url_that_may_have_a_password_is_taken_out(
    arguments: list[str], left: list[str], url: str
):
    assert without_secret(arguments) == (left, url)


@pytest.mark.parametrize(
    "arguments",
    [[], ["list"], ["list", "--storage", "sqlite:///a.db"], ["list", "--storage"],
     ["list", "--storage="], ["list", "--storage", "postgresql://host/d"],
     ["list", "--storage", URL, "--storage", ""]],
)  # fmt: skip
def test_all_else_stays_for_the_command(arguments: list[str]):
    assert without_secret(arguments) == (arguments, None)


@pytest.mark.parametrize("command", COMMANDS)
def test_nobody_reads_the_password_among_the_arguments(command: tuple[str, ...], tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"postgresql://kim:secret@127.0.0.1:{server.getsockname()[1]}/sweeps"
        with subprocess.Popen(
            [*command, "list", "--json", "--storage", url],
            cwd=tmp_path,
            stderr=subprocess.PIPE,
            env={name: value for name, value in os.environ.items() if name != "SWEEPS_STORAGE"},
        ) as process:
            server.settimeout(60)
            server.accept()[0].close()  # it has begun, with the URL from its environment
            found = psutil.Process(process.pid)
            with contextlib.suppress(psutil.NoSuchProcess):
                assert found.cmdline()[-2:] in (["list", "--json"], [])
            _, message = process.communicate(timeout=60)
    assert process.returncode == 2
    assert b"postgresql://kim:***@127.0.0.1" in message
    assert b"secret" not in message
