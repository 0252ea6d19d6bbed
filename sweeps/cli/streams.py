"""Standard output and standard error of a command: what becomes of them does not decide its end.

Somebody may close them (`2>&-`), the reader of a pipe may end (`| head`, a `tee` that was killed),
a log may lie on a full disk, a terminal may be gone. Python would raise an error in whichever
thread prints next, and change the exit code of a command that ended well.
"""

import contextlib
import errno
import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any, TextIO, cast

from sweeps.errors import InfrastructureError

_STANDARD = {0: ("stdin", "r"), 1: ("stdout", "w"), 2: ("stderr", "w")}


class Steady:
    """A text stream whose writes do not fail: what cannot be written is lost.

    When the reader of a pipe is gone, all that follows goes to the null device, so that libraries
    and child processes with the same file descriptor do not fail either. After any other error,
    the next write is tried again: there may be space on the disk then.

    Attributes:
        lost: why something is lost that somebody may be waiting for; None if nothing is, or if
            nobody reads it.
    """

    def __init__(self, stream: TextIO) -> None:
        self.lost: OSError | None = None
        self._stream = stream

    def write(self, text: str) -> int:
        """Write the text, if it can be written."""
        with self._losing():
            self._stream.write(text)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write the lines that can be written."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Pass on what is buffered, if it can be written."""
        with self._losing():
            self._stream.flush()

    def finish(self) -> None:
        """Flush, and give up what cannot be written: nothing is left that could fail later."""
        self.flush()
        if self.lost is not None:
            self._to_null()

    @contextlib.contextmanager
    def _losing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno == errno.EPIPE:
                self._to_null()
            else:
                self.lost = self.lost or error
        except RuntimeError:  # the handler of a signal prints, and the signal came during a print
            pass
        except ValueError:
            if not self._stream.closed:
                raise

    def _to_null(self) -> None:
        with contextlib.suppress(OSError):  # a stream of a test has no file descriptor
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stream.fileno())
            os.close(null)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def steady_streams() -> Iterator[None]:
    """While the context is open, nothing that is printed can fail.

    Raises:
        SystemExit: the command ended well, but its output could not be written: exit code 3.
    """
    _open_closed()
    before = sys.stdout, sys.stderr
    stdout, stderr = map(Steady, before)
    sys.stdout, sys.stderr = cast(TextIO, stdout), cast(TextIO, stderr)
    try:
        yield
    except SystemExit as end:
        stdout.flush()
        if end.code or stdout.lost is None:
            raise
        print(
            f"error: the output cannot be written ({stdout.lost.strerror}). "
            "Free some space, or write it elsewhere, and run the same command again",
            file=sys.stderr,
        )
        sys.exit(InfrastructureError.exit_code)
    finally:
        stdout.finish()
        stderr.finish()
        sys.stdout, sys.stderr = before


@contextlib.contextmanager
def courtesy() -> Iterator[None]:
    """What is printed while the context is open is only for comfort: it may be lost."""
    try:
        yield
    finally:
        if isinstance(sys.stdout, Steady):
            sys.stdout.finish()
            sys.stdout.lost = None


def _open_closed() -> None:
    """Open the null device in place of each standard stream that is closed.

    Otherwise the next file that is opened gets its number, and with it what libraries print; and
    for `print`, a standard error that is closed means standard output.
    """
    for number, (name, mode) in _STANDARD.items():
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
