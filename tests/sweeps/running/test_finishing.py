"""At the end of a sweep, pruned trials that help the ensemble are finished: once, whatever dies."""

import itertools
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import FloatDistribution
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from sweeps.results.view import SweepView
from sweeps.running.asking import Next
from sweeps.running.events import Notice, TrialStarted
from sweeps.running.finishing import (
    all_over,
    chooser,
    may_be_finished,
    most_to_finish,
    nothing_left,
)
from sweeps.running.local import run_local
from sweeps.space.language import read_space
from sweeps.space.spec import SweepSpec
from sweeps.study.records import Finishes, finish_of, finishing, fold_scores
from sweeps.upkeep.retry import add_retry
from tests.sweeps.fabricated import trial
from tests.sweeps.running.curve_sweep import Death, Sweep, completed, handed_out, table
from tests.sweeps.running.paper_trials import (
    TRIALS,
    PaperTrials,
    evaluate_next,
    paper_sweep,
    up_to_the_end,
)
from tests.sweeps.running.test_driver_recovery import Doomed, Killed
from trainer.training.oof import OOF
from trainer.training.result import RESULT, WEIGHTS

COMPLETE = TrialState.COMPLETE
PRUNED = TrialState.PRUNED
CHOSEN = (5, 6, 10)  # of the pruned trials 5, 6, 8, 9, 10 and 11


@pytest.fixture
def ended(tmp_path: Path, sqlite_template: Path) -> Sweep:
    """A sweep whose twelve trials are over, six of them pruned after their first fold."""
    (tmp_path / "runs" / "curve").mkdir(parents=True)
    shutil.copy(sqlite_template, tmp_path / "runs" / "curve" / "sweeps.db")
    curve = paper_sweep(tmp_path / "runs")
    up_to_the_end(curve)
    curve.events.clear()
    return curve


def run(curve: Sweep, trials: PaperTrials | None = None, **options: Any) -> PaperTrials:
    trials = trials or PaperTrials()
    with curve.driver(**options) as driver:
        run_local(driver, trial=trials)
        assert driver.done
    return trials


def finished(curve: Sweep) -> dict[int, int | None]:
    """The number of the pruned trial that each further trial finishes, by number."""
    return {trial.number: finish_of(trial) for trial in curve.stored.trials()[TRIALS:]}


