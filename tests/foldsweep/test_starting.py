"""`foldsweep.run`: the command in a notebook, with a dict or a file."""

import asyncio
import concurrent.futures
import json
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import foldsweep
from foldsweep.starting import json_of, settings_of
from sweeps.cli.run import run as command
from sweeps.errors import NothingCompletedError, SameFailureError, SpecError
from sweeps.running.local import run_local
from sweeps.running.messages import Assignment, Outcome, OutcomeState, TrialReporter
from sweeps.space.spec_reader import read_spec
from tests.foldsweep.conftest import Trained
from tests.sweeps.study.waiting import until

pytestmark = pytest.mark.usefixtures("_here")


def test_a_line_is_printed_for_each_event_unless_it_shall_be_silent(
    trained: Trained, untrained: dict[str, Any], capsys: pytest.CaptureFixture[str]
):
    lines = trained.printed.splitlines()
    assert all(re.match(r"\d\d:\d\d:\d\d  ", line) for line in lines)
    assert "trial 0 started  lr=0.01" in [line[10:] for line in lines]
    assert [line[10:].partition(" after")[0] for line in lines if "trial 2 pruned" in line] == [
        "trial 2 pruned"
    ]
    foldsweep.run(untrained, trials=1, local=True, silent=True)
    assert capsys.readouterr().out == ""


def test_it_has_the_options_of_the_command(options_of: Callable[[object], set[str]]):
    other_words = {"settings": "set", "plain": "silent"}
    options = {other_words.get(name, name) for name in options_of(command) - {"context"}}
    assert options_of(foldsweep.run) == options


def test_options_override_the_search_space(untrained: dict[str, Any], tmp_path: Path):
    sweep = foldsweep.run(
        untrained,
        name="other",
        trials=2,
        hours=3,
        set={"parameters.epochs.value": 1, "description": "of a: notebook"},
        runs=tmp_path / "mine",
        storage=f"sqlite:///{tmp_path}/mine.db",
        local=True,
        silent=True,
    )
    status = sweep.status()
    assert (sweep.name, sweep.runs, status.completed) == ("other", tmp_path / "mine", 2)
    assert status.left.hours == pytest.approx(3, abs=0.1)
    assert sweep.config(0)["parameters"]["epochs"] == {"value": 1}
    assert (tmp_path / "mine.db").is_file()


class TestASearchSpaceAsADict:
    def test_it_may_have_the_values_of_a_notebook(self):
        given = {"a": np.float32(0.5), "b": np.arange(3), "c": range(2), "d": Path("x/y")}
        assert json.loads(json_of(given, "space")) == {
            "a": 0.5,
            "b": [0, 1, 2],
            "c": [0, 1],
            "d": "x/y",
        }
        assert settings_of({"a.b": "마스크: 1"}) == ['a.b="마스크: 1"']

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            ({1, 2}, "lr: {1, 2} is a set. A search space has texts, numbers, True, False, None, "),
            (json, "lr: <module 'json' from "),
            ({(1, 2): 3}, "lr: cannot be written as a search space (keys must be "),
        ],
        ids=["a set", "a module", "a key that is no text"],
    )
    def test_other_values_are_refused(self, value: object, text: str):
        with pytest.raises(foldsweep.InputError, match=f"^{re.escape(text)}"):
            foldsweep.run({"name": "x"}, set={"lr": value}, local=True)

    def test_it_needs_a_name(self, untrained: dict[str, Any]):
        del untrained["name"]
        with pytest.raises(
            foldsweep.InputError,
            match=r"^a search space that is a dict needs a name: name='\.\.\.', or a key 'name' i",
        ):
            foldsweep.run(untrained, local=True)

    def test_its_problems_are_those_of_a_file_without_lines(
        self, untrained: dict[str, Any], tmp_path: Path
    ):
        untrained["parametres"] = 1
        untrained["parameters"]["optimiser"] = {"value": "adam"}
        path = tmp_path / "people.yaml"
        path.write_text(json.dumps(untrained, default=str, indent=1))
        with pytest.raises(SpecError) as of_file:
            read_spec(path)
        with pytest.raises(SpecError) as of_dict:
            foldsweep.run(untrained, local=True)
        assert 0 not in {each.line for each in of_file.value.problems}
        assert {each.line for each in of_dict.value.problems} == {0}
        assert sorted(each.text for each in of_dict.value.problems) == sorted(
            each.text for each in of_file.value.problems
        )
        assert str(of_dict.value).startswith("people: 2 problems\n  parametres: unknown key. Did ")
        assert "sweeps check" not in str(of_dict.value)

    def test_a_problem_that_is_found_late_has_no_line_either(self, untrained: dict[str, Any]):
        untrained["parameters"]["backbone"] = {"value": "my_task.py:network"}
        with pytest.raises(SpecError, match=r"^people: 1 problem\n  parameters\.backbone"):
            foldsweep.run(untrained, local=True, silent=True)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"track": "tensorbord"}, "track: unknown tracker 'tensorbord'. Known: wandb, tensorboard"),
        (
            {"storage": "mysql://host/db"},
            "--storage mysql://host/db: mysql is not supported; use s",
        ),
        ({"set": {"metric.name": "val"}}, "people: 1 problem\n  metric.name: unknown metric 'val'"),
        ({"trials": 0}, "people: 1 problem\n  run_cap: input should be greater than or equal to 1"),
    ],
    ids=["tracker", "storage", "set", "trials"],
)
def test_wrong_options_are_refused_and_nothing_is_written(
    untrained: dict[str, Any], tmp_path: Path, options: dict[str, Any], text: str
):
    with pytest.raises(foldsweep.InputError, match=f"^{re.escape(text)}"):
        foldsweep.run(untrained, local=True, silent=True, **options)
    assert not (tmp_path / "runs" / "people").exists()


