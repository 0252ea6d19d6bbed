"""The page that explains a sweep."""

import json
import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from optuna.trial import TrialState, create_trial

from sweeps.paths import SweepFiles
from sweeps.running.messages import Outcome
from sweeps.study.records import FOLD_SCORES
from sweeps.study.stored_sweep import StoredSweep
from tests.sweeps.cli.conftest import Ended
from tests.sweeps.cli.test_compare import fill
from tests.sweeps.preparing.test_check_page import Element, Tree
from trainer.config import TrainConfig
from trainer.errors import UnreadableError
from trainer.files import write_json
from trainer.images.cache import open_images

Recorded = Callable[..., StoredSweep]
MIXED = (
    [0, 1, 2],
    [3, 3, 3],
    Outcome("stopped", (0.7,)),
    Outcome("failed", reason="fold 0, epoch 1: the training loss is nan"),
)
ALWAYS = ["takeaways", "best-so-far", "importance", "differences", "leaderboard", "parallel"]


def test_the_page_has_all_sections_and_names_its_file(
    sweeps: Callable[..., Ended], recorded: Recorded, home: Path
):
    fill(recorded(*MIXED))
    ended = sweeps("report")
    assert (ended.code, ended.out) == (0, "runs/curve/report.html\n")
    tree = Tree()
    tree.feed((home / "runs/curve/report.html").read_text())
    assert tree.open == [tree.root]
    sections = tree.root.find("section")
    assert [section.attributes["id"] for section in sections] == [
        *ALWAYS,
        "parameters",
        "folds",
        "cost",
        "classes",
        "errors",
        "endings",
        "spec",
    ]
    texts = {section.attributes["id"]: section.text for section in sections}
    assert "optimizer: adamw is better than sgd by 0.0786" in texts["takeaways"]
    assert "Stopped early" in texts["endings"]
    assert "the training loss is nan" in texts["endings"]
    assert "method: grid" in texts["spec"]
    assert len(sections[10].find("img")) == 3  # trial 0 got three images wrong
    assert len(sections[4].find("tr")) == 12  # a head, and eleven completed trials


@pytest.mark.parametrize("explained", [True, False])
def test_two_numbers_are_mapped_where_parameters_explain_the_scores(
    sweeps: Callable[..., Ended], recorded: Recorded, home: Path, explained: bool
):
    numbers = (
        "method=random",
        "parameters.lr={distribution: log_uniform_values, min: 1e-5, max: 1e-1}",
        "parameters.dropout={min: 0.0, max: 0.5}",
    )
    sweep = recorded(Outcome("failed", reason="out of luck"), settings=numbers)
    rng = np.random.default_rng(0)
    for _ in range(45):
        values = {
            "optimizer": str(rng.choice(["sgd", "adamw", "adam"])),
            "lr": float(10 ** rng.uniform(-5, -1)),
            "dropout": float(rng.uniform(0, 0.5)),
        }
        told = 0.9 + 0.1 * math.log10(values["lr"]) - 0.4 * values["dropout"]
        score = told if explained else rng.normal()
        sweep.add(
            create_trial(
                state=TrialState.COMPLETE,
                value=score,
                params=values,
                distributions=sweep.trials()[0].distributions,
                user_attrs={FOLD_SCORES: [score] * 3},
            )
        )
    assert sweeps("report").code == 0
    tree = Tree()
    tree.feed((home / "runs/curve/report.html").read_text())
    wide = tree.root.find("div", **{"class": "chart card wide"})
    data = json.loads(sweeps("report", "--json").out)["parameters"]["data"]
    if explained:
        assert [chart.find("h3")[0].text for chart in wide] == [
            "lr and dropout: mean valid/f1 of the trials in each cell"
        ]
        assert data["parameters"] == ["lr", "dropout"]
        assert sum(len(cell["trials"]) for cell in data["cells"]) == 45
    else:
        assert (wide, data) == ([], None)


def test_another_name_and_other_forms(sweeps: Callable[..., Ended], recorded: Recorded, home: Path):
    recorded(*MIXED)
    assert sweeps("report", "curve.yaml", "--out", "out/a.html").out == "out/a.html\n"
    assert (home / "out/a.html").stat().st_size > 10_000
    found = json.loads(sweeps("report", "--json").out)
    assert found["sweep"] == "curve"
    assert [row["number"] for row in found["leaderboard"]["data"]["trials"]] == [0, 1]
    assert found["endings"]["data"]["stopped"] == [{"rule": "stopped", "folds": 1, "trials": 1}]
    assert set(ALWAYS) < set(found)
    text = sweeps("report", "--markdown").out
    assert text.startswith("# curve\n")
    assert "| 0 | 0.9500 ± 0.0500 |" in text
    assert not (home / "runs/curve/report.html").exists()


