"""What the Tab key offers, asked as the shells ask: `_SWEEPS_COMPLETE=complete_bash sweeps`."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest

from sweeps.cli import completion
from sweeps.running.messages import Outcome
from tests.sweeps.cli.conftest import COMMAND, Ended

Complete = Callable[[str], list[str]]


@pytest.fixture
def complete(monkeypatch: pytest.MonkeyPatch, sweeps: Callable[..., Ended]) -> Complete:
    """What bash is offered at the end of a line."""

    def ask(line: str) -> list[str]:
        words = line.split(" ")
        monkeypatch.setenv("_SWEEPS_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
        ended = sweeps()
        assert (ended.code, ended.err) == (0, "")
        return ended.out.split()

    return ask


@pytest.fixture
def files(home: Path) -> None:
    for name in ("space.yaml", "data.csv", "공간.yml", "my space.yaml", ".hidden.yaml"):
        (home / name).touch()
    for name in ("search_spaces/b.yaml", "search_spaces/a.yaml", ".git/c.yaml", "far/er/d.yaml"):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).touch()


def test_commands_options_and_the_words_of_an_option(complete: Complete):
    assert complete("sweeps re") == ["retry", "report", "refit"]
    assert complete("sweeps run --lo") == ["--local"]
    assert complete("sweeps run x.yaml --track ") == ["wandb", "tensorboard", "mlflow"]
    assert complete("sweeps best --rule ") == ["best", "one_se"]
    assert complete("sweeps predict --tta f") == ["flip", "flip_crops"]
    assert complete("sweeps demo f") == ["faces"]


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("command", ["run", "check", "prepare", "best"])
def test_search_spaces_of_the_folder_and_one_deeper(complete: Complete, command: str):
    beside = ["space.yaml", "공간.yml"]
    assert complete(f"sweeps {command} ") == [
        *beside,
        "search_spaces/a.yaml",
        "search_spaces/b.yaml",
    ]
    assert complete(f"sweeps {command} sp") == ["space.yaml"]
    assert complete(f"sweeps {command} ./sp") == ["./space.yaml"]
    assert complete(f"sweeps {command} search_spaces/b") == ["search_spaces/b.yaml"]
    assert complete(f"sweeps {command} far/") == ["far/er/d.yaml"]


@pytest.mark.usefixtures("files")
def test_where_nothing_is_known_the_shell_completes_files(complete: Complete):
    for line in (
        "run nowhere/",
        "run fa",
        "init ",
        "predict --source ",
        "run data.csv/",
        "run ~x/",
    ):
        assert complete(f"sweeps {line}") == []


def test_names_of_stored_sweeps_the_latest_first(
    complete: Complete, recorded: Callable[..., object], monkeypatch: pytest.MonkeyPatch, home: Path
):
    recorded(Outcome("failed", reason="x"), name="curve")
    recorded(name="cats")
    url = f"sqlite:///{home}/runs/sweeps.db"
    optuna.create_study(study_name="curls", storage=url).set_user_attr("made by", "another")
    (home / "curve.yaml").rename(home / "cube.yaml")
    for line in ("best ", "status ", "gc ", "delete ", "report --runs runs "):
        assert complete(f"sweeps {line}") == ["cats", "curve"]
    assert complete("sweeps stop cu") == ["curve"]
    assert complete("sweeps best --from c") == ["cats", "curve"]
    assert complete("sweeps compare lr cur") == ["curve"]
    assert complete("sweeps compare-submissions a b --sweep ca") == ["cats"]
    # a search space stands for its sweep
    assert complete("sweeps stop cub") == ["cube.yaml"]
    assert complete(f"sweeps best --runs elsewhere --storage {url} ") == ["cats", "curve"]
    monkeypatch.setenv("SWEEPS_RUNS", str(home / "runs"))
    assert complete("sweeps best cu") == ["curve"]


@pytest.mark.parametrize("content", [None, b"", b"no database at all"])
def test_a_storage_that_cannot_be_read_offers_no_names(
    complete: Complete, home: Path, content: bytes | None
):
    (home / "runs").mkdir()
    if content is not None:
        (home / "runs" / "sweeps.db").write_bytes(content)
    assert complete("sweeps best ") == []
    assert complete("sweeps best --runs runs/sweeps.db ") == []
    assert [path.name for path in (home / "runs").iterdir()] == ["sweeps.db"] * (
        content is not None
    )


def test_of_another_storage_the_folders_of_the_sweeps_are_offered(complete: Complete, home: Path):
    for name in ("cats", "dogs"):
        (home / "runs" / name).mkdir(parents=True)
        (home / "runs" / name / "sweep.json").touch()
    (home / "runs" / "artifacts").mkdir()
    server = "postgresql://kim:secret@nowhere.invalid/sweeps"
    assert complete(f"sweeps best --storage {server} ") == ["cats", "dogs"]


def test_no_more_of_a_folder_is_read_than_a_user_waits_for(
    complete: Complete, home: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(completion, "MOST_ENTRIES", 3)
    for number in range(9):
        (home / f"{number}.yaml").touch()
    assert len(complete("sweeps run ")) == 3


def test_a_version_that_is_asked_for_is_not_printed_while_a_line_is_completed(complete: Complete):
    assert complete("sweeps --version chec") == ["check"]


def test_nothing_heavy_is_imported(home: Path):
    program = (
        "import os, sys\n"
        "os.environ.update(_SWEEPS_COMPLETE='complete_bash', COMP_WORDS='sweeps best x', "
        "COMP_CWORD='2')\n"
        "sys.argv = ['sweeps']\n"
        "from sweeps.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    print('code', end.code)\n"
        "heavy = {'torch', 'ray', 'optuna', 'numpy', 'sqlalchemy', 'pandas', 'ruamel'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=home, capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n", 1)[1] == "code 0\n[]\n"


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("shell", "offered"),
    [
        ("zsh", "_arguments '*: :((\"space.yaml\"))'\n"),
        ("fish", "space.yaml\n"),
        ("powershell", "space.yaml::: \n"),
    ],
)
def test_other_shells_ask_in_their_own_way(
    sweeps: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch, shell: str, offered: str
):
    monkeypatch.setenv("_SWEEPS_COMPLETE", f"complete_{shell}")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "sweeps run sp")
    monkeypatch.setenv("_TYPER_COMPLETE_WORD_TO_COMPLETE", "sp")
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    assert sweeps() == Ended(0, offered, "")


@pytest.mark.usefixtures("files")
def test_in_bash_the_script_that_is_shown_completes_a_line(home: Path):
    bash = shutil.which("bash")
    assert bash is not None
    script = (
        f'PATH="{COMMAND.parent}:$PATH"\n'
        'eval "$(sweeps --show-completion bash)"\n'
        "COMP_WORDS=(sweeps run se)\nCOMP_CWORD=2\n"
        "_sweeps_completion sweeps\n"
        'printf "%s\\n" "${COMPREPLY[@]}"\ncomplete -p sweeps\n'
    )
    done = subprocess.run(
        [bash, "--norc", "-c", script], cwd=home, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "search_spaces/a.yaml",
        "search_spaces/b.yaml",
        "complete -o default -F _sweeps_completion sweeps",
    ]


def test_it_is_installed_for_a_shell(home: Path):
    environment = {"HOME": str(home), "PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path)}
    (home / ".bashrc").write_text("alias ll='ls -l'\n")
    done = subprocess.run(
        [COMMAND, "--install-completion", "bash"],
        env={**environment, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (home / ".bashrc").read_text().startswith("alias ll='ls -l'\n")
    assert "_sweeps_completion" in (home / ".bash_completions" / "sweeps.sh").read_text()
