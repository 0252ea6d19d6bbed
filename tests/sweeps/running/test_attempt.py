"""Who may write into a trial's directory."""

from pathlib import Path

import pytest

from sweeps.paths import TrialFiles
from sweeps.running.attempt import Attempt


@pytest.fixture
def directory(tmp_path: Path) -> TrialFiles:
    return TrialFiles(tmp_path / "trial-0000")


def test_the_attempt_that_began_last_owns_the_directory(directory: TrialFiles):
    first = Attempt.begin(directory, driver="d")
    assert first.owns()
    second = Attempt.begin(directory, driver="d")
    assert (first.number, second.number) == (1, 2)
    assert second.owns()
    assert not first.owns()


def test_two_that_read_the_same_number_at_once_are_told_apart(directory: TrialFiles):
    first = Attempt.begin(directory, driver="d")
    same = Attempt(first.path, first.number, "another token", deaths=0)
    assert not same.owns()


def test_a_directory_that_was_taken_away_is_owned_by_nobody(directory: TrialFiles):
    attempt = Attempt.begin(directory, driver="d")
    attempt.path.unlink()
    assert not attempt.owns()
    attempt.end()
    assert not attempt.path.exists()


def test_a_process_that_left_the_trial_without_a_word_has_died(directory: TrialFiles):
    Attempt.begin(directory, driver="d", node="n")
    second = Attempt.begin(directory, driver="d", node="n")
    third = Attempt.begin(directory, driver="d", node="n")
    assert (second.deaths, third.deaths) == (1, 2)


def test_a_process_that_ended_its_attempt_has_not_died(directory: TrialFiles):
    Attempt.begin(directory, driver="d").end()
    assert Attempt.begin(directory, driver="d").deaths == 0


def test_deaths_of_the_same_driver_are_remembered_over_an_attempt_that_ended(directory: TrialFiles):
    Attempt.begin(directory, driver="d")
    Attempt.begin(directory, driver="d").end()
    assert Attempt.begin(directory, driver="d").deaths == 1


def test_the_loss_of_its_node_is_not_held_against_a_trial(directory: TrialFiles):
    Attempt.begin(directory, driver="d", node="lost")
    again = Attempt.begin(directory, driver="d", node="other", is_alive=lambda node: node != "lost")
    assert (again.number, again.deaths) == (2, 0)


def test_what_happened_under_another_driver_is_not_held_against_a_trial(directory: TrialFiles):
    Attempt.begin(directory, driver="killed")
    Attempt.begin(directory, driver="killed")
    assert Attempt.begin(directory, driver="next").deaths == 0


def test_an_earlier_attempt_does_not_end_a_later_one(directory: TrialFiles):
    first = Attempt.begin(directory, driver="d")
    second = Attempt.begin(directory, driver="d")
    first.end()
    assert second.owns()
    assert (
        Attempt.begin(directory, driver="d").deaths == 2
    )  # both processes went without a word, as far as one can see


@pytest.mark.parametrize("content", ["", "{", '{"number": 1}', "[]", "7"])
def test_a_damaged_file_is_as_none(directory: TrialFiles, content: str):
    path = directory.attempt
    path.parent.mkdir()
    path.write_text(content)
    attempt = Attempt.begin(directory, driver="d")
    assert (attempt.number, attempt.deaths) == (1, 0)
    assert attempt.owns()
