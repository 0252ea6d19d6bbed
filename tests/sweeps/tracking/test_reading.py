"""A running sweep is read as seldom as can be: the storage is the recorder's."""

from collections.abc import Callable

import pytest

from sweeps.running.events import EndState
from sweeps.running.local import run_local
from sweeps.tracking.lines import About, News
from sweeps.tracking.reading import Due, Records
from tests.sweeps.tracking.counted import Reads, counted
from tests.sweeps.tracking.simulated import STEPS, SimulatedTrials, TrackedSweep
from trainer.files import write_json

Make = Callable[..., TrackedSweep]


class TestRecords:
    def test_a_trial_in_progress_is_read_once_when_its_worker_has_begun_it(self, tracked: Make):
        sweep, reads = tracked("run_cap=1"), Reads()
        records = Records(counted(sweep.stored, reads), sweep.facts)
        seen: list[tuple[int, int, int]] = []

        def before(number: int, fold: int, epoch: int) -> None:
            found = records.in_progress(number)
            assert found is not None
            assert found.trial.params == sweep.stored.trials()[number].params
            seen.append((len(found.finished), len(found.epochs), reads[number]))

        trials = SimulatedTrials()
        trials.before = before
        with sweep.driver() as driver:
            run_local(driver, trial=trials)
        assert seen == [(fold, 2 * fold, 1) for fold in range(3) for _ in (1, 2)]

    def test_a_trial_whose_worker_has_not_begun_it_costs_no_read(self, tracked: Make):
        sweep, reads = tracked(), Reads()
        records = Records(counted(sweep.stored, reads), sweep.facts)
        with sweep.driver() as driver:
            assignment = driver.next()
            assert records.in_progress(0) is None
            assert reads == {}
            write_json(assignment.files.config, {"lr": 0.01})  # type: ignore[union-attr]
            assert records.in_progress(0) is not None
            assert reads == {0: 1}

    def test_the_end_counts_when_the_storage_has_it(self, tracked: Make):
        sweep = tracked("run_cap=1")
        records = Records(sweep.stored, sweep.facts)
        trials = SimulatedTrials()
        trials.before = lambda number, *_: seen.append(records.ended(number))
        seen: list[object] = []
        assert records.ended(0) == (False, None)  # the recorder has not stored it yet
        with sweep.driver() as driver:
            run_local(driver, trial=trials)
        assert set(map(str, seen)) == {"(False, None)"}
        stored, found = records.ended(0)
        assert stored
        assert found is not None
        assert found.end is not None
        assert found.end.state is EndState.COMPLETED
        assert [epoch.step for epoch in found.epochs] == STEPS

    def test_a_trial_that_was_not_trained_has_an_end_and_no_records(self, tracked: Make):
        sweep = tracked("run_cap=1")
        with sweep.driver() as driver:
            run_local(driver, trial=SimulatedTrials())
        sweep.stored.add(taken_over(sweep))
        assert Records(sweep.stored, sweep.facts).ended(1) == (True, None)


def taken_over(sweep: TrackedSweep) -> object:
    """A trial that has the result of the first one."""
    (trial,) = sweep.stored.trials()
    trial.user_attrs["taken_from"] = {"sweep": "curve", "trial": 0}
    return trial


class TestDue:
    def due(self, *news: tuple[About, bool]) -> tuple[set[int], set[int], set[int]]:
        due = Due()
        for about, begun in news:
            due.take(News(7, about), begun=begun)
        assert bool(due) == bool(due.starting or due.working or due.ending)
        return due.starting, due.working, due.ending

    def test_an_epoch_of_a_trial_that_is_shown_needs_no_record(self):
        assert self.due((About.EPOCH, True)) == (set(), set(), set())

    @pytest.mark.parametrize("about", [About.STARTED, About.EPOCH])
    def test_a_trial_that_is_not_shown_yet_begins_with_its_record(self, about: About):
        assert self.due((about, False)) == ({7}, set(), set())

    def test_a_trial_that_is_continued_begins_again(self):
        assert self.due((About.STARTED, True)) == ({7}, set(), set())

    def test_a_finished_fold_has_files(self):
        assert self.due((About.FOLD, True)) == (set(), {7}, set())

    def test_the_end_of_a_trial_makes_all_other_looks_needless(self):
        news = [(About.STARTED, False), (About.FOLD, False), (About.ENDED, False)]
        assert self.due(*news) == (set(), set(), {7})

    def test_an_interrupted_trial_that_goes_on_at_once_has_no_end_to_wait_for(self):
        assert self.due((About.ENDED, True), (About.STARTED, True)) == ({7}, set(), set())
