"""Whatever becomes of stdout and stderr, a command does its work and ends with its exit code."""

import contextlib
import errno
import io
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps.cli.streams import Steady, courtesy, steady_streams
from sweeps.results.view import find_sweep
from sweeps.study.lease import find_holder, request_stop
from sweeps.study.storage import open_storage
from tests.sweeps.cli.conftest import COMMAND, Ended
from trainer.training.result import WEIGHTS

URL = "sqlite:///runs/sweeps.db"
# what a shell makes of the command's stdout and stderr; {} is the command
DEAD_PIPE = "{} 2>&1 >out.txt | head -n 1 >first.txt; exit ${{PIPESTATUS[0]}}"
CLOSED = "{} 2>&- >out.txt"
FULL_LOG = "{} 2>/dev/full >out.txt"
LOST = (
    "error: the output cannot be written (No space left on device). "
    "Free some space, or write it elsewhere, and run the same command again\n"
)


def shell(line: str, *arguments: object) -> int:
    """The exit code of the command, under a shell that does something with its streams."""
    command = " ".join(map(str, [COMMAND, *arguments]))
    return subprocess.run(["bash", "-c", line.format(command)], timeout=120, check=False).returncode


class Reader:
    """Both ends of a pipe whose reader may leave."""

    def __init__(self) -> None:
        self.read, write = os.pipe()
        self.stream = open(write, "w", encoding="utf-8")  # noqa: SIM115

    def leave(self) -> None:
        os.close(self.read)


class TestTheStream:
    def test_what_nobody_reads_any_more_goes_nowhere_whoever_writes(self):
        reader = Reader()
        steady = Steady(reader.stream)
        reader.leave()
        for _ in range(2):
            print("a line", file=steady, flush=True)
        os.write(steady.fileno(), b"of a library")  # a child process would get SIGPIPE
        reader.stream.close()
        assert steady.lost is None  # nobody misses it

    def test_a_full_disk_loses_lines_and_is_remembered(self):
        with open("/dev/full", "w", encoding="utf-8") as full:
            steady = Steady(full)
            print("a line", file=steady, flush=True)
            assert steady.lost is not None
            assert steady.lost.errno == errno.ENOSPC
            steady.finish()  # so that closing it does not fail, and the exit code is not 120

    def test_after_an_error_the_next_line_is_tried_again(self, tmp_path: Path):
        class Once(io.StringIO):
            tries = 0

            def write(self, text: str) -> int:
                self.tries += 1
                if self.tries == 1:
                    raise OSError(errno.EIO, "Input/output error")
                return super().write(text)

        stream = Once()
        steady = Steady(stream)
        steady.writelines(["one\n", "two\n"])
        assert stream.getvalue() == "two\n"

    def test_a_signal_that_comes_during_a_print_may_print(self):
        class Busy(io.StringIO):
            def write(self, text: str) -> int:
                raise RuntimeError("reentrant call inside <_io.BufferedWriter>")

        assert Steady(Busy()).write("interrupted\n") == 12

    def test_text_that_cannot_be_encoded_is_no_trouble_of_the_stream(self):
        ascii_only = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
        with pytest.raises(UnicodeEncodeError):
            Steady(ascii_only).write("Grüße")
        ascii_only.close()
        assert Steady(ascii_only).write("Gruesse") == 7

    @pytest.mark.parametrize(
        ("within", "code", "error"), [(contextlib.nullcontext, 3, LOST), (courtesy, 0, "")]
    )
    def test_output_that_is_lost_is_an_error_unless_it_is_for_comfort(
        self,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        within: Callable[[], contextlib.AbstractContextManager[None]],
        code: int,
        error: str,
    ):
        def command() -> None:
            with steady_streams():
                with within():
                    sys.stdout.write("a table\n")
                sys.exit(0)

        with open("/dev/full", "w", encoding="utf-8") as full:
            monkeypatch.setattr(sys, "stdout", full)
            with pytest.raises(SystemExit) as end:
                command()
            assert sys.stdout is full
        assert end.value.code == code
        assert capsys.readouterr().err == error


@pytest.mark.parametrize(
    ("line", "arguments", "code"),
    [
        (DEAD_PIPE, "best nosuch", 2),
        (CLOSED, "best nosuch", 2),
        (FULL_LOG, "best nosuch", 2),
        (FULL_LOG, "best --nosuch", 2),  # what the library for options prints
        ("{} | true; exit ${{PIPESTATUS[0]}}", "--version", 0),
        ("{} >&-", "--version", 0),
        ("{} >/dev/full", "--version", 3),
        ("{} <&- 2>&1", "delete nosuch", 2),
    ],
)
def test_a_command_keeps_its_exit_code(line: str, arguments: str, code: int):
    Path("runs").mkdir()
    open_storage(URL).engine.dispose()
    assert shell(line, arguments) == code
    assert not Path("out.txt").exists() or Path("out.txt").read_text() == ""  # no error in it


@pytest.mark.parametrize("line", [DEAD_PIPE, "{} >/dev/full 2>&1"])
def test_a_sweep_without_stderr_ends_well_and_removes_weights(
    space: Callable[..., Path], line: str
):
    path = space(("run_cap: 2", "run_cap: 3\nkeep: 1\nearly_terminate: {type: none}"))
    assert shell(line, "run", path, "--local", "--name", "tiny") == 0
    assert len(list(Path("runs/tiny").rglob(WEIGHTS))) == 2  # of both folds of the best trial
    if Path("out.txt").exists():  # only the leaderboard, not what stderr was for
        assert Path("out.txt").read_text().startswith("tiny: 3 completed, 0 pruned, 0 failed\n")


def test_a_sweep_without_stderr_obeys_sweeps_stop(space: Callable[..., Path]):
    path = space(("run_cap: 2", "run_cap: 1000"))
    reader = Reader()
    running = subprocess.Popen(
        [COMMAND, "run", path, "--local"], stdout=subprocess.DEVNULL, stderr=reader.stream
    )
    reader.stream.close()
    reader.leave()
    while not list(Path("runs").glob("tiny/trial-*/fold-0/result.json")):
        assert running.poll() is None
        threading.Event().wait(0.05)
    storage = open_storage(URL)
    assert find_holder(storage.engine, "tiny") is not None
    request_stop(storage.engine, "tiny", now=True)
    assert running.wait(120) == 130
    assert find_sweep(storage, "tiny").trials()
    storage.engine.dispose()


def test_both_streams_are_as_before_when_a_command_has_ended(sweeps: Callable[..., Ended]):
    before = sys.stdout, sys.stderr
    assert sweeps("--version").code == 0
    assert (sys.stdout, sys.stderr) == before
