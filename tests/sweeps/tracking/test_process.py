"""The tracker process: it tells what comes in, and catches up from the records."""

import concurrent.futures
import dataclasses
import io
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sweeps.errors import TrackerError, TrialRefusedError
from sweeps.running.events import EndState, Event, TrialEnded
from sweeps.running.local import run_local
from sweeps.tracking import choice
from sweeps.tracking.follower import FollowTimes, shown_by
from sweeps.tracking.lines import About, News, news_of
from sweeps.tracking.process import NICE, follow
from sweeps.tracking.reading import Records
from sweeps.tracking.tracker import Command, End, Epoch, NullTracker, Orders, SweepFacts, Trial
from tests.sweeps.tracking.counted import ALL, Reads, counted
from tests.sweeps.tracking.in_tensorboard import in_tensorboard
from tests.sweeps.tracking.simulated import STEPS, SimulatedTrials, TrackedSweep

Make = Callable[..., TrackedSweep]
ROOT = Path(__file__).parents[3]
QUICK = FollowTimes(
    look_soon=0.01, look_again=0.01, look_lost=0.01, ask_every=0.01, retry_after=0.01
)


class Process:
    """The tracker process on a thread of this one, fed line by line."""

    def __init__(self, sweep: TrackedSweep, *trackers: str) -> None:
        self.out = io.StringIO()
        self._lines: queue.Queue[str] = queue.Queue()
        self._lines.put(sweep.start(*trackers).line())
        self._pool = concurrent.futures.ThreadPoolExecutor(1)
        self._code = self._pool.submit(follow, self, self.out, times=QUICK)  # type: ignore[arg-type]

    def readline(self) -> str:
        return self._lines.get(timeout=60)

    def __iter__(self) -> Iterator[str]:
        return iter(self.readline, "")

    def listen(self, event: Event) -> None:
        """What the driver's feed does with an event."""
        news = news_of(event)
        if news is not None:
            self.put(news)

    def put(self, news: News) -> None:
        """What the feed does with news."""
        self._lines.put(news.line())

    def end(self) -> int:
        """End the input; returns the exit code."""
        self._lines.put("")
        with self._pool:
            return self._code.result(timeout=60)


def ended(sweep: TrackedSweep, *trackers: str) -> int:
    """Run the process on what the records hold, and nothing else."""
    return follow(io.StringIO(sweep.start(*trackers).line()), io.StringIO(), times=QUICK)


def test_it_catches_up_from_the_records_alone(tracked: Make):
    sweep = tracked()
    with sweep.driver() as driver:
        run_local(driver, trial=SimulatedTrials())
    for _ in range(2):
        assert ended(sweep, "tensorboard") == 0
    for trial in sweep.stored.trials():
        shown = in_tensorboard(sweep.folder, trial.number)
        assert shown.steps == STEPS
        assert shown.values == pytest.approx(list(trial.intermediate_values.values()))
        assert (shown.ended, shown.score) == (EndState.COMPLETED, pytest.approx(trial.value))


def test_it_shows_an_epoch_before_its_fold_has_finished(
    tracked: Make, monkeypatch: pytest.MonkeyPatch
):
    heard: queue.Queue[tuple[int, Epoch]] = queue.Queue()

    class Hearing(NullTracker):
        def epoch(self, trial: Trial, epoch: Epoch) -> None:
            heard.put((trial.number, epoch))

    monkeypatch.setitem(choice.MAKERS, "tensorboard", lambda facts, tracking: Hearing())
    sweep = tracked("run_cap=1")
    trials = SimulatedTrials()
    process = Process(sweep, "tensorboard")
    told: list[tuple[int, Epoch]] = []

    def before(number: int, fold: int, epoch: int) -> None:
        if (fold, epoch) == (0, 2):
            told.append(heard.get(timeout=60))

    trials.before = before
    with sweep.driver(listener=process.listen) as driver:
        run_local(driver, trial=trials)
    assert process.end() == 0
    ((number, epoch),) = told
    assert (number, epoch.fold, epoch.epoch, epoch.step) == (0, 0, 1, 1)
    assert set(epoch.metrics) == {"f1", "loss", "seconds"}
    assert [epoch.step for _, epoch in list(heard.queue)] == STEPS[1:]


