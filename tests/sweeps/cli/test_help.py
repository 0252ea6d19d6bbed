"""The help of the command and of its commands, as a terminal of 80 columns shows it."""

import re
import shlex
from collections.abc import Callable

import pytest
import typer.core
import typer.main

from sweeps.cli import COMMANDS, app
from sweeps.cli.groups import EXAMPLES
from tests.sweeps.cli.conftest import Ended

COMMAND = typer.main.get_command(app)
assert isinstance(COMMAND, typer.core.TyperGroup)
NAMES = list(COMMAND.commands)
WIDTH = 80


@pytest.fixture
def lines(
    sweeps: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[str]]:
    """The help of a command."""

    def ask(*command: str) -> list[str]:
        monkeypatch.setenv("COLUMNS", str(WIDTH))
        ended = sweeps(*command, "--help")
        assert (ended.code, ended.err) == (0, "")
        return ended.out.splitlines()

    return ask


def test_the_list_of_commands_has_groups_and_whole_sentences(lines: Callable[..., list[str]]):
    shown = lines()
    assert shown[0] == "Usage: sweeps [OPTIONS] COMMAND [ARGS]..."
    for heading, commands in COMMANDS.items():
        at = shown.index(f"{heading}:") + 1
        for line in shown[at : at + len(commands)]:
            assert re.fullmatch(r"  ([a-z-]+) +[A-Z][^.]*\.", line), line
    listed = [match[1] for line in shown if (match := re.match(r"  ([a-z][a-z-]*)  +", line))]
    assert listed == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_no_line_of_a_help_is_cut_or_too_long(lines: Callable[..., list[str]], name: str):
    shown = lines(name)
    assert shown[0].startswith(f"Usage: sweeps {name} [OPTIONS]")
    for line in shown[1:]:
        assert not line.endswith("..."), line
        assert len(line) <= WIDTH, line


@pytest.mark.parametrize("name", NAMES)
def test_a_help_ends_with_examples_line_by_line(lines: Callable[..., list[str]], name: str):
    shown = lines(name)
    at = shown.index("Examples:")
    assert shown[at + 1 :] == [f"  {example}" for example in EXAMPLES[name]]
    assert 1 <= len(EXAMPLES[name]) <= 3


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_are_lines_that_the_command_takes(name: str):
    """Parsed, not run: options and arguments are known, nothing needed is missing."""
    for example in EXAMPLES[name]:
        program, called, *words = shlex.split(example.partition(" > ")[0])
        assert (program, called) == ("sweeps", name)
        assert isinstance(COMMAND, typer.core.TyperGroup)
        context = COMMAND.commands[called].make_context(called, words)
        assert context.args == []


def test_an_example_with_a_slip_would_be_found():
    assert isinstance(COMMAND, typer.core.TyperGroup)
    for words in (["--out", "x"], ["x", "--outt", "y"], ["x", "y"]):
        with pytest.raises(Exception, match=r"Missing parameter|No such option|unexpected extra"):
            COMMAND.commands["init"].make_context("init", words)


def test_every_command_has_examples_and_no_other_word_has():
    assert set(EXAMPLES) == set(NAMES)
