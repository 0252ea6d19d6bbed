"""A sweep with a metric and a loss of the user's own, through the real command and a real Ray."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.fakes import write_photos
from tests.integration.conftest import called, command
from trainer.data.fold_files import load_folds
from trainer.training.oof import read_oof

MY_TASK = '''\
"""The right ones count double where they are of the first class."""

import torch


def weighted(probs_NK, labels_N, classes):
    assert classes[0] == "blue / dark"
    right_N = probs_NK.argmax(axis=1) == labels_N
    return float((right_N * (1 + (labels_N == 0))).mean())


def absolute(logits_BK: torch.Tensor, targets_BK: torch.Tensor) -> torch.Tensor:
    return (logits_BK.softmax(dim=1) - targets_BK).abs().sum(dim=1).mean()
'''
SPACE = """\
name: own
method: grid
metric: {name: my_task.py:weighted, goal: maximize}
seed: 3
data: {source: photos/shades.csv, label: [label, shade]}
folds: {k: 2}
resources: {gpu: 0, cpu: 1}
early_terminate: {type: none}
parameters:
  backbone: {value: test_resnet}
  weights: {value: none}
  resize: {value: 16}
  batch_size: {value: 10}
  epochs: {value: 2}
  lr: {value: 0.01}
  heads: {value: separate}
  head_weights.shade: {value: 2.0}
  loss: {values: ['my_task.py:absolute', mixture]}
  loss_mix.focal: {value: 0.6, when: {loss: mixture}}
  loss_mix.soft_f1: {value: 0.4, when: {loss: mixture}}
  flip: {value: 0.5}
  jitter: {value: 0.5}
  cutmix: {value: 0.5}
  ema: {value: 0.9}
  tta: {value: flip}
  checkpoint: {value: best}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of three colours in two shades, a search space, and the user's file beside it."""
    folder = tmp_path_factory.mktemp("own")
    lines = write_photos(folder / "photos").read_text().splitlines()
    shades = [f"{line},{('light', 'dark')[at // 3 % 2]}" for at, line in enumerate(lines[1:])]
    (folder / "photos" / "shades.csv").write_text("\n".join(["path,label,shade", *shades]) + "\n")
    (folder / "spaces").mkdir()
    (folder / "spaces" / "own.yaml").write_text(SPACE)
    (folder / "spaces" / "my_task.py").write_text(MY_TASK)
    return folder


@pytest.fixture(scope="module")
def ended(folder: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWEEPS_CACHE", str(cache))
        return command("run", "spaces/own.yaml", cwd=folder)


def test_the_own_metric_scores_every_trial(folder: Path, ended: subprocess.CompletedProcess[str]):
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("own: 2 completed, 0 pruned, 0 failed\n")
    best = json.loads(called("best", "own", "--json", cwd=folder).stdout)
    assert (best["metric"], best["goal"]) == ("my_task.py:weighted", "maximize")
    assert {trial["params"]["loss"] for trial in best["trials"]} == {
        "my_task.py:absolute",
        "mixture",
    }
    folds = load_folds(folder / "runs" / "own" / "folds.npz")
    assert folds.manifest.classes[0] == "blue / dark"
    labels_N = folds.manifest.labels_N
    for trial in best["trials"]:
        right_N = read_oof(folder / trial["directory"], folds).argmax(axis=1) == labels_N
        worth_N = right_N * (1 + (labels_N == 0))
        assert trial["oof_score"] == pytest.approx(worth_N.mean())
        assert trial["fold_scores"] == pytest.approx(
            [worth_N[folds.valid_rows(fold)].mean() for fold in range(2)]
        )
        assert trial["score"] == pytest.approx(np.mean(trial["fold_scores"]))
        results = [
            json.loads((folder / trial["directory"] / f"fold-{fold}" / "result.json").read_text())
            for fold in range(2)
        ]
        assert [found["metrics"]["metric"] for found in results] == trial["fold_scores"]
        assert results[0]["scored_epoch"] == results[1]["scored_epoch"]


def test_it_goes_on_with_the_same_file_only(folder: Path, ended: subprocess.CompletedProcess[str]):
    file = folder / "spaces" / "my_task.py"
    file.write_text(MY_TASK.replace("1 +", "2 +"))
    changed = called("run", "spaces/own.yaml", cwd=folder)
    assert (changed.returncode, changed.stdout) == (2, "")
    assert "error: my_task.py changed since sweep 'own' began (" in changed.stderr
    assert "Traceback" not in changed.stderr
    file.write_text(MY_TASK)
    again = called("run", "spaces/own.yaml", cwd=folder)
    assert again.returncode == 0, again.stderr  # its grid is done: nothing more is trained