def test_a_trial_begins_with_its_configuration_before_its_first_epoch(
    tracked: Make, monkeypatch: pytest.MonkeyPatch
):
    begun: queue.Queue[Trial] = queue.Queue()

    class Beginning(NullTracker):
        def begin(self, trial: Trial) -> None:
            begun.put(trial)

    monkeypatch.setitem(choice.MAKERS, "tensorboard", lambda facts, tracking: Beginning())
    sweep = tracked("run_cap=1")
    process = Process(sweep, "tensorboard")
    trials = SimulatedTrials()
    seen: list[Trial] = []

    def before(number: int, fold: int, epoch: int) -> None:
        if not seen:
            seen.append(begun.get(timeout=60))

    trials.before = before
    with sweep.driver(listener=process.listen) as driver:
        run_local(driver, trial=trials)
    assert process.end() == 0
    assert seen[0].config["epochs"] == 2
    assert seen[0].params == sweep.trial(0).params


def test_the_storage_is_read_twice_for_a_trial_and_twice_for_the_sweep(
    tracked: Make, monkeypatch: pytest.MonkeyPatch
):
    """When a trial begins and when it ended; and as the process begins and ends."""
    reads = Reads()
    begun, over = (queue.Queue[int]() for _ in range(2))

    class Watched(NullTracker):
        def begin(self, trial: Trial) -> None:
            begun.put(trial.number)

        def end(self, trial: Trial, end: End) -> None:
            over.put(trial.number)

    monkeypatch.setitem(choice.MAKERS, "tensorboard", lambda facts, tracking: Watched())
    monkeypatch.setattr(
        "sweeps.tracking.process.Records",
        lambda sweep, facts: Records(counted(sweep, reads), facts),
    )
    sweep = tracked()
    process = Process(sweep, "tensorboard")
    ends: list[Event] = []

    def listen(event: Event) -> None:
        """The ends come when the recorder has written them: a process that looks too early reads
        again."""
        if isinstance(event, TrialEnded):
            ends.append(event)
        else:
            process.listen(event)

    trials = SimulatedTrials()
    trials.before = lambda number, fold, epoch: (
        begun.get(timeout=60) if (fold, epoch) == (0, 2) else None
    )
    with sweep.driver(listener=listen) as driver:
        run_local(driver, trial=trials)
    for event in ends:
        process.listen(event)
    assert sorted(over.get(timeout=60) for _ in ends) == [0, 1, 2]
    assert process.end() == 0
    assert reads == {ALL: 2, 0: 2, 1: 2, 2: 2}


def test_a_look_at_the_whole_sweep_finds_what_was_lost(
    tracked: Make, monkeypatch: pytest.MonkeyPatch
):
    over: queue.Queue[int] = queue.Queue()
    looked = threading.Event()

    class Watched(NullTracker):
        def orders(self) -> Orders:
            looked.set()  # at the whole sweep, as a process does first
            return Orders()

        def end(self, trial: Trial, end: End) -> None:
            over.put(trial.number)

    monkeypatch.setitem(choice.MAKERS, "tensorboard", lambda facts, tracking: Watched())
    sweep = tracked()
    process = Process(sweep, "tensorboard")
    assert looked.wait(60)
    with sweep.driver() as driver:
        run_local(driver, trial=SimulatedTrials())
    process.put(News(9, About.FOLD, lost=True))
    assert [over.get(timeout=60) for _ in range(3)] == [0, 1, 2]
    assert process.end() == 0


def test_an_unfinished_line_of_a_killed_driver_is_ignored(tracked: Make):
    sweep = tracked()
    lines = sweep.start("tensorboard").line() + News(0, About.STARTED).line() + '{"trial": 1, "ep'
    assert follow(io.StringIO(lines), io.StringIO(), times=QUICK) == 0


def test_without_a_first_line_there_is_nothing_to_do():
    assert follow(io.StringIO(""), io.StringIO()) == 0