class TestHowItEnds:
    def test_a_sweep_that_is_done_says_so_to_a_dict_and_to_the_file_with_the_same_content(
        self,
        untrained: dict[str, Any],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ):
        monkeypatch.setenv("SWEEPS_RUNS", "elsewhere")  # as for the command
        foldsweep.run(untrained, trials=1, local=True, silent=True)
        path = tmp_path / "people.yaml"
        path.write_text(json.dumps(untrained, default=str))
        sweep = foldsweep.run(path, trials=1, local=True)
        assert (len(sweep.trials), sweep.runs) == (1, tmp_path / "elsewhere")
        last = capsys.readouterr().out.splitlines()[-1]
        assert last[10:] == "all trials are done already; more with trials or a larger run_cap"

    def test_without_a_completed_trial_it_is_an_error(self, failing: dict[str, Any]):
        with pytest.raises(NothingCompletedError) as ended:
            foldsweep.run(failing, trials=1, local=True, silent=True)
        assert str(ended.value) == (
            "no trial completed (0 pruned, 1 failed); `foldsweep.open('people').trials` shows the "
            "reasons"
        )

    def test_equal_failures_end_it_with_their_reason(self, failing: dict[str, Any]):
        with pytest.raises(
            SameFailureError,
            match=r"^the sweep stopped, because 3 trials in a row fai.*\n  out of l",
        ):
            foldsweep.run(failing, local=True, silent=True)


class Interrupting:
    """A notebook's output; Kernel > Interrupt is pressed at the first line that has a text."""

    def __init__(self, text: str) -> None:
        self._text = text

    def write(self, text: str) -> int:
        if self._text and self._text in text:
            self._text = ""
            signal.raise_signal(signal.SIGINT)
        return len(text)

    def flush(self) -> None:
        """Nothing is kept back."""


class TestInterrupts:
    @pytest.fixture(autouse=True)
    def _kernel(self) -> Any:
        """A kernel raises KeyboardInterrupt while no sweep runs."""
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        yield
        signal.signal(signal.SIGINT, before)

    def test_the_state_is_saved_and_the_same_call_continues(
        self, trained: Trained, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setenv("SWEEPS_CACHE", str(trained.folder / "cache"))
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", Interrupting("trial 1 fold 1/2 scored"))
            with pytest.raises(
                KeyboardInterrupt,
                match=r"^sweep 'people' is interrupted, its state is saved; the same call cont",
            ):
                foldsweep.run(trained.space, local=True)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert foldsweep.open("people").trials["state"].to_list() == ["completed", "interrupted"]
        threads = torch.get_num_threads()
        torch.set_num_threads(2)  # of the notebook; a trial has one
        sweep = foldsweep.run(trained.space, local=True, silent=True)
        assert torch.get_num_threads() == 2
        torch.set_num_threads(threads)
        undisturbed = trained.open()
        columns = ["trial", "state", "score", "folds", "lr"]
        assert sweep.trials[columns].equals(undisturbed.trials[columns])
        assert sweep.oof(1).probs_NK.tobytes() == undisturbed.oof(1).probs_NK.tobytes()

    def test_before_the_first_trial_it_is_over_at_once(
        self, untrained: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ):
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", Interrupting("64 images"))
            with pytest.raises(KeyboardInterrupt):
                foldsweep.run(untrained, local=True)
        assert len(foldsweep.run(untrained, trials=1, local=True, silent=True).trials) == 1

    def test_before_a_trial_is_finished_there_is_nothing_to_report(
        self, untrained: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ):
        def trial(assignment: Assignment, reporter: TrialReporter) -> Outcome:
            signal.raise_signal(signal.SIGINT)
            until(reporter.interrupted)
            return Outcome(OutcomeState.INTERRUPTED)

        monkeypatch.setattr(run_local, "__kwdefaults__", {"trial": trial})
        with pytest.raises(KeyboardInterrupt, match="is interrupted"):
            foldsweep.run(untrained, local=True, silent=True)
        with pytest.raises(
            foldsweep.InputError, match=r"^sweep 'people' has no finished trial yet"
        ):
            foldsweep.open("people").report()


def test_it_runs_while_an_event_loop_runs_as_in_a_kernel_and_in_a_thread_without_signals(
    untrained: dict[str, Any],
):
    async def cell() -> foldsweep.Sweep:
        return foldsweep.run(untrained, trials=1, local=True, silent=True)

    assert len(asyncio.run(cell()).trials) == 1
    before = signal.getsignal(signal.SIGINT)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        more = pool.submit(foldsweep.run, untrained, trials=2, local=True, silent=True)
    assert len(more.result().trials) == 2
    assert signal.getsignal(signal.SIGINT) is before
