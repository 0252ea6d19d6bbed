"""A trial that takes its driver or the machine with it: last and alone, then failed."""

from collections.abc import Callable

import pytest
from optuna.trial import TrialState

from sweeps.errors import ClusterLostError
from sweeps.paths import SweepFiles
from sweeps.running.asking import Next
from sweeps.running.attempt import Attempt
from sweeps.running.deaths import Tries, Turn, turn_of, why_over, why_worker_died
from sweeps.running.driver import Driver
from sweeps.running.events import Notice, TrialEnded
from sweeps.running.messages import Assignment, Outcome
from tests.sweeps.running.curve_sweep import Sweep, completed, handed_out
from tests.sweeps.study.waiting import until

MakeSweep = Callable[..., Sweep]


@pytest.mark.parametrize(
    ("in_vain", "retries", "turn"),
    [
        (0, 0, Turn.FIRST),
        (1, 0, Turn.ALONE),  # a power failure is nobody's fault
        (1, 1, Turn.ALONE),
        (1, 2, Turn.FIRST),
        (2, 2, Turn.ALONE),
        (7, 2, Turn.ALONE),  # it has never been alone
    ],
)
def test_a_trial_is_under_suspicion_after_as_many_tries_as_it_has_retries(
    in_vain: int, retries: int, turn: Turn
):
    assert turn_of(Tries(in_vain), retries=retries) is turn


def test_a_trial_that_died_alone_has_had_its_last_try():
    assert turn_of(Tries(1, died_alone=True), retries=5) is Turn.NEVER


@pytest.mark.parametrize(("in_vain", "times"), [(1, "once"), (3, "3 times")])
def test_the_reason_says_what_is_known(in_vain: int, times: str):
    assert why_over(Tries(in_vain, died_alone=True)) == (
        f"the machine, the driver or the worker died {times} while this trial ran, the last time "
        "with nothing beside it, and the trial got no further (out of memory?)"
    )


def began(driver: Driver, curve: Sweep) -> Assignment:
    """The next trial, on its worker."""
    given = handed_out(driver)
    Attempt.begin(
        SweepFiles(curve.folder).trial(given.number), driver=given.driver, alone=given.alone
    )
    return given


def test_a_trial_whose_drivers_die_comes_last_and_alone_and_then_fails(sweep: MakeSweep):
    curve = sweep("run_cap=3")
    for _ in range(2):
        with curve.mortal() as driver:
            assert began(driver, curve).number == 0
    curve.events.clear()
    with curve.mortal() as driver:
        assert curve.told(Notice)[-1].text == (
            "the machine or the driver died repeatedly while these trials ran, so they come last "
            "and one by one: 0"
        )
        assert (driver.snapshot().interrupted, driver._asking.waiting) == (1, 1)
        others = [handed_out(driver), handed_out(driver)]
        assert [(given.number, given.alone) for given in others] == [(1, False), (2, False)]
        driver.finished(1, completed(0.5, 0.5, 0.5))
        assert driver.next() is Next.WAIT  # trial 2 runs
        driver.finished(2, completed(0.5, 0.5, 0.5))
        assert not driver.done
        suspect = began(driver, curve)
        assert (suspect.number, suspect.alone) == (0, True)
        assert driver.next() is Next.WAIT
        until(lambda: curve.trial(2).state == TrialState.COMPLETE)  # before the driver is killed
    curve.events.clear()
    (curve.folder / "trial-0000" / "worker.log").write_text("loading\nallocating 64 GB\n")
    with curve.driver() as driver:
        (ended,) = curve.told(TrialEnded)
        assert (ended.number, ended.state) == (0, "failed")
        assert driver.next() is Next.FINISHED
        assert driver.done
    assert [trial.state.name for trial in curve.stored.trials()] == ["FAIL", "COMPLETE", "COMPLETE"]
    reason = curve.trial(0).user_attrs["reason"]
    assert reason.startswith("the machine, the driver or the worker died 3 times while")
    assert reason.endswith("; last line of worker.log: allocating 64 GB")
    error = curve.folder / "trial-0000" / "error.txt"
    assert error.read_text() == "loading\nallocating 64 GB"


def test_a_suspect_that_ends_well_leaves_the_sweep_as_any_other(sweep: MakeSweep):
    curve = sweep("run_cap=2", "retries=1")
    with curve.mortal() as driver:
        began(driver, curve)
        began(driver, curve)
    with curve.driver() as driver:  # it may have been either of them
        for number in (0, 1):
            given = began(driver, curve)
            assert (given.number, given.alone) == (number, True)
            assert driver.next() is Next.WAIT
            driver.finished(number, completed(0.5, 0.5, 0.5))
        assert driver.next() is Next.FINISHED
    assert [trial.state for trial in curve.stored.trials()] == [TrialState.COMPLETE] * 2


def test_a_suspect_that_another_process_took_over_is_tried_again_alone(sweep: MakeSweep):
    curve = sweep("run_cap=1", "retries=1")
    with curve.mortal() as driver:
        began(driver, curve)
    with curve.driver() as driver:
        handed_out(driver)
        driver.finished(0, Outcome("interrupted"))
        again = handed_out(driver)
        assert (again.number, again.alone) == (0, True)


def test_a_new_checkpoint_clears_a_trial(sweep: MakeSweep):
    curve = sweep()
    for _ in range(4):
        with curve.mortal() as driver:
            given = began(driver, curve)
            assert (given.number, given.alone) == (0, False)
            checkpoint = given.files.fold(0) / "last.ckpt"
            checkpoint.parent.mkdir(exist_ok=True)
            checkpoint.write_text(given.driver)


@pytest.mark.parametrize("how", ["stop", "budget", "killed after the grace", "left"])
def test_interruptions_on_purpose_never_count(sweep: MakeSweep, how: str):
    curve = sweep()
    now = [0.0]
    for hours in (1, 3, 5, 7):
        budget = curve.spec.budget.model_copy(update={"hours": hours})
        curve.spec = curve.spec.model_copy(update={"budget": budget})
        with curve.driver(clock=lambda: now[0]) as driver:
            given = began(driver, curve)
            assert (given.number, given.alone) == (0, False)
            if how == "budget":
                now[0] += 2 * 3600
                driver.tick()
                assert driver.stopping
            else:
                driver.stop()
            if how == "killed after the grace":
                now[0] += 121
                assert driver.leave_behind() == [0]
            elif how != "left":
                driver.finished(0, Outcome("interrupted"))


@pytest.mark.parametrize("how", ["raised", "told"])
def test_what_broke_under_a_trial_counts(sweep: MakeSweep, how: str):
    """A trial may have taken Ray's processes down: then the driver is left to say so."""
    curve = sweep("retries=1")
    error = ClusterLostError("Ray does not answer")

    def lose_the_cluster() -> None:
        with curve.driver() as driver:
            began(driver, curve)
            if how == "raised":
                raise error
            driver.fail(error)
            raise error

    with pytest.raises(ClusterLostError):
        lose_the_cluster()
    with curve.driver() as driver:
        assert handed_out(driver).number == 1


def test_a_worker_that_the_kernel_killed_has_its_reason():
    assert why_worker_died(2, out_of_memory=True) == (
        "its worker process died 2 times (the kernel killed it: out of memory)"
    )
    assert (
        why_worker_died(1, out_of_memory=False) == "its worker process died once (out of memory?)"
    )