def test_a_tracker_that_fails_does_not_keep_the_others_from_showing(
    tracked: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def refuse(facts: SweepFacts, tracking: object) -> NullTracker:
        raise TrackerError("MLflow at http://host: gone")

    monkeypatch.setitem(choice.MAKERS, "mlflow", refuse)
    sweep = tracked("run_cap=1")
    with sweep.driver() as driver:
        run_local(driver, trial=SimulatedTrials())
    assert ended(sweep, "mlflow", "tensorboard") == 1
    assert in_tensorboard(sweep.folder, 0).steps == STEPS
    assert "mlflow: MLflow at http://host: gone" in caplog.text


@pytest.mark.parametrize("error", [TrackerError("gone"), ZeroDivisionError()])
def test_after_an_error_a_new_tracker_is_told_everything(
    tracked: Make, monkeypatch: pytest.MonkeyPatch, error: Exception
):
    """The first one fails at its third epoch."""
    made: list[list[int]] = []
    two = threading.Event()

    class Failing(NullTracker):
        def __init__(self) -> None:
            made.append([])
            if len(made) == 2:
                two.set()

        def epoch(self, trial: Trial, epoch: Epoch) -> None:
            if len(made) == 1 and epoch.step == 3:
                raise error
            made[-1].append(epoch.step)

    monkeypatch.setitem(choice.MAKERS, "tensorboard", lambda facts, tracking: Failing())
    sweep = tracked("run_cap=1")
    with sweep.driver() as driver:
        run_local(driver, trial=SimulatedTrials())
    process = Process(sweep, "tensorboard")
    assert two.wait(60)
    assert process.end() == 0
    assert made == [[1, 2], STEPS]


def test_trials_that_a_program_refuses_are_put_aside_with_a_notice_each(
    tracked: Make, monkeypatch: pytest.MonkeyPatch
):
    """The others are told by new trackers, which need not wait."""
    over: list[int] = []

    class Refusing(NullTracker):
        def epoch(self, trial: Trial, epoch: Epoch) -> None:
            if trial.number in (0, 1) and epoch.step == 3:
                raise TrialRefusedError(f"W&B refuses trial {trial.number}: no", trial=trial.number)

        def end(self, trial: Trial, end: End) -> None:
            over.append(trial.number)

    monkeypatch.setitem(choice.MAKERS, "wandb", lambda facts, tracking: Refusing())
    sweep = tracked()
    with sweep.driver() as driver:
        run_local(driver, trial=SimulatedTrials())
    out = io.StringIO()
    times = dataclasses.replace(QUICK, retry_after=3600)
    assert follow(io.StringIO(sweep.start("wandb").line()), out, times=times) == 1
    assert over == [2]
    then = "The other trials are shown; `sweeps sync curve` tries this one again"
    assert [json.loads(line) for line in out.getvalue().splitlines()] == [
        {"notice": f"W&B refuses trial {number}: no. {then}"} for number in (0, 1)
    ]


def test_a_changed_command_goes_out_once_and_the_first_answer_does_not(
    tracked: Make, monkeypatch: pytest.MonkeyPatch
):
    answers = iter([Orders(Command.DRAIN), Orders(Command.DRAIN), Orders(Command.PAUSE)])
    last = Orders(Command.PAUSE, frozenset({7}))
    asked = threading.Event()

    class Ordering(NullTracker):
        def orders(self) -> Orders:
            answer = next(answers, None)
            if answer is None and asked.is_set():
                again.set()
            if answer is None:
                asked.set()
            return answer or last

    again = threading.Event()
    monkeypatch.setitem(choice.MAKERS, "wandb", lambda facts, tracking: Ordering())
    process = Process(tracked(), "wandb")
    assert again.wait(60)
    process.end()
    assert [json.loads(line) for line in process.out.getvalue().splitlines()] == [
        {"by": "wandb", "command": "pause", "stop": []},
        {"by": "wandb", "command": None, "stop": [7]},
    ]


def test_two_processes_do_not_show_the_same_sweep_at_once(
    tracked: Make, caplog: pytest.LogCaptureFixture
):
    sweep = tracked()
    with shown_by("tensorboard", sweep.facts):
        assert ended(sweep, "tensorboard") == 1
    assert "another process shows this sweep there" in caplog.text
    assert ended(sweep, "tensorboard") == 0


def test_nothing_of_the_sweep_is_written_but_the_files_of_the_tracker(tracked: Make):
    sweep = tracked("run_cap=1")
    with sweep.driver() as driver:
        run_local(driver, trial=SimulatedTrials())
    before = files(sweep.folder)
    ended(sweep, "tensorboard")
    new = {path.parts[0] for path in files(sweep.folder) - before}
    assert new == {"tensorboard", ".tensorboard.lock"}


def test_it_lets_the_trials_go_first():
    """The process and all that it starts."""
    program = (
        "import os, sys; from sweeps.tracking import process; process.follow = lambda *_: "
        "os.getpriority(os.PRIO_PROCESS, 0); sys.exit(process.main())"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False, cwd=ROOT)
    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert done.returncode == min(own + NICE, 19)


def files(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