class TestAtTheEnd:
    def test_the_most_helpful_are_finished_as_new_trials_that_take_their_folds_over(
        self, ended: Sweep
    ):
        trials = run(ended)
        assert finished(ended) == dict(zip((12, 13, 14), CHOSEN, strict=True))
        stored = ended.stored.trials()
        for number, of in zip((12, 13, 14), CHOSEN, strict=True):
            new, pruned = stored[number], stored[of]
            assert (new.state, pruned.state) == (COMPLETE, PRUNED)
            assert (new.params, new.distributions) == (pruned.params, pruned.distributions)
            assert fold_scores(new)[:1] == fold_scores(pruned)
            old, taken = (ended.folder / f"trial-{n:04d}" / "fold-0" for n in (of, number))
            assert sorted(path.name for path in taken.iterdir()) == ["curve.csv", OOF, RESULT]
            assert (taken / OOF).samefile(old / OOF)
        # the first folds have no weights any more, and are not trained again
        assert trials.trained == [(number, fold) for number in (12, 13, 14) for fold in (1, 2)]
        assert [event.text for event in ended.told(Notice)] == [
            "looking for what helps the ensemble among 6 pruned trials",
            *(
                f"trial {number} finishes trial {of} (1 of 3 folds taken over): it helps the "
                "ensemble most"
                for number, of in zip((12, 13, 14), CHOSEN, strict=True)
            ),
        ]

    def test_it_is_done_once(self, ended: Sweep):
        run(ended)
        before = table(ended.stored.trials())
        ended.events.clear()
        assert run(ended).trained == []
        assert (table(ended.stored.trials()), ended.events) == (before, [])
        assert ended.stored.record().finishes == Finishes(TRIALS, CHOSEN)

    def test_nothing_is_finished_while_a_trial_runs(self, tmp_path: Path):
        curve = paper_sweep(tmp_path, storage=InMemoryStorage())
        trials = PaperTrials()
        with curve.driver() as driver:
            for _ in range(TRIALS - 2):
                evaluate_next(driver, trials)
            last = [handed_out(driver).number for _ in range(2)]
            assert [driver.next() for _ in range(3)] == [Next.WAIT] * 3
            driver.finished(last[0], completed(0.1, 0.1, 0.1))
            assert driver.next() is Next.WAIT
            assert not driver.done
            assert curve.told(Notice) == []  # nobody looks for anything yet
            driver.finished(last[1], completed(0.1, 0.1, 0.1))
            assert handed_out(driver).without_weights
        assert len(curve.stored.trials()) > TRIALS

    def test_what_the_driver_shows_of_it(self, ended: Sweep):
        now = [0.0]
        with ended.driver(clock=lambda: now[0]) as driver:
            driver._running._pace._durations_s.append(60.0)
            # three at most, while it is not chosen
            assert (driver.snapshot().eta_s, driver.snapshot().finishes) == (180.0, 0)
            given = handed_out(driver)
            shown = driver.snapshot()
            assert (given.number, shown.running[0].finishes) == (12, CHOSEN[0])
            assert (shown.finishes, shown.cap, shown.eta_s) == (3, TRIALS, 180.0)
            evaluate = PaperTrials()
            assert [event.number for event in ended.told(TrialStarted)] == [12]
            driver.finished(12, completed(0.1, 0.2, 0.3))
            evaluate_next(driver, evaluate)
            assert (driver.snapshot().completed, driver.snapshot().pruned) == (8, 6)
            assert driver.snapshot().eta_s == 20.0  # one trial of 60, 0 and 0 seconds

    def test_it_is_never_stopped_again_unless_it_can_have_no_score(self, ended: Sweep):
        trials = PaperTrials()
        trials.bad = 13
        run(ended, trials)
        states = [(trial.number, trial.state) for trial in ended.stored.trials()[TRIALS:]]
        # by its score trial 12 would be stopped by the race, as the trial that it finishes
        assert states == [(12, COMPLETE), (13, PRUNED), (14, COMPLETE)]
        assert ended.trial(13).user_attrs["reason"] == "the score of fold 2 is not a finite number"

    @pytest.mark.parametrize("setting", ["folds.finish=0", "folds.finish=2", "folds.finish=9"])
    def test_the_search_space_says_how_many_and_a_quarter_of_the_trials_is_the_most(
        self, ended: Sweep, setting: str
    ):
        run(ended.grown("method=random", f"run_cap={TRIALS}", OPTIMIZER, setting))
        most = {"0": 0, "2": 2, "9": 3}[setting[-1]]
        assert list(finished(ended).values()) == list(CHOSEN[:most])


OPTIMIZER = "parameters.optimizer={value: adam}"


