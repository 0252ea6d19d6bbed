"""The command itself: its help, its version."""

import importlib.metadata
import re
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.sweeps.cli.conftest import Ended


class TestTheCommandItself:
    def test_help_loads_nothing_heavy(self):
        """0.4 s is the promise; torch alone takes seconds."""
        asks = (
            "import sys\n"
            "from sweeps.cli import main\n"
            "sys.argv = ['sweeps', '--help']\n"
            "try:\n    main()\n"
            "except SystemExit as end:\n    print('code', end.code)\n"
            "heavy = ('torch', 'ray', 'optuna', 'timm', 'sqlalchemy', 'pandas', 'sklearn', "
            "'numpy')\nprint('loaded', [name for name in heavy if name in sys.modules])\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", asks], capture_output=True, text=True, timeout=120, check=True
        )
        *helped, code, loaded = done.stdout.splitlines()
        assert (code, loaded, done.stderr) == ("code 0", "loaded []", "")
        for command in ("run", "check", "best", "status", "list", "demo"):
            assert any(line.split()[:1] == [command] for line in helped)

    @pytest.mark.parametrize("option", ["--help", "-h"])
    def test_every_command_explains_itself(self, sweeps: Callable[..., Ended], option: str):
        for command in ("run", "check", "best", "status", "list", "demo"):
            ended = sweeps(command, option)
            assert (ended.code, ended.err) == (0, "")
            assert re.match(rf"Usage: .* {command} \[OPTIONS\]", ended.out)

    def test_without_a_command_it_explains_itself(self, sweeps: Callable[..., Ended]):
        ended = sweeps()
        assert ended.code == 2
        assert "Traceback" not in ended.err
        assert "Find out which backbone" in ended.out + ended.err

    def test_version(self, sweeps: Callable[..., Ended]):
        assert sweeps("--version") == Ended(
            0, f"foldsweep {importlib.metadata.version('foldsweep')}\n", ""
        )
