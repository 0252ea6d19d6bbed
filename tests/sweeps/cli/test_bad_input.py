"""Everything a user can get wrong: exit code 2, one block that says what to do,
nothing half-written.
"""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch

from sweeps.study.lease import Lease
from sweeps.study.storage import open_storage
from tests.sweeps.cli.conftest import Ended
from tests.sweeps.cli.refusals import SPACE_PROBLEMS, broken, refused


@pytest.mark.parametrize("case", SPACE_PROBLEMS)
def test_a_problem_of_the_search_space_is_named_with_its_line(
    sweeps: Callable[..., Ended], space: Callable[..., Path], case: str
):
    changes, problem = SPACE_PROBLEMS[case]
    refused(
        sweeps("run", space(*changes), "--local"),
        f"tiny.yaml: 1 problem\n{problem}".replace("{here}", str(Path.cwd())),
    )
    assert not Path("runs").exists()


def test_all_problems_are_named_at_once(sweeps: Callable[..., Ended], space: Callable[..., Path]):
    changes = [
        change
        for case in ("misspelt key", "unknown loss", "missing goal")
        for change in SPACE_PROBLEMS[case][0]
    ]
    expected = [
        SPACE_PROBLEMS[case][1] for case in ("missing goal", "misspelt key", "unknown loss")
    ]
    refused(
        sweeps("run", space(*changes), "--local"), "\n".join(["tiny.yaml: 3 problems", *expected])
    )


@pytest.mark.parametrize("command", ["run", "check"])
def test_a_search_space_that_is_not_there(sweeps: Callable[..., Ended], command: str):
    refused(sweeps(command, "tniy.yaml"), "tniy.yaml: no such file. Give a search space (YAML)")


class TestOfAProcessOfItsOwn:
    """The same through the installed command."""

    def test_a_misspelt_key(self, process: Callable[..., Ended], space: Callable[..., Path]):
        changes, problem = SPACE_PROBLEMS["misspelt key"]
        refused(process("run", space(*changes)), f"tiny.yaml: 1 problem\n{problem}")

    def test_an_unreadable_image(
        self, process: Callable[..., Ended], space: Callable[..., Path], rows: list[str]
    ):
        broken(rows)
        ended = process(
            "prepare",
            space(("photos/train.csv", "all.csv, allow_outside: true")),
            "--set",
            "data.max_rejected=0",
        )
        assert (ended.code, ended.out) == (2, "")
        assert "line 62: broken.png" in ended.err
        assert "Traceback" not in ended.err

    def test_a_sweep_that_is_already_running(
        self, process: Callable[..., Ended], space: Callable[..., Path]
    ):
        engine = open_storage("sqlite:///sweeps.db").engine
        lease = Lease.acquire(engine, "tiny", on_lost=lambda error: pytest.fail(str(error)))
        try:
            ended = process("run", space(), "--local", "--storage", "sqlite:///sweeps.db")
        finally:
            lease.release()
        when = r"process \d+ on \S+ since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
        assert (ended.code, ended.out) == (2, "")
        assert re.fullmatch(
            rf"error: sweep 'tiny' is already running: {when}\. Wait for it, "
            r"or stop it with `sweeps stop tiny`; "
            r"`sweeps status` shows how far it is\n",
            ended.err,
        )
        assert not Path("runs/tiny").exists()


ALL = pytest.mark.parametrize(
    "command", [["run", "--local"], ["check"], ["prepare"]], ids=["run", "check", "prepare"]
)
OWN = """\
import numpy as np


def kappa(probs_NK, labels_N, classes):
    return np.mean(probs_NK)[classes]


def square(logits_BK, targets_BK):
    return (logits_BK.softmax(dim=1) - targets_BK) ** 2


broken = square(
"""