class TestWhatDies:
    @pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.slow)])
    def test_whenever_the_driver_is_killed_the_table_is_that_of_an_undisturbed_sweep(
        self, tmp_path: Path, every: int
    ):
        whole = paper_sweep(tmp_path / "whole", storage=InMemoryStorage())
        up_to_the_end(whole)
        shutil.copytree(tmp_path / "whole", tmp_path / "start")
        start = whole.stored.trials()
        run(whole)
        wanted = table(whole.stored.trials())
        for writes in itertools.count(step=every):
            runs = tmp_path / f"{writes}"
            shutil.copytree(tmp_path / "start", runs)
            parts = paper_sweep(runs, storage=InMemoryStorage())
            for known in start:
                parts.stored.add(known)
            trials = PaperTrials()
            dead = killed_after(writes, parts, trials)
            run(parts, trials)
            assert table(parts.stored.trials()) == wanted, f"killed after {writes} writes"
            assert len(set(trials.trained)) == len(trials.trained) == 6
            if not dead:
                break
        assert writes >= 20

    def test_a_stop_while_it_chooses_adds_nothing_and_the_next_driver_chooses(self, ended: Sweep):
        for stop in ("stop", "drain"):
            with ended.driver() as driver:
                assert driver.next() is Next.WAIT
                getattr(driver, stop)()
                assert driver.next() is Next.FINISHED
            assert finished(ended) == {}
            assert ended.stored.record().finishes == Finishes()
        run(ended)
        assert list(finished(ended).values()) == list(CHOSEN)

    def test_the_budget_interrupts_it_and_the_next_driver_goes_on_with_it(self, ended: Sweep):
        now = [0.0]
        trials = PaperTrials()

        def spend(number: int, fold: int) -> None:
            now[0] += 3000.0 if (number, fold) == (13, 2) else 0.0

        trials.before_fold = spend
        with ended.driver(clock=lambda: now[0]) as driver:
            driver.spec = driver.spec.model_copy(
                update={"budget": driver.spec.budget.model_copy(update={"hours": 0.5})}
            )
            trials.before_fold = lambda number, fold: (spend(number, fold), driver.tick())[0]
            run_local(driver, trial=trials)
        states = [trial.state for trial in ended.stored.trials()[TRIALS:]]
        assert states == [COMPLETE, TrialState.WAITING, TrialState.WAITING]
        assert ended.told(Notice)[-1].text == "the budget of 0.5 hours is used up"
        ended.events.clear()
        run(ended, trials)
        assert [trial.state for trial in ended.stored.trials()[TRIALS:]] == [COMPLETE] * 3
        assert len(set(trials.trained)) == len(trials.trained) == 6
        assert ended.told(Notice) == []

    def test_a_sweep_without_time_left_finishes_nothing(self, ended: Sweep):
        now = [0.0]
        with ended.driver(clock=lambda: now[0]) as driver:
            driver.stop()
            assert driver.next() is Next.FINISHED
        assert ended.told(Notice) == []

    def test_one_that_fails_is_repeated_by_a_retry_and_not_chosen_again(self, ended: Sweep):
        trials = PaperTrials()
        trials.fail = 13
        run(ended, trials)
        assert ended.trial(13).state == TrialState.FAIL
        assert run(ended).trained == []
        assert add_retry(ended.stored, ended.trial(13)) == 15
        with ended.driver() as driver:
            given = handed_out(driver)
            assert (given.number, given.without_weights) == (15, True)
            assert (
                given.values["seed"]
                == driver._plan.assignment(ended.trial(CHOSEN[1]), driver="").values["seed"]
            )
            driver.finished(15, completed(0.1, 0.2, 0.3))
            assert driver.next() is Next.FINISHED
        assert finished(ended) == {12: 5, 13: 6, 14: 10, 15: 6}

    def test_folds_that_cannot_be_written_end_the_sweep_and_the_next_driver_writes_them(
        self, ended: Sweep, monkeypatch: pytest.MonkeyPatch
    ):
        def full(*_: object, **__: object) -> int:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr("sweeps.running.finishing.take_over_folds", full)
            with ended.driver() as driver:
                while driver.next() is not Next.FINISHED:
                    pass
        assert driver.failure is not None
        assert driver.failure.exit_code == 3
        assert str(driver.failure) == (
            f"{ended.folder}/trial-0012: the finished folds of trial 5 cannot be put there "
            "(No space left on device). Run the same command again to continue"
        )
        assert finished(ended) == {}
        run(ended)
        assert list(finished(ended).values()) == list(CHOSEN)


def killed_after(writes: int, curve: Sweep, trials: PaperTrials) -> bool:
    """Whether the driver died before the end."""
    death = Death(writes)
    with curve.mortal(death) as driver:
        try:
            run_local(Doomed(driver, death), trial=trials)  # type: ignore[arg-type]
        except Killed:
            return True
    return False


