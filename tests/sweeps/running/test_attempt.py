"""Who may write into a trial's directory."""

import json
import os
from pathlib import Path

import pytest

from sweeps.paths import TrialFiles
from sweeps.running.attempt import Attempt, excuse, tries_at
from sweeps.running.deaths import Tries


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
    same = Attempt(first.path, first.number, "another token", deaths=0, tries=Tries())
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


@pytest.mark.parametrize(
    ("before", "after", "node", "out_of_memory"),
    [(3, 4, "n", True), (3, 3, "n", False), (3, 4, "m", False), (None, 4, "n", False),
     (3, None, "n", False)],
)  # fmt: skip
def test_a_process_that_the_kernel_killed_for_lack_of_memory_is_known_as_that(
    directory: TrialFiles, before: int | None, after: int | None, node: str, out_of_memory: bool
):
    Attempt.begin(directory, driver="d", node="n", kernel_kills=lambda: before)
    second = Attempt.begin(directory, driver="d", node=node, kernel_kills=lambda: after)
    assert (second.deaths, second.out_of_memory) == (1, out_of_memory)
    third = Attempt.begin(directory, driver="d", node=node, kernel_kills=lambda: after)
    assert (third.deaths, third.out_of_memory) == (2, out_of_memory)
    other = Attempt.begin(directory, driver="another", node=node, kernel_kills=lambda: after)
    assert not other.out_of_memory


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


class TestTriesInVain:
    def test_are_counted_over_drivers_and_nodes(self, directory: TrialFiles):
        assert tries_at(directory) == Tries()
        for driver, node in (("d", "n"), ("killed", "n"), ("killed too", "lost")):
            Attempt.begin(directory, driver=driver, node=node)
        assert tries_at(directory) == Tries(3)
        last = Attempt.begin(directory, driver="next", is_alive=lambda node: node != "lost")
        assert (last.tries, last.deaths) == (Tries(3), 0)

    @pytest.mark.parametrize("name", ["fold-0/last.ckpt", "fold-1/result.json"])
    def test_a_try_that_got_somewhere_starts_the_count_anew(self, directory: TrialFiles, name: str):
        for _ in range(3):
            Attempt.begin(directory, driver="d", alone=True)
        shown = directory.directory / name
        shown.parent.mkdir()
        shown.touch()
        assert tries_at(directory) == Tries()
        Attempt.begin(directory, driver="d")
        assert tries_at(directory) == Tries(1)
        os.utime(shown, ns=(0, shown.stat().st_mtime_ns + 1))  # written once more
        assert tries_at(directory) == Tries()

    def test_a_checkpoint_that_is_removed_is_no_progress(self, directory: TrialFiles):
        checkpoint = directory.fold(0) / "last.ckpt"
        checkpoint.parent.mkdir(parents=True)
        checkpoint.touch()
        Attempt.begin(directory, driver="d")
        checkpoint.unlink()
        assert tries_at(directory) == Tries(1)

    def test_a_try_that_was_interrupted_changes_nothing(self, directory: TrialFiles):
        Attempt.begin(directory, driver="d")
        Attempt.begin(directory, driver="d", alone=True).end()
        assert tries_at(directory) == Tries(1)

    def test_a_try_that_dies_alone_is_told_from_the_others(self, directory: TrialFiles):
        Attempt.begin(directory, driver="d", alone=True)
        assert tries_at(directory) == Tries(1, died_alone=True)

    @pytest.mark.parametrize(("driver", "counted"), [("d", 0), ("another", 1)])
    def test_a_killed_try_is_excused_by_its_own_driver_only(
        self, directory: TrialFiles, driver: str, counted: int
    ):
        attempt = Attempt.begin(directory, driver="d")
        excuse(directory, driver=driver)
        assert tries_at(directory) == Tries(counted)
        assert attempt.owns()

    def test_a_trial_without_a_try_is_excused_as_well(self, directory: TrialFiles):
        excuse(directory, driver="d")
        assert not directory.attempt.exists()

    def test_what_an_earlier_version_recorded_accuses_nobody(self, directory: TrialFiles):
        attempt = Attempt.begin(directory, driver="d")
        values = json.loads(attempt.path.read_text())
        old = ("number", "token", "driver", "node", "deaths", "ended")
        attempt.path.write_text(json.dumps({key: values[key] for key in old}))
        assert tries_at(directory) == Tries()
        excuse(directory, driver="d")
        assert json.loads(attempt.path.read_text())["ended"] is True