class TestWhatTheyTrain:
    """Networks, weights and functions of their own that cannot work:
    said before anything is trained.
    """

    @ALL
    def test_weights_whose_shapes_do_not_fit(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path], command: list[str]
    ):
        safetensors.torch.save_file({"conv1.0.weight": torch.zeros(3, 3)}, "resnet.safetensors")
        ended = sweeps(
            *command, space(("weights: {value: none}", "weights: {value: resnet.safetensors}"))
        )
        assert ended.err.startswith(
            "error: tiny.yaml: 1 problem\n"
            "  line 9  parameters: weights: resnet.safetensors does not fit backbone "
            "test_efficientnet: "
        )
        assert ended.err.endswith(". Name a file with weights of this backbone\n")
        refused(ended, ended.err.removeprefix("error: ").removesuffix("\n"))
        assert not Path("runs").exists()

    @ALL
    def test_a_file_of_their_own_that_does_not_run(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path], command: list[str]
    ):
        Path("my_task.py").write_text(OWN)
        refused(
            sweeps(*command, space(("valid/f1", "my_task.py:kappa"))),
            "tiny.yaml: 1 problem\n  line 3  metric.name: my_task.py, line 12: SyntaxError: "
            "'(' was never closed",
        )
        assert not Path("runs").exists()

    @ALL
    def test_a_bug_in_a_function_of_their_own_is_told_with_its_line(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path], command: list[str]
    ):
        Path("my_task.py").write_text(OWN.partition("broken")[0])
        ended = sweeps(*command, space(("valid/f1", "my_task.py:kappa")))
        assert ended.err.splitlines()[-1].startswith("error: my_task.py:kappa, line 5: ")
        refused(ended, ended.err.splitlines()[-1].removeprefix("error: "))
        refused(
            sweeps(*command, space(("value: cross_entropy", "value: 'my_task.py:square'"))),
            "my_task.py:square returned Tensor of shape (64, 3); a loss returns a scalar tensor, "
            "e.g. its .mean()",
        )

    def test_a_file_that_changed_after_its_sweep_began(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path]
    ):
        code = "def kappa(probs_NK, labels_N, classes):\n    return float(probs_NK.max())\n"
        Path("my_task.py").write_text(code)
        path = space(("valid/f1", "my_task.py:kappa"), ("run_cap: 2", "run_cap: 1"))
        assert sweeps("run", path, "--local").code == 0
        Path("my_task.py").write_text(code.replace("max", "min"))
        ended = sweeps("run", path, "--local", "--trials", 2)
        assert (ended.code, ended.out) == (2, "")
        kept = Path.cwd() / "runs/tiny/code/my_task.py"
        assert ended.err.splitlines()[-1] == (
            f"error: my_task.py changed since sweep 'tiny' began ({kept} is what it began with), "
            "so new trials could not be compared with its old ones. Change it back, "
            "or give the search space another name"
        )
        assert [path.name for path in sorted(Path("runs/tiny").glob("trial-*"))] == ["trial-0000"]
        Path("my_task.py").write_text(code)
        assert sweeps("run", path, "--local", "--trials", 2).code == 0


