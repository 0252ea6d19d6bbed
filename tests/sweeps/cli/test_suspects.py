"""`sweeps suspects`."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps.running.messages import Outcome
from sweeps.study.stored_sweep import StoredSweep
from tests.sweeps.cli.conftest import Ended
from trainer.data.data_set import read_data_set
from trainer.data.options import DataOptions

Recorded = Callable[..., StoredSweep]
# fold 0 holds out 00.png first, which both trials call blue
BOTH_WRONG = ([1, 0, 1], [1, 0, 0])
TABLE = """\
curve: 1 of 60 labels in doubt; of these, 0 differ from their group
column  given  proposed  probability  others  image
label   red    blue            0.975       -  line 2: 00.png
"""


def test_labels_that_the_trials_do_not_believe_are_shown(
    sweeps: Callable[..., Ended], recorded: Recorded
):
    recorded(*BOTH_WRONG)
    assert sweeps("suspects") == Ended(0, TABLE, "")
    assert sweeps("suspects", "curve", "--top", "1").out == TABLE


def test_only_the_first_are_shown(sweeps: Callable[..., Ended], recorded: Recorded):
    recorded([2, 0, 0], [2, 0, 0])
    ended = sweeps("suspects", "--top", 1)
    assert ended.out.splitlines()[0] == (
        "curve: 2 of 60 labels in doubt, the first 1 shown; of these, 0 differ from their group"
    )
    assert len(ended.out.splitlines()) == 3


def test_the_written_corrections_can_be_used_as_they_are(
    sweeps: Callable[..., Ended], recorded: Recorded, photos: Path
):
    recorded(*BOTH_WRONG)
    assert sweeps("suspects", "--out", "found/suspects.csv") == Ended(
        0,
        TABLE,
        "found/suspects.csv: proposals for 1 images. Look at each image, delete the rows whose "
        "label was right, write drop as the label of unusable images, then set data.corrections: "
        "found/suspects.csv in a new sweep\n",
    )
    assert Path("found/suspects.csv").read_text() == (
        "path,label,line,group,column,given,proposed,probability,others\n"
        "00.png,blue,2,,label,red,blue,0.975,\n"
    )
    read = read_data_set(
        DataOptions(source=str(photos / "train.csv"), corrections="found/suspects.csv")
    )
    assert read.repairs == {"labels corrected": 1}
    assert read.manifest.classes[read.manifest.labels_N[0]] == "blue"


def test_the_page_shows_the_images(sweeps: Callable[..., Ended], recorded: Recorded):
    recorded(*BOTH_WRONG)
    ended = sweeps("suspects", "--sheet", "pages/suspects.html")
    assert ended == Ended(0, TABLE, "pages/suspects.html: the images, to be opened in a browser\n")
    page = Path("pages/suspects.html").read_text()
    assert "00.png: red → blue?" in page
    assert page.count("<img") == 1


def test_a_sweep_without_doubts_says_so(sweeps: Callable[..., Ended], recorded: Recorded):
    recorded([0, 0, 0])
    line = "curve: 0 of 60 labels in doubt; of these, 0 differ from their group\n"
    assert sweeps("suspects") == Ended(0, line, "")


def test_without_trials_and_groups_there_is_nothing_to_go_by(
    sweeps: Callable[..., Ended], recorded: Recorded
):
    recorded(Outcome("stopped"))
    error = (
        "error: sweep 'curve' has no completed trial, and without groups nothing else shows wrong "
        "labels. `sweeps status` shows how it goes\n"
    )
    assert sweeps("suspects", "--out", "suspects.csv") == Ended(1, "", error)
    assert not Path("suspects.csv").exists()


def test_with_groups_no_trial_is_needed(sweeps: Callable[..., Ended], recorded: Recorded):
    recorded(Outcome("stopped"), settings=("data.group=near_duplicates",))
    assert sweeps("suspects") == Ended(
        0,
        "curve: 0 of 60 labels in doubt; of these, 0 differ from their group\n",
        "note: without a complete trial only differences within groups are shown\n",
    )


def test_a_trial_with_damaged_files_is_left_out_and_named(
    sweeps: Callable[..., Ended], recorded: Recorded
):
    recorded(*BOTH_WRONG, [0, 0, 0])
    path = Path.cwd() / "runs/curve/trial-0002/fold-1/oof.npz"
    path.unlink()
    assert sweeps("suspects") == Ended(
        0,
        TABLE,
        f"note: trial 2 of curve is left out: {path}: missing; the trial's folds are not "
        "complete\n",
    )


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (
            ["--sheet", "suspects.png"],
            "--sheet suspects.png: it is a page for a browser, so its name ends in .html",
        ),
        (["nothing"], "no sweep 'nothing' in this storage. `sweeps list` shows them"),
    ],
)
def test_bad_input_is_one_line(
    sweeps: Callable[..., Ended], recorded: Recorded, arguments: list[str], error: str
):
    recorded([0, 0, 0])
    assert sweeps("suspects", *arguments) == Ended(2, "", f"error: {error}\n")
