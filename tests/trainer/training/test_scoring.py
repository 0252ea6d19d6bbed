"""Which epoch scores a fold, and of what its loss and metrics are."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention

from tests.trainer.conftest import Watcher, oof, predicted
from trainer.training import scoring
from trainer.training.inputs import ImageInputs


def test_the_loss_of_the_held_out_fold_is_what_is_minimised(train, tiny, toy, tmp_path):
    labels_N = torch.from_numpy(toy[1].manifest.labels_N[toy[1].valid_rows(0)])
    result = train(tiny(loss="label_smoothing", smoothing=0.3))
    log_probs_NK = torch.from_numpy(oof(tmp_path / "fold-0")).log()
    expected = F.cross_entropy(log_probs_NK, labels_N, label_smoothing=0.3).item()
    assert result.metrics["loss"] == pytest.approx(expected, rel=1e-5)
    assert result.metrics["log_loss"] == pytest.approx(
        F.nll_loss(log_probs_NK, labels_N).item(), rel=1e-5
    )


@pytest.mark.parametrize("tta", ["none", "flip", "flip_crops"])
def test_loss_and_metrics_are_of_the_prediction_over_all_ways_of_looking(train, tiny, tta):
    metrics = train(tiny(tta=tta)).metrics
    assert metrics["loss"] == pytest.approx(metrics["log_loss"], rel=1e-5)


def test_only_an_epoch_that_counts_is_looked_at_in_several_ways(train, tiny, monkeypatch):
    asked = []
    in_order = ImageInputs.in_order
    monkeypatch.setattr(
        ImageInputs,
        "in_order",
        lambda *args, tta, **rest: asked.append(tta) or in_order(*args, tta=tta, **rest),
    )
    cases = [
        ({}, ["none", "none", "flip"]),
        ({"checkpoint": "fold_best"}, ["flip"] * 3),
        ({"checkpoint": "best"}, ["flip"] * 3),
        ({"patience": 9}, ["flip"] * 3),
        ({"scheduler": "plateau"}, ["flip"] * 3),
    ]
    for number, (changes, expected) in enumerate(cases):
        asked.clear()
        train(tiny(tta="flip", **changes), f"{number}")
        assert asked == expected
    asked.clear()
    train(tiny(tta="flip"), "rule", every_epoch=True)
    assert asked == ["flip"] * 3


def test_the_best_epoch_of_the_fold_scores_it(train, tiny, toy, tmp_path, widening):
    widening(1)  # which of the first two is better depends on the processor's last bits
    widening(3)
    config = tiny(checkpoint="fold_best", scheduler="none")
    watcher = Watcher()
    result = train(config, reporter=watcher)
    assert (result.epochs, result.scored_epoch, result.biased) == (3, 2, True)
    assert result.metrics == {name: watcher.reports[1].metrics[name] for name in result.metrics}
    train(tiny(epochs=2, scheduler="none"), "short")
    np.testing.assert_array_equal(oof(tmp_path / "fold-0"), oof(tmp_path / "short"))
    probs_NK = predicted(config, tmp_path / "fold-0", [toy[0]], toy[1])
    np.testing.assert_allclose(oof(tmp_path / "fold-0"), probs_NK, atol=1e-6)


def test_with_early_stopping_the_best_epoch_scores_the_fold(train, tiny, widening):
    for epoch in (1, 3, 4, 5):
        widening(epoch)
    result = train(tiny(patience=2, epochs=9, scheduler="none"))
    assert (result.epochs, result.scored_epoch, result.biased) == (4, 2, True)


def test_the_loss_of_many_images_is_computed_in_chunks(train, tiny, monkeypatch):
    whole = train(tiny(loss="label_smoothing"), "whole").metrics["loss"]
    monkeypatch.setattr(scoring, "CHUNK", 5)  # of 12 held-out images
    chunked = train(tiny(loss="label_smoothing"), "chunked").metrics["loss"]
    assert chunked == pytest.approx(whole, rel=1e-6)


@pytest.mark.parametrize("checkpoint", ["last", "best"])
def test_any_other_way_of_scoring_is_not_biased(train, tiny, checkpoint):
    result = train(tiny(checkpoint=checkpoint, epochs=2))
    assert (result.scored_epoch, result.biased) == (2, False)


@pytest.mark.parametrize(("goal", "best"), [("minimize", 1), ("maximize", 3)])
def test_the_own_metric_chooses_the_epoch_in_its_direction(train, tiny, tmp_path, goal, best):
    (tmp_path / "my_task.py").write_text(
        "calls = []\ndef count(*_):\n    calls.append(1)\n    return len(calls)\n"
    )
    config = tiny(
        metric="my_task.py:count", monitor="metric", metric_goal=goal, checkpoint="fold_best"
    )
    assert train(config, code=tmp_path).scored_epoch == best
