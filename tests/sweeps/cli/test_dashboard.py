"""`sweeps dashboard` as a user calls it."""

import json
import os
import re
import signal
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sweeps.study.stored_sweep import StoredSweep
from tests.sweeps.cli.conftest import COMMAND, Ended


@contextmanager
def shown(home: Path, *options: str) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """The line that the command prints, while it serves; then the user presses Ctrl-C."""
    process = subprocess.Popen(
        [COMMAND, "dashboard", "--port", "0", *options],
        cwd=home,
        env=os.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline(), process
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0


def test_it_serves_until_ctrl_c(home: Path, recorded: Callable[..., StoredSweep]):
    recorded([0, 1, 2])
    with shown(home) as (line, process):
        found = re.fullmatch(r"(http://localhost:\d+)/dashboard  \(Ctrl-C ends it\)\n", line)
        assert found is not None, line
        with urllib.request.urlopen(f"{found[1]}/api/studies", timeout=60) as answer:
            (study,) = json.load(answer)["study_summaries"]
        assert study["study_name"] == "curve"
        assert process.stderr is not None
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == ""


def test_for_other_machines_it_warns_that_there_is_no_login(
    home: Path, recorded: Callable[..., StoredSweep]
):
    recorded()
    with shown(home, "--host", "0.0.0.0") as (line, process):
        assert line.startswith("http://localhost:")
        assert process.stderr is not None
        assert re.fullmatch(
            r"warning: whoever reaches port \d+ of this machine sees all sweeps: there is no "
            r"login\n",
            process.stderr.readline(),
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "runs/sweeps.db: no sweeps stored here yet. `sweeps run SPACE` starts one"),
        (
            ["--port", "70000"],
            "Invalid value for '--port': Input should be less than or equal to 65535",
        ),
    ],
)
def test_what_cannot_be_shown_is_an_error(
    sweeps: Callable[..., Ended], options: list[str], message: str
):
    ended = sweeps("dashboard", *options)
    assert ended.code == 2
    assert message in ended.err


def test_a_host_that_is_not_this_machine_is_an_error(
    sweeps: Callable[..., Ended], recorded: Callable[..., StoredSweep]
):
    recorded()
    ended = sweeps("dashboard", "--host", "192.0.2.1")
    assert ended.code == 2
    assert ended.err.startswith("error: http://192.0.2.1:8080: cannot be served (")
    assert "Name another --port (0: any free one) or --host" in ended.err