class TestPlaces:
    @pytest.mark.parametrize(
        "command", [["run", "--local"], ["check"], ["prepare"]], ids=["run", "check", "prepare"]
    )
    def test_a_cache_folder_that_cannot_be_written(
        self,
        sweeps: Callable[..., Ended],
        space: Callable[..., Path],
        monkeypatch: pytest.MonkeyPatch,
        command: list[str],
    ):
        Path("file").touch()  # nobody, not even root, can make a folder below a file
        monkeypatch.setenv("SWEEPS_CACHE", "file/cache")
        refused(
            sweeps(*command, space()),
            f"{Path.cwd()}/file/cache: the cache folder cannot be written. "
            "Set $SWEEPS_CACHE to one that can",
        )

    def test_a_runs_folder_that_cannot_be_written(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path]
    ):
        Path("file").touch()  # nobody, not even root, can make a folder below a file
        refused(
            sweeps("run", space(), "--local", "--runs", "file/runs"),
            "file/runs: cannot be written (Not a directory). Choose another folder with --runs or "
            "$SWEEPS_RUNS",
        )

    @pytest.mark.parametrize(
        ("url", "problem"),
        [
            (
                "nonsense",
                "--storage: not a database URL. "
                "Examples: sqlite:///runs/sweeps.db, postgresql://user:password@host/database",
            ),
            (
                "mysql://me:secret@host/x",
                "--storage mysql://me:***@host/x: mysql is not supported; use sqlite or postgresql",
            ),
            ("sqlite://", "--storage: a sweep needs a file or a server, not an in-memory database"),
            (
                "sqlite:///text.db",
                "--storage sqlite:///text.db: cannot be opened (file is not a database). "
                "Name another file, or move this one away",
            ),
        ],
    )
    def test_a_storage_that_cannot_be_opened(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path], url: str, problem: str
    ):
        Path("text.db").write_text(
            "no database, but some sentences that are long enough for a header"
        )
        refused(sweeps("run", space(), "--local", "--storage", url), problem)

    def test_a_server_that_does_not_answer_is_named_without_its_password(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path]
    ):
        ended = sweeps(
            "run", space(), "--local", "--storage", "postgresql://me:secret@localhost:1/x"
        )
        assert ended.err.startswith(
            "error: --storage postgresql://me:***@localhost:1/x: cannot be opened ("
        )
        assert "secret" not in ended.err
        refused(ended, ended.err.removeprefix("error: ").removesuffix("\n"))

    def test_a_storage_below_a_file_is_blamed_on_the_storage(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path]
    ):
        Path("file").touch()
        ended = sweeps("run", space(), "--local", "--storage", "sqlite:///file/x/sweeps.db")
        assert (ended.code, ended.out) == (2, "")
        assert "file/x: cannot be written (Not a directory)" in ended.err
        assert "--storage" in ended.err
        assert "--runs" not in ended.err  # that would not help

    def test_more_gpu_than_there_is(
        self,
        sweeps: Callable[..., Ended],
        space: Callable[..., Path],
        monkeypatch: pytest.MonkeyPatch,
    ):
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
        # a size nobody has decoded: the answer must not wait for that
        size = "parameters.resize.value=17"
        refused(
            sweeps("run", space(), "--local", "--set", "resources.gpu=1", "--set", size),
            "a trial asks for 1 GPU (resources), but this machine has none: --set resources.gpu=0",
        )

    def test_options_are_blamed_by_their_name(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path]
    ):
        for value in ("0", "-1"):
            ended = sweeps("run", space(), "--local", "--hours", value)
            assert (ended.code, ended.out) == (2, "")
            assert "should be greater than 0" in ended.err
        for setting in ("run_cap", "=3", "run_cap=[", ".x=1"):
            ended = sweeps("run", space(), "--local", "--set", setting)
            assert (ended.code, ended.out) == (2, "")
            assert f"--set.{setting}: " in ended.err
        assert not Path("runs").exists()


class TestReading:
    """The commands that only read make nothing."""

    @pytest.mark.parametrize("command", ["best", "status", "report"])
    def test_a_storage_that_is_not_there(self, sweeps: Callable[..., Ended], command: str):
        ended = sweeps(command)
        expected = (
            "no sweeps stored here yet. `sweeps run SPACE` starts one; --storage names another "
            "place"
        )
        assert ended == Ended(2, "", f"error: runs/sweeps.db: {expected}\n")
        assert not Path("runs").exists()

    @pytest.mark.parametrize("command", ["best", "status"])
    def test_a_sweep_that_is_not_there(
        self, sweeps: Callable[..., Ended], recorded: Callable[..., object], command: str
    ):
        recorded()
        expected = "no sweep 'curv' in this storage. Did you mean 'curve'? `sweeps list` shows them"
        assert sweeps(command, "curv") == Ended(2, "", f"error: {expected}\n")
        expected = (
            "curv.yaml: no such file. Give a sweep's name (`sweeps list` shows them) or its YAML"
        )
        assert sweeps(command, "curv.yaml") == Ended(2, "", f"error: {expected}\n")

    @pytest.mark.parametrize("command", ["best", "status"])
    def test_a_storage_without_sweeps(self, sweeps: Callable[..., Ended], command: str):
        open_storage("sqlite:///empty.db")
        expected = (
            "no sweeps in this storage yet. `sweeps run SPACE` starts one; "
            "--storage names another place"
        )
        assert sweeps(command, "--storage", "sqlite:///empty.db") == Ended(
            2, "", f"error: {expected}\n"
        )


def test_a_usage_error_is_no_traceback(sweeps: Callable[..., Ended], space: Callable[..., Path]):
    for arguments in (
        ["run"],
        ["prepare"],
        ["check", "--plain"],
        ["rnu"],
        ["run", space(), "--trials", "0"],
        ["best", "--topk", "0"],
        ["demo", "cats"],
    ):
        ended = sweeps(*arguments)
        assert (ended.code, ended.out) == (2, "")
        assert "Traceback" not in ended.err