def test_a_sweep_without_a_completed_trial_is_explained_too(
    sweeps: Callable[..., Ended], recorded: Recorded
):
    recorded(*MIXED[2:])
    found = json.loads(sweeps("report", "--json").out)
    assert "leaderboard" not in found
    assert found["takeaways"]["sentences"][0] == (
        "no completed trial has readable predictions, so nothing is chosen"
    )
    assert found["endings"]["data"]["failed"] == {"1": "fold 0, epoch 1: the training loss is nan"}


def test_trials_without_files_leave_out_what_needs_files(
    sweeps: Callable[..., Ended], recorded: Recorded
):
    fill(recorded(Outcome("failed", reason="out of luck")))
    ended = sweeps("report", "--json")
    assert ended.code == 0
    assert "no complete trial has readable files" in ended.err
    found = json.loads(ended.out)
    assert not {"classes", "errors", "cost", "curves"} & set(found)
    assert len(found["differences"]["data"]["pairs"]) == 6
    text = sweeps("report", "--markdown").out
    assert "| trial | valid/f1 ± std | optimizer | lr |" in text  # no column of unknown OOF scores


def test_a_single_trial_is_not_compared(
    sweeps: Callable[..., Ended], recorded: Recorded, home: Path
):
    recorded([0, 1, 2])
    found = json.loads(sweeps("report", "--json").out)
    assert found["leaderboard"]["sentences"] == []
    assert not {"parallel", "parameters"} & set(found)
    assert "**The completed trial**" in sweeps("report", "--markdown").out


def test_a_choice_of_one_value_has_no_chart(
    sweeps: Callable[..., Ended], recorded: Recorded, home: Path
):
    recorded([0, 1, 2], [1, 1, 1], settings=("parameters.optimizer={values: [sgd]}",))
    assert sweeps("report").code == 0
    tree = Tree()
    tree.feed((home / "runs/curve/report.html").read_text())
    (section,) = tree.root.find("section", id="parameters")
    assert [chart.text for chart in section.find("h3")] == ["lr against valid/f1"]


def test_confident_errors_come_from_the_cache_and_are_named_without_it(
    sweeps: Callable[..., Ended], recorded: Recorded, home: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object, **__: object) -> None:
        raise UnreadableError("a file that is not to be decoded")

    recorded([0, 1, 2])
    monkeypatch.setenv("SWEEPS_CACHE", str(home / "cache"))
    monkeypatch.setattr("sweeps.preparing.inspection.decode", refuse)
    assert sweeps("report").code == 0
    assert [figure.find("img") for figure in figures(home)] == [[], [], []]
    config = TrainConfig(resize=16)
    write_json(home / "runs/curve/trial-0000/config.json", config.model_dump(mode="json"))
    manifest = SweepFiles(home / "runs/curve").folds().manifest
    open_images(manifest, config.preprocessing, threads=1)
    assert sweeps("report").code == 0
    assert [len(figure.find("img")) for figure in figures(home)] == [1, 1, 1]
    for figure in figures(home):
        (caption,) = figure.find("figcaption")
        assert caption.attributes["title"] in manifest.paths
        assert re.search(r"\.png(red|green|blue), said (red|green|blue) 100%$", caption.text)


def figures(home: Path) -> list[Element]:
    """The pictures of the report that was written."""
    tree = Tree()
    tree.feed((home / "runs/curve/report.html").read_text())
    return tree.root.find("figure")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--out", "report.pdf"],
            "--out report.pdf: it is a page for a browser, so its name ends in .html",
        ),
        (
            ["--json", "--markdown"],
            "--json and --markdown are two forms of the same report: give one of them",
        ),
        (
            ["--json", "--open"],
            "--json prints the report, so it goes with neither --out nor --open",
        ),
        (
            ["--markdown", "--out", "a.html"],
            "--markdown prints the report, so it goes with neither --out nor --open",
        ),
        (
            ["--out", "folder.html"],
            "--out folder.html: a folder. Give the name of a file, e.g. report.html",
        ),
        (
            ["--out", "file/a.html"],
            "file: cannot be written (File exists). Choose another folder with --out",
        ),
        (
            ["curv"],
            "no sweep 'curv' in this storage. Did you mean 'curve'? `sweeps list` shows them",
        ),
        ([], "sweep 'curve' has no finished trial yet. `sweeps status` shows how it goes"),
    ],
)
def test_what_cannot_be_reported_is_an_error(
    sweeps: Callable[..., Ended], recorded: Recorded, home: Path, arguments: list[str], message: str
):
    recorded(*([[0, 1, 2]] if arguments else []))
    (home / "folder.html").mkdir()
    (home / "file").touch()
    assert sweeps("report", *arguments) == Ended(2, "", f"error: {message}\n")
    assert not (home / "runs/curve/report.html").exists()


def test_open_shows_the_page_in_a_browser(
    sweeps: Callable[..., Ended], recorded: Recorded, monkeypatch: pytest.MonkeyPatch, home: Path
):
    recorded([0, 1, 2])
    shown: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda url: bool(shown.append(url)))
    ended = sweeps("report", "--open")
    assert shown == [(home / "runs/curve/report.html").as_uri()]
    assert ended.err.endswith("note: no browser was found; open runs/curve/report.html\n")
