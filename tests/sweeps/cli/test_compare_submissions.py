"""`sweeps compare-submissions`."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps.study.stored_sweep import StoredSweep
from tests.sweeps.cli.conftest import Ended

Recorded = Callable[..., StoredSweep]
HINT = "note: --sweep NAME says how far two public scores must differ to mean anything\n"


def submission(name: str, labels: list[str]) -> str:
    rows = "".join(f"{number:02d},{label}\n" for number, label in enumerate(labels))
    Path(name).write_text(f"id,ans\n{rows}")
    return name


def test_changes_are_shown_by_class(sweeps: Callable[..., Ended]):
    a = submission("a.csv", ["red", "red", "blue", "green"])
    b = submission("b.csv", ["red", "blue", "red", "green"])
    assert sweeps("compare-submissions", a, b) == Ended(
        0,
        "2 of 4 images change (50.0%)\n"
        "images  in a.csv  in b.csv\n"
        "     1  blue      red\n"
        "     1  red       blue\n",
        HINT,
    )
    assert sweeps("compare-submissions", a, a) == Ended(0, "0 of 4 images change (0.0%)\n", HINT)


def test_probabilities_say_which_one_is_probably_better(sweeps: Callable[..., Ended]):
    a = submission("a.csv", ["red"] * 40)
    b = submission("b.csv", ["red", "blue"] * 20)
    rows = "".join(f"{n:02d}.png,{1 - n % 2},{n % 2}\n" for n in range(50))
    Path("p.csv").write_text(f"path,red,blue\n{rows}")
    ended = sweeps("compare-submissions", a, b, "--probabilities", "p.csv")
    assert ended.out.splitlines()[-1] == (
        "expected gain of b.csv in f1: +0.6667; it is better with a chance of 100%, if the "
        "probabilities are right"
    )
    Path("p.csv").write_text("path,red,blue\n00.png,1,0\n")
    assert sweeps("compare-submissions", a, b, "--probabilities", "p.csv") == Ended(
        2,
        "",
        "error: p.csv: 39 of 40 images of a.csv are not in it (01, 02, 03, ...)\n",
    )
    Path("p.csv").write_text("path,red\n" + "".join(f"{n:02d}.png,1\n" for n in range(40)))
    assert sweeps("compare-submissions", a, b, "--probabilities", "p.csv").err == (
        "error: --probabilities p.csv: it has not one column for each of the 2 classes (blue, "
        "red, ...)\n"
    )


def test_a_sweep_gives_names_and_the_noise_of_public_scores(
    sweeps: Callable[..., Ended], recorded: Recorded
):
    recorded([5, 4, 5], [3, 6, 3])
    a = submission("a.csv", ["0"] * 1000)
    b = submission("b.csv", ["green"] * 990 + ["blue"] * 10)
    ended = sweeps("compare-submissions", a, b, "--sweep", "curve", "--public", "0.5")
    lines = ended.out.splitlines()
    assert (ended.code, ended.err) == (0, "")
    assert lines[0] == "990 of 1,000 images change (99.0%)"
    assert lines[2].split() == ["990", "blue", "green"]
    assert re.fullmatch(
        r"a public score of 500 images \(50%\) is within ± 0\.0\d{3} of the f1 on very many "
        r"images, in 95 of 100 cases",
        lines[3],
    )
    assert re.fullmatch(
        r"two public scores of submissions that differ as these do must differ by more than "
        r"0\.\d{4} to mean anything \(measured on the two best trials, which differ in \d+\.\d%\)",
        lines[4],
    )


def test_one_trial_says_nothing_of_differences(sweeps: Callable[..., Ended], recorded: Recorded):
    recorded([5, 4, 5])
    a = submission("a.csv", ["red"] * 100)
    b = submission("b.csv", ["red"] * 90 + ["blue"] * 10)
    lines = sweeps("compare-submissions", a, b, "--sweep", "curve").out.splitlines()
    assert lines[-1].startswith("a public score of 30 images (30%) is within ± 0.")


@pytest.mark.parametrize("public", ["0", "1.5", "-1"])
def test_a_share_is_between_0_and_1(sweeps: Callable[..., Ended], public: str):
    a = submission("a.csv", ["red"])
    assert sweeps("compare-submissions", a, a, "--public", public) == Ended(
        2, "", f"error: --public {public}: a share above 0 and at most 1, e.g. 0.3\n"
    )


def test_other_images_are_refused_and_left_out_with_common(sweeps: Callable[..., Ended]):
    a, b = submission("a.csv", ["red"] * 3), submission("b.csv", ["red"] * 2)
    assert sweeps("compare-submissions", a, b) == Ended(
        2,
        "",
        "error: 1 of 3 images of a.csv are not in b.csv (02). Write --common to use only the "
        "images that both have\n",
    )
    assert sweeps("compare-submissions", a, b, "--common").out == "0 of 2 images change (0.0%)\n"
    assert sweeps("compare-submissions", a, "c.csv").err == (
        "error: c.csv: no such file. Give a CSV or Parquet file\n"
    )


def test_a_sweep_without_trials_has_nothing_to_measure(
    sweeps: Callable[..., Ended], recorded: Recorded
):
    recorded()
    a = submission("a.csv", ["red"])
    assert sweeps("compare-submissions", a, a, "--sweep", "curve") == Ended(
        1,
        "",
        "error: sweep 'curve' has no completed trial yet. `sweeps status` shows how it goes\n",
    )
