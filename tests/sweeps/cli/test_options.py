"""Options that several commands share, and those of the command itself."""

import importlib.metadata
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps.cli.options import runs_folder, storage_url, sweep_name
from sweeps.errors import InputError
from tests.sweeps.cli.conftest import Ended


def test_the_runs_folder_is_the_option_else_the_environment_else_runs(
    monkeypatch: pytest.MonkeyPatch,
):
    assert runs_folder(None) == Path("runs")
    monkeypatch.setenv("SWEEPS_RUNS", "")
    assert runs_folder(None) == Path("runs")
    monkeypatch.setenv("SWEEPS_RUNS", "/srv/runs")
    assert runs_folder(None) == Path("/srv/runs")
    assert runs_folder(Path("mine")) == Path("mine")


def test_the_storage_is_the_option_else_the_environment_else_a_file_in_the_runs_folder(
    monkeypatch: pytest.MonkeyPatch,
):
    assert storage_url(None, Path("/srv/runs")) == "sqlite:////srv/runs/sweeps.db"
    monkeypatch.setenv("SWEEPS_STORAGE", "")
    assert storage_url(None, Path("runs")) == "sqlite:///runs/sweeps.db"
    monkeypatch.setenv("SWEEPS_STORAGE", "postgresql://host/x")
    assert storage_url(None, Path("runs")) == "postgresql://host/x"
    assert storage_url("sqlite:///y.db", Path("runs")) == "sqlite:///y.db"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: mask\n", "mask"),
        ("run_cap: 3\n", "space"),
        ("name: 7\n", "7"),
        ("nonsense: [1]\n", "space"),
    ],
    ids=["named", "named by its file", "a number", "not valid otherwise"],
)
def test_a_yaml_stands_for_its_sweep(tmp_path: Path, text: str, expected: str):
    for name in ("space.yaml", "space.yml"):
        (tmp_path / name).write_text(text)
        assert sweep_name(str(tmp_path / name)) == expected


def test_a_name_stands_for_itself_and_nothing_for_the_latest():
    assert sweep_name("mask") == "mask"
    assert sweep_name(None) is None


def test_a_yaml_that_is_not_there():
    with pytest.raises(
        InputError, match=r"^nowhere\.yaml: no such file\. Give a sweep's name .* or its YAML$"
    ):
        sweep_name("nowhere.yaml")


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
