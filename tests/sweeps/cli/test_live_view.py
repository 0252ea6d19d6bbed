"""The picture of a running sweep as text, from a snapshot and the size of the terminal."""

import dataclasses
import datetime
from typing import Any

import pytest

from sweeps.cli.live_view import draw
from sweeps.running.events import EndState, Leader, Phase, Running, Snapshot, TrialEnded

AT = datetime.datetime(2026, 11, 28, 17, 41).astimezone().timestamp()
PARAMS = {"backbone": "resnet50", "lr": 0.00031234}
STOPPED = TrialEnded(
    59,
    EndState.PRUNED,
    None,
    "fold race: after fold 2 a 0.1 % chance to beat trial 12",
    best=False,
    seconds=1.0,
)
SNAPSHOT = Snapshot(
    completed=41,
    pruned=17,
    failed=3,
    interrupted=0,
    repeats=0,
    finishes=0,
    running=(
        Running(60, 2, 4, 10, 0.6912, None, PARAMS, -0.018, 64.0),
        Running(61, 0, 0, 10, None, None, {"backbone": "vgg13"}, doing="starting"),
        Running(62, 3, 1, 10, 0.7, 23, PARAMS),
    ),
    cap=300,
    k=5,
    best_score=0.7123,
    best_number=12,
    elapsed_s=600.0,
    eta_s=12_000.0,
    spent_s=7_800.0,
    hours=6.0,
    gpus=2.5,
    leaders=(
        Leader(12, 0.7123, 0.011, 0.7101, PARAMS),
        Leader(3, 0.7098, None, None, {"backbone": "vgg13"}),
    ),
    last=(AT, STOPPED),
)


def drawn(width: int = 120, height: int = 30, **changes: Any) -> list[str]:
    return draw("mask", dataclasses.replace(SNAPSHOT, **changes), width=width, height=height)


def test_all_blocks_on_a_wide_terminal():
    assert drawn() == [
        "mask   41 completed, 17 pruned, 3 running, 3 failed of 300; "
        "best 0.7123 ± 0.0110 (trial 12)",
        "2:10:00 of 6:00:00 used   about 3:20:00 left   2.5 GPUs in use",
        "running            fold   epoch   now        vs best   left      parameters",
        "60                 3/5    4/10    0.6912     -0.0180   0:01:04   "
        "backbone=resnet50  lr=0.000312",
        "61                 1/5    0/10    starting                       backbone=vgg13",
        "62 (finishes 23)   4/5    1/10    0.7000                         "
        "backbone=resnet50  lr=0.000312",
        "best      score             OOF      parameters",
        "12        0.7123 ± 0.0110   0.7101   backbone=resnet50  lr=0.000312",
        "3         0.7098            -        backbone=vgg13",
        "last       17:41 trial 59 stopped: fold race: after fold 2 a 0.1 % chance "
        "to beat trial 12",
    ]


def test_parameters_go_below_100_columns_and_no_line_is_longer_than_the_terminal():
    for width in (99, 80, 40):
        lines = drawn(width=width)
        assert max(map(len, lines)) <= width
        assert not any("backbone" in line for line in lines)
    assert any("backbone=vgg13" in line for line in drawn(width=100))
    assert drawn(width=80)[-1].endswith("…")


@pytest.mark.parametrize("running", [0, 1, 5, 64])
@pytest.mark.parametrize("height", [1, 2, 5, 10, 24, 50])
def test_there_are_never_more_lines_than_the_terminal_has(running: int, height: int):
    many = tuple(Running(number, 0, 1, 10, 0.5, None, PARAMS) for number in range(running))
    for phase in Phase:
        lines = drawn(width=80, height=height, running=many, phase=phase)
        assert len(lines) <= height
        if height >= 2:
            assert lines[1].startswith("2:10:00 of 6:00:00 used   about 3:20:00 left")


def test_64_running_trials_on_24_lines_leave_room_for_the_best_and_the_last_event():
    many = tuple(Running(number, 0, 1, 10, 0.5, None, PARAMS) for number in range(64))
    lines = drawn(width=80, height=24, running=many)
    assert len(lines) <= 24
    assert "  + 54 more" in lines
    assert lines[1].endswith("about 3:20:00 left   2.5 GPUs in use")
    assert any(line.startswith("12        0.7123 ± 0.0110") for line in lines)
    assert lines[-1].startswith("last       17:41 trial 59 stopped")


def test_what_is_not_known_yet_is_left_out():
    nothing = {"completed": 0, "pruned": 0, "failed": 0, "running": (), "cap": None}
    unknown = {"best_score": None, "best_number": None, "eta_s": None, "spent_s": 0.4}
    more = {"leaders": (), "last": None, "hours": None, "gpus": 0.0, "elapsed_s": 0.4}
    assert drawn(**nothing, **unknown, **more) == [
        "mask   0 completed, 0 pruned, 0 running, 0 failed",
        "0:00:00 used",
    ]


def test_trials_that_do_not_count_are_counted_apart():
    line = drawn(width=200, repeats=2, finishes=3, interrupted=1)[0]
    assert line.startswith(
        "mask   41 completed, 17 pruned, 3 running, 3 failed, 1 interrupted of 300 "
        "(2 equal to earlier ones do not count) (3 that finish pruned ones do not count)"
    )


@pytest.mark.parametrize(
    ("phase", "by_user", "said"),
    [
        (Phase.FINISHING, False, "finishing: the last trials run, no more will start"),
        (
            Phase.DRAINING,
            True,
            "stopping as asked: running trials go on to their end, no more will start",
        ),
        (
            Phase.INTERRUPTING,
            False,
            "interrupting: running trials save their state, to be continued",
        ),
        (
            Phase.INTERRUPTING,
            True,
            "interrupting: running trials save their state, to be continued "
            "(Ctrl-C again to kill them)",
        ),
        (Phase.CLOSING, True, "closing: the last results are written to the storage"),
    ],
)
def test_each_closing_says_what_happens_and_only_one_that_ctrl_c_kills(
    phase: Phase, by_user: bool, said: str
):
    assert drawn(phase=phase, by_user=by_user)[2] == said


def test_a_reason_of_several_lines_stays_on_one():
    event = dataclasses.replace(STOPPED, state=EndState.FAILED, reason="a\nb\x1b[2J")
    assert drawn(last=(AT, event))[-1] == "last       17:41 trial 59 failed: a b [2J"