class TestWhatIsNotThere:
    def test_without_a_pruned_trial_nothing_is_looked_for(self, tmp_path: Path):
        curve = paper_sweep(tmp_path, storage=InMemoryStorage())
        with curve.driver() as driver:
            for number in range(TRIALS):
                handed_out(driver)
                driver.finished(number, completed(0.5, 0.5, 0.5))
            assert driver.next() is Next.FINISHED
            assert driver.done
        assert curve.told(Notice) == []
        assert curve.stored.record().finishes == Finishes(TRIALS, ())

    def test_if_no_trial_helps_none_is_finished(
        self, ended: Sweep, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr("sweeps.results.runners_up.log_loss_gain", lambda *_: 0.0)
        run(ended)
        assert finished(ended) == {}
        assert ended.told(Notice)[-1].text == (
            "no pruned trial would help the ensemble: none is finished"
        )
        ended.events.clear()
        run(ended)
        assert ended.events == []

    def test_damaged_files_of_a_pruned_trial_leave_it_out(
        self, ended: Sweep, caplog: pytest.LogCaptureFixture
    ):
        path = ended.folder / "trial-0005" / "fold-0" / OOF
        path.write_bytes(b"damaged")
        # and what a killed process left of another trial under this number
        shutil.copytree(
            ended.folder / "trial-0000" / "fold-1", ended.folder / "trial-0006" / "fold-1"
        )
        run(ended)
        assert list(finished(ended).values()) == [10, 11, 8]
        warned = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
        assert warned == [
            f"trial 5 cannot be finished for the ensemble: {path}: not readable out-of-fold "
            "probabilities (File is not a zip file)",
            f"trial 6 cannot be finished for the ensemble: {ended.folder}/trial-0006: 2 folds are "
            "finished, and the storage has the scores of 1",
        ]

    def test_a_choice_that_fails_is_said_and_made_again_by_the_next_driver(self, ended: Sweep):
        folds = ended.folder / "folds.npz"
        folds.rename(ended.folder / "elsewhere.npz")
        run(ended)
        assert finished(ended) == {}
        assert ended.told(Notice)[-1].text == (
            f"no pruned trial is finished for the ensemble: {folds}: no such folds file"
        )
        (ended.folder / "elsewhere.npz").rename(folds)
        run(ended)
        assert list(finished(ended).values()) == list(CHOSEN)

    def test_a_bug_in_the_choice_is_not_waited_for(
        self, ended: Sweep, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr("sweeps.results.runners_up.fit_ensemble", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError), ended.driver() as driver:
            run_local(driver, trial=PaperTrials())


class TestGrowth:
    def test_a_larger_cap_gives_more_trials_and_then_what_they_allow_is_finished(
        self, ended: Sweep
    ):
        run(ended)
        trials = run(ended, trial_cap=TRIALS + 4)
        stored = ended.stored.trials()
        assert [finish_of(trial) for trial in stored[15:19]] == [None] * 4
        assert {number for number, _ in trials.trained} >= {15, 16, 17, 18}
        # a quarter of 16 trials is one more than before
        assert [finish_of(trial) for trial in stored[19:]] == [11]
        assert ended.stored.record().finishes == Finishes(16, (11,))


# --- pure


@pytest.mark.parametrize(
    ("finish", "trials", "finished", "most"),
    [
        (4, 60, 0, 4),
        (4, 60, 4, 4),
        (4, 16, 3, 1),
        (4, 15, 0, 3),
        (4, 3, 0, 0),
        (0, 60, 0, 0),
        (4, 12, 5, 0),
    ],
)
def test_the_most_is_what_the_file_says_or_what_a_quarter_of_the_trials_leaves(
    make_spec: Callable[..., SweepSpec], finish: int, trials: int, finished: int, most: int
) -> None:
    spec = make_spec(folds={"k": 2, "finish": finish})
    assert most_to_finish(spec, trials=trials, finished=finished) == most
    never = make_spec(folds={"k": 2, "finish": finish, "race": False})
    assert most_to_finish(never, trials=trials, finished=finished) == 0


@pytest.mark.parametrize(
    ("known", "finished", "left"),
    [
        (Finishes(), [], True),
        (Finishes(8, (3,)), [3], True),  # chosen when the sweep had fewer trials
        (Finishes(40, ()), [], False),
        (Finishes(40, (3, 7)), [7], True),
        (Finishes(40, (3, 7)), [7, 3, 1], False),
    ],
)
def test_something_is_left_until_all_that_was_chosen_at_the_end_is_finished(
    make_spec: Callable[..., SweepSpec], known: Finishes, finished: list[int], left: bool
) -> None:
    assert nothing_left(make_spec(), known, trials=40, finished=finished) is not left
    none = make_spec(folds={"k": 2, "finish": 0})
    assert nothing_left(none, known, trials=40, finished=finished)


def test_a_stored_sweep_is_over_when_nothing_is_left_to_finish(ended: Sweep) -> None:
    def over(spec: SweepSpec) -> bool:
        return all_over(spec, ended.stored.trials(), ended.stored.record().finishes)

    assert not over(ended.spec)
    assert over(ended.spec.model_copy(update={"folds": no_finish(ended.spec)}))
    run(ended)
    assert over(ended.spec)
    assert not over(ended.spec.model_copy(update={"run_cap": TRIALS + 1}))
    assert not over(ended.spec.model_copy(update={"run_cap": None}))


def no_finish(spec: SweepSpec) -> Any:
    return spec.folds.model_copy(update={"finish": 0})


def pruned(number: int, *scores: float, **params: Any) -> FrozenTrial:
    """A pruned trial with its own parameters, or those given."""
    made = trial(number, PRUNED)
    made.user_attrs["fold_scores"] = list(scores)
    if params:
        made.params = params
        made.distributions = {name: FloatDistribution(0, 1) for name in params}
    return made


def test_what_may_be_finished(make_spec: Callable[..., SweepSpec]) -> None:
    other = pruned(7, 0.3)
    other.user_attrs["taken_from"] = {"sweep": "toy", "trial": 1, "repeats": 1}
    finishes = trial(9, TrialState.FAIL)
    finishes.user_attrs |= finishing(pruned(8, 0.3))
    again = pruned(10, 0.3)
    again.user_attrs |= finishing(pruned(8, 0.3))
    trials = [
        trial(0),
        pruned(1, 0.3),
        pruned(2),  # stopped in its first fold
        pruned(3, 0.3, float("nan")),
        pruned(4, 0.3, lr=1 / 2),  # the point of trial 0
        trial(5, TrialState.FAIL),
        pruned(6, 0.3, 0.4),
        other,  # has the result of trial 1
        pruned(8, 0.3),
        finishes,
        again,
    ]
    space, _ = read_space({"lr": {"min": 0.0, "max": 1.0}})
    spec = make_spec().model_copy(update={"space": space})
    assert numbers(may_be_finished(trials, spec)) == [1, 6]
    best, _ = read_space({"lr": {"min": 0.0, "max": 1.0}, "checkpoint": {"value": "best"}})
    assert may_be_finished(trials, spec.model_copy(update={"space": best})) == []


def numbers(trials: Sequence[FrozenTrial]) -> list[int]:
    return [trial.number for trial in trials]


def test_the_choice_is_that_of_the_stored_sweep(ended: Sweep) -> None:
    trials = ended.stored.trials()
    view = SweepView.read(ended.stored)
    choose = chooser(
        ended.stored, view.record, files=ended.driver().files, goal=ended.spec.metric.goal
    )
    candidates = may_be_finished(trials, ended.spec)
    assert numbers(candidates) == [5, 6, 8, 9, 10, 11]
    for most in (1, 3, 6):
        found = list(choose(trials, candidates, most))
        # trials 8 and 9 make the mistakes that the ensemble makes, so they help least
        assert found == [5, 6, 10, 11, 8, 9][:most]
    assert not list(ended.folder.glob(f"trial-0005/*/{WEIGHTS}"))
