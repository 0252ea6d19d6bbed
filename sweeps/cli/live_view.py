"""The picture of a running sweep: lines of text that follow from a snapshot and a size.

`sweeps run` and `sweeps status --watch` draw the same picture. It never has more lines than the
terminal, and the line with the time left is always there.
"""

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from sweeps.running.described import counts, format_value
from sweeps.running.events import EndState, Leader, Phase, Running, Snapshot, TrialEnded

WIDE = 100  # columns; narrower pictures leave the parameters out
ROOM = 3  # fewer rows than this are no block


def draw(name: str, snapshot: Snapshot, *, width: int, height: int) -> list[str]:
    """The lines of the picture, at most `height`, none longer than `width`.

    The head is always there. Then come, as far as there is room: the last event, the running
    trials in at most half of the lines, and the best trials.

    Args:
        name: name of the sweep.
    """
    head = [f"{name}   {counts(snapshot)}", _times(snapshot), *_phase(snapshot)]
    last = [] if snapshot.last is None else [_last(*snapshot.last)]
    room = height - len(head) - len(last)
    most = max(0, min(room, max(ROOM, height // 2)))
    running = _running(snapshot, lines=most, width=width)
    best = _best(snapshot.leaders, lines=room - len(running), width=width)
    lines = [*head, *running, *best, *last]
    return [_cut(line, width) for line in lines[: max(1, height)]]


def _times(s: Snapshot) -> str:
    used = max(s.spent_s, s.elapsed_s)
    of = "" if s.hours is None else f" of {_clock(3600 * s.hours)}"
    left = "" if s.eta_s is None else f"   about {_clock(s.eta_s)} left"
    gpus = f"   {s.gpus:g} GPUs in use" if s.gpus else ""
    return f"{_clock(used)}{of} used{left}{gpus}"


def _phase(s: Snapshot) -> list[str]:
    if s.phase is Phase.RUNNING:
        return []
    # a second Ctrl-C kills only while trials save their state after the first one
    kill = " (Ctrl-C again to kill them)" if s.by_user and s.phase is Phase.INTERRUPTING else ""
    return [f"{s.phase.value}{kill}"]


def _running(s: Snapshot, *, lines: int, width: int) -> list[str]:
    if not s.running or lines < ROOM:
        return []
    shown = s.running if len(s.running) < lines else s.running[: lines - 2]
    rows = [["running", "fold", "epoch", "now", "vs best", "left", "parameters"]]
    rows += [_row(running, s.k) for running in shown]
    table = _aligned(rows, width=width)
    more = len(s.running) - len(shown)
    return [*table, f"  + {more} more"] if more else table


def _row(running: Running, k: int) -> list[str]:
    number = str(running.number)
    if running.finishes is not None:
        number += f" (finishes {running.finishes})"
    now = "" if running.value is None else f"{running.value:.4f}"
    return [
        number,
        f"{running.fold + 1}/{k}",
        f"{running.epoch}/{running.epochs}",
        running.doing or now,
        "" if running.versus_best is None else f"{running.versus_best:+.4f}",
        "" if running.left_s is None else _clock(running.left_s),
        _pairs(running.params),
    ]


def _best(leaders: Sequence[Leader], *, lines: int, width: int) -> list[str]:
    if not leaders or lines < 2:
        return []
    rows = [["best", "score", "OOF", "parameters"]]
    for leader in leaders[: lines - 1]:
        std = "" if leader.std is None else f" ± {leader.std:.4f}"
        oof = "-" if leader.oof is None else f"{leader.oof:.4f}"
        rows.append([str(leader.number), f"{leader.score:.4f}{std}", oof, _pairs(leader.params)])
    return _aligned(rows, width=width)


def _last(at: float, event: TrialEnded) -> str:
    time = datetime.datetime.fromtimestamp(at).astimezone()
    score = "" if event.score is None else f" {event.score:.4f}"
    reason = f": {event.reason}" if event.reason else ""
    new_best = " (best so far)" if event.best else ""
    state = "stopped" if event.state == EndState.PRUNED else str(event.state)
    return f"last       {time:%H:%M} trial {event.number} {state}{score}{new_best}{reason}"


def _aligned(rows: Sequence[Sequence[str]], *, width: int) -> list[str]:
    """The rows with equally wide columns; the last column, the parameters, only if it is wide."""
    kept = rows if width >= WIDE else [row[:-1] for row in rows]
    widths = [max(map(len, cells)) for cells in zip(*kept, strict=True)]
    widths[0] = max(widths[0], len("running"))
    return [
        "   ".join(cell.ljust(wide) for cell, wide in zip(row, widths, strict=True)).rstrip()
        for row in kept
    ]


def _pairs(params: Mapping[str, Any]) -> str:
    return "  ".join(f"{name}={format_value(value)}" for name, value in params.items())


def _cut(line: str, width: int) -> str:
    # a reason may contain a line end or a control character
    plain = "".join(letter if letter.isprintable() else " " for letter in line)
    return plain if len(plain) <= width else plain[: width - 1] + "…"


def _clock(seconds: float) -> str:
    return str(datetime.timedelta(seconds=round(seconds)))
