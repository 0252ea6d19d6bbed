"""What folds with these curves agree on."""

import pytest

from trainer.config import TrainConfig
from trainer.learning.schedules import lr_at
from trainer.training.agreement import agree


def losses(*values: float) -> list[dict[str, float]]:
    return [{"epoch": epoch, "loss": loss} for epoch, loss in enumerate(values, start=1)]


def gaps(*pairs: tuple[float, float]) -> list[dict[str, float]]:
    """Held-out loss and fitted loss of each epoch."""
    return [{"loss": loss, "fitted_loss": fitted} for loss, fitted in pairs]


# epochs


@pytest.mark.parametrize(
    ("scored", "epochs"), [([4, 9, 5], 5), ([4, 9, 5, 6], 6), ([3], 3), ([10, 10, 10], 10)]
)
def test_the_median_of_the_scored_epochs_is_trained(scored, epochs):
    config = TrainConfig(epochs=10, patience=2)
    assert agree(config, [[]] * len(scored), scored).epochs == epochs


@pytest.mark.parametrize(
    "scheduler", ["none", "step", "multistep", "exponential", "cosine", "one_cycle", "cyclic"]
)
@pytest.mark.parametrize("choice", [{"patience": 2}, {"checkpoint": "best"}, {}])
def test_the_rates_are_those_that_the_folds_planned_also_if_it_ends_before(scheduler, choice):
    config = TrainConfig(
        scheduler=scheduler, epochs=9, warmup_epochs=1, milestones=[3, 5], **choice
    )
    agreed = agree(config, [[]] * 3, scored=[4, 6, 5])
    assert agreed.epochs == 5
    assert (agreed.config.patience, agreed.config.checkpoint) == (0, "last")
    for step in range(5 * 7):
        about = {"step": step, "steps_per_epoch": 7, "curve": []}
        assert lr_at(agreed.config, **about) == lr_at(config, **about)


def test_what_needs_no_score_stays():
    config = TrainConfig(ema=0.9, tta="flip", cutmix=0.5, seed=3, freeze="backbone")
    assert agree(config, [[]], scored=[config.epochs]).config == config


# plateau

PLATEAU = {"scheduler": "plateau", "plateau_patience": 1, "epochs": 8, "lr": 0.1}
# dropping after the epochs 2 and 5; 3; 2 and 4
CURVES = [losses(3, 3, 2, 1, 1, 0), losses(3, 2, 2, 1, 0, -1), losses(3, 3, 2, 2, 1, 0)]


def test_the_rate_drops_after_the_median_epoch_of_the_drops_that_most_folds_had():
    agreed = agree(TrainConfig(**PLATEAU), CURVES, scored=[6, 6, 6])
    assert agreed.epochs == 6
    assert (agreed.config.scheduler, agreed.config.milestones) == ("multistep", [2.0, 5.0])


def test_equal_folds_give_the_rates_that_they_had():
    config = TrainConfig(**PLATEAU, warmup_epochs=1)
    agreed = agree(config, [CURVES[0]] * 3, scored=[6, 6, 6])
    for step in range(6 * 4):
        about = {"step": step, "steps_per_epoch": 4, "curve": CURVES[0]}
        assert lr_at(agreed.config, **about) == pytest.approx(lr_at(config, **about))


def test_drops_after_the_scored_epoch_do_not_count():
    agreed = agree(TrainConfig(**PLATEAU), CURVES, scored=[4, 4, 3])
    assert (agreed.epochs, agreed.config.milestones) == (4, [2.0])


def test_a_drop_that_the_training_would_not_see_is_left_out():
    agreed = agree(TrainConfig(**PLATEAU), [CURVES[0]] * 3, scored=[6, 5, 2])
    assert (agreed.epochs, agreed.config.milestones) == (5, [2.0])


def test_a_drop_below_the_lowest_rate_is_left_out():
    config = TrainConfig(**PLATEAU, min_lr=0.005)
    assert agree(config, CURVES, scored=[6, 6, 6]).config.milestones == [2.0]


def test_folds_that_never_dropped_agree_on_one_rate():
    agreed = agree(TrainConfig(**PLATEAU), [losses(3, 2, 1)] * 3, scored=[3, 3, 3])
    assert agreed.config.scheduler == "none"


# two stages

STAGES = {"scheduler": "two_stage", "epochs": 9, "second_gap": 0.5, "lr": 0.1, "second_lr": 0.01}
# the best epoch is the second, the third is undone
ENDED = gaps((3, 3), (1, 1), (4, 1), (0.9, 0.9), (0.8, 0.8))


def test_undone_epochs_are_not_trained_and_the_second_stage_keeps_its_length():
    agreed = agree(TrainConfig(**STAGES), [ENDED] * 3, scored=[5, 5, 5])
    assert (agreed.epochs, agreed.config.second_epoch, agreed.config.second_gap) == (4, 3, 0.0)
    rates = [lr_at(agreed.config, step=step, steps_per_epoch=1, curve=[]) for step in range(4)]
    assert rates == [0.1, 0.1, 0.01, 0.01]


def test_folds_whose_first_stage_never_ended_have_one_stage():
    agreed = agree(TrainConfig(**STAGES), [gaps((3, 3), (2, 2), (1, 1))] * 3, scored=[3, 3, 3])
    assert (agreed.epochs, agreed.config.scheduler) == (3, "none")


def test_an_epoch_of_the_first_stage_may_score_the_folds():
    config = TrainConfig(**STAGES, checkpoint="fold_best")
    agreed = agree(config, [ENDED] * 3, scored=[3, 2, 2])
    assert (agreed.epochs, agreed.config.scheduler) == (2, "none")


def test_a_second_stage_that_begins_at_its_epoch_stays():
    config = TrainConfig(scheduler="two_stage", epochs=6, second_gap=0, second_epoch=4)
    agreed = agree(config, [losses(*range(6))] * 3, scored=[6, 6, 6])
    assert (agreed.epochs, agreed.config) == (6, config)


def test_the_last_epoch_was_not_undone():
    config = TrainConfig(**{**STAGES, "epochs": 3})
    agreed = agree(config, [ENDED[:3]] * 3, scored=[3, 3, 3])
    assert (agreed.epochs, agreed.config.scheduler) == (3, "none")
