"""A search space is validated and shown; nothing is started."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.sweeps.cli.conftest import Ended


@pytest.fixture(autouse=True)
def _two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)


def test_space_data_and_folds_are_shown(sweeps: Callable[..., Ended], space: Callable[..., Path]):
    path = space(
        ("method: random", "method: bayes\nproject: mine"),
        ("resize: {value: 16}", 'resize: {values: [16, "24x32"]}'),
        ("  lr:", "  momentum: {min: 0.8, max: 0.95, when: {optimizer: sgd}}\n  lr:"),
        ("batch_size: {value: 10}", "batch_size: {distribution: q_uniform, min: 8, max: 32, q: 8}"),
        (
            "lr: {min: 0.001, max: 0.02}",
            "lr: {distribution: log_uniform_values, min: 1e-5, max: 0.02}",
        ),
    )
    assert sweeps("check", path) == Ended(
        0,
        """\
sweep      tiny: maximize valid/f1, method bayes (tpe)
end        2 trials, 2 folds each, up to 1 epochs a fold
resources  1 CPU and 0 GPU per trial; this machine has 2 CPU
points     a continuous space
  fixed   backbone       test_efficientnet
  fixed   weights        none
  sampled resize         16, 24x32
  sampled batch_size     whole numbers 8 to 32 in steps of 8
  fixed   epochs         1
  sampled optimizer      sgd, adamw
  fixed   scheduler      cosine
  fixed   loss           cross_entropy
  sampled momentum       0.8 to 0.95  when optimizer in sgd
  sampled lr             log scale 1e-05 to 0.02
data       photos/train.csv: 60 images, 3 classes
  decoded at 16: 0.0 MB on disk, once
  decoded at 24x32: 0.1 MB on disk, once
  class                 images  per fold
  blue                      20     10    10
  green                     20     10    10
  red                       20     10    10
""",
        "note: not used here: project\n",
    )
    assert not Path("runs").exists()


def test_a_grid_shows_how_many_points_it_has(sweeps: Callable[..., Ended], space: Callable[..., Path]):
    path = space(
        ("method: random", "method: grid"), ("run_cap: 2\n", ""), ("{min: 0.001, max: 0.02}", "{values: [0.1, 0.2]}")
    )
    lines = sweeps("check", path).out.splitlines()
    assert lines[0] == "sweep      tiny: maximize valid/f1, method grid (grid)"
    assert lines[1] == "end        4 trials, 2 folds each, up to 1 epochs a fold"
    assert lines[3] == "points     4"


def test_hours_can_be_the_end_and_resources_can_be_left_open(sweeps: Callable[..., Ended], space: Callable[..., Path]):
    path = space(("run_cap: 2", "budget: {hours: 6}"), ("gpu: 0", "cpu: 2"))
    lines = sweeps("check", path, "--set", "resources.gpu=0.5").out.splitlines()
    assert lines[1:3] == [
        "end        6.0 hours, 2 folds each, up to 1 epochs a fold",
        "resources  2 CPU and 0.5 GPU per trial; this machine has 2 CPU",
    ]
    lines = sweeps("check", path).out.splitlines()
    assert lines[2] == "resources  2 CPU and one GPU where there is one per trial; this machine has 2 CPU"


def test_both_ends_are_shown(sweeps: Callable[..., Ended], space: Callable[..., Path]):
    line = sweeps("check", space(), "--set", "budget.hours=6").out.splitlines()[1]
    assert "2 trials" in line
    assert "6.0 hours" in line
