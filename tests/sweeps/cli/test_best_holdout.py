"""The holdout: scored once, and every further look is counted."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.sweeps.cli.conftest import Ended
from tests.sweeps.trained import SPACE, write_people

Call = Callable[..., Ended]


@pytest.fixture(scope="module")
def held_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trained sweep that kept some persons from all folds."""
    from sweeps.space.spec_reader import read_spec
    from sweeps.sweep import RunOptions, run_sweep

    folder = tmp_path_factory.mktemp("holdout")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWEEPS_CACHE", str(folder / "cache"))
        write_people(folder / "photos", persons=20)
        space = SPACE.replace("photos/", f"{folder}/photos/").replace(
            "{k: 2,", "{k: 2, holdout: 0.3,"
        )
        (folder / "people.yaml").write_text(space.replace("[joint, separate]", "[joint]"))
        options = RunOptions(runs=folder / "runs", address=None)
        run_sweep(read_spec(folder / "people.yaml"), options)
    return folder


@pytest.fixture
def runs(held_out: Path, home: Path) -> Path:
    """A copy of its results."""
    return Path(shutil.copytree(held_out / "runs", home / "runs"))


def test_the_first_look_scores_what_ships_and_says_whether_the_promise_held(
    sweeps: Call, runs: Path
):
    ended = sweeps("best", "--holdout")
    assert ended.code == 0, ended.err
    lines = ended.out.partition("holdout    ")[2].splitlines()
    assert re.fullmatch(
        r"valid/f1 of (the ensemble|trial \d) on 24 images of 6 groups: [01]\.\d{4} "
        r"\(standard error 0\.\d{4}\)",
        lines[0],
    )
    assert re.match(r" +the promise (held|did not hold): [01]\.\d{4}, and by chance", lines[1])
    assert len(lines) == 2
    (look,) = json.loads((runs / "people/holdout.json").read_text())
    assert look["images"] == 24
    assert f"{look['score']:.4f}" in lines[0]
    assert not (runs / "people/.holdout.work").exists()


def test_every_further_look_is_counted_and_warned_about(sweeps: Call, runs: Path):
    first = json.loads(sweeps("best", "--holdout", "--json").out)["holdout"]
    again = sweeps("best", "--holdout")
    assert (
        f"look number 2 at this holdout, the first was on {first['when']}: whoever chooses by it "
        "has no holdout any more\n"
    ) in again.out
    looks = json.loads((runs / "people/holdout.json").read_text())
    assert [look["score"] for look in looks] == [first["score"]] * 2
    looks[0]["mixture"] = "another"
    (runs / "people/holdout.json").write_text(json.dumps(looks))
    assert "; 1 other choices were scored on it: whoever" in sweeps("best", "--holdout").out


def test_the_holdout_is_predicted_by_the_average_of_all_fold_models(
    sweeps: Call, runs: Path, held_out: Path
):
    """The same images as a source of `predict` get the same score."""
    look = json.loads(sweeps("best", "--holdout", "--json").out)["holdout"]
    manifest = (runs / "people/manifest.csv").read_text().splitlines()
    header = manifest[0].split(",")
    held = [row for row in (line.split(",") for line in manifest[1:]) if row[3] == "-2"]
    assert header[:4] == ["path", "class", "index", "fold"]
    source = held_out / "photos"
    (source / "held.csv").write_text("file\n" + "".join(f"{row[0]}\n" for row in held))
    assert sweeps("predict", "--source", source / "held.csv", "--out", "sub.csv").code == 0
    Path("truth.csv").write_text("path,class\n" + "".join(f"{row[0]},{row[1]}\n" for row in held))
    scored = sweeps(
        "score", "--predictions", "sub.csv", "--truth", "truth.csv", "--label", "class", "--json"
    )
    assert scored.code == 0, scored.err
    assert json.loads(scored.out)["metrics"]["f1"] == pytest.approx(look["score"], abs=1e-9)


def test_a_sweep_without_a_holdout_and_other_mistakes_are_refused(sweeps: Call, people: Path):
    ended = sweeps("best", "--holdout")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.endswith(
        "error: sweep 'people' has no holdout: no image was kept from all folds. Set "
        "folds.holdout, e.g. to 0.1, in a new sweep\n"
    )
    assert sweeps("best", "--holdout", "--fast") == Ended(
        2, "", "error: --fast chooses nothing, so there is nothing for --holdout to score\n"
    )


def test_a_damaged_record_of_looks_is_named(sweeps: Call, runs: Path):
    (runs / "people/holdout.json").write_text("[{}]")
    ended = sweeps("best", "--holdout")
    assert (ended.code, ended.out) == (2, "")
    assert "holdout.json: damaged" in ended.err
