"""What the files of TensorBoard hold, read record by record."""

from pathlib import Path

from sweeps.paths import SweepFiles
from sweeps.running.events import EndState
from sweeps.tracking.event_file import read_events
from sweeps.tracking.tensorboard import STATE
from tests.sweeps.tracking.told import Shown


def scalars(run: Path, tag: str) -> list[tuple[int, float]]:
    """The steps and values of one diagram, in the order of the file."""
    return [
        (event.step, value.simple_value)
        for event in read_events(run)
        for value in event.summary.value
        if value.tag == tag
    ]


def texts(run: Path, tag: str) -> list[str]:
    """The texts of one tag."""
    return [
        value.tensor.string_val[0].decode()
        for event in read_events(run)
        for value in event.summary.value
        if value.tag == tag
    ]


def in_tensorboard(folder: Path, number: int) -> Shown:
    """What TensorBoard shows of a trial of the sweep in this folder."""
    files = SweepFiles(SweepFiles(folder).tensorboard).trial(number)
    running = scalars(files.directory, "running/f1")
    scores = scalars(files.directory, "valid/f1")
    states = texts(files.directory, STATE)
    assert len(scores) <= 1
    assert len(states) <= 1
    return Shown(
        steps=[step for step, _ in running],
        values=[value for _, value in running],
        fold_epochs=[
            (fold, epoch)
            for fold, directory in enumerate(files.folds())
            for epoch, _ in scalars(directory, "fold/loss")
        ],
        ended=EndState(states[0].partition(":")[0]) if states else None,
        score=scores[0][1] if scores else None,
    )
