"""Hyperparameters whose default follows from others: epochs, learning rate, optimizer."""

import pytest

from trainer.config import DERIVED, TrainConfig


@pytest.mark.parametrize(
    ("optimizer", "decay"),
    [("adam", 0.0), ("sgd", 0.0), ("radam", 0.0), ("adamw", 0.01), ("lion", 0.01), ("adanw", 0.01)],
)
def test_only_optimizers_that_decouple_it_have_a_weight_decay_by_default(optimizer, decay):
    assert TrainConfig(optimizer=optimizer).used_weight_decay == decay
    assert TrainConfig(optimizer=optimizer, weight_decay=None).used_weight_decay == decay
    assert TrainConfig(optimizer=optimizer, weight_decay=0.5).used_weight_decay == 0.5
    assert TrainConfig(optimizer=optimizer, weight_decay=0).used_weight_decay == 0


@pytest.mark.parametrize(
    ("epochs", "warmup", "step"),
    [
        *((1, 0, 1), (2, 0, 1), (3, 0, 1), (4, 0, 2), (5, 0, 2), (6, 0, 2), (15, 0, 5), (20, 0, 7)),
        *((1, 0.5, 1), (2, 1, 1), (5, 0.5, 2), (5, 2, 3), (5, 4, 4), (10, 5, 7), (20, 1, 8)),
    ],
)
def test_steps_follow_the_epochs_after_the_warm_up(epochs, warmup, step):
    config = TrainConfig(scheduler="step", epochs=epochs, warmup_epochs=warmup)
    assert config.used_step_epochs == step
    assert config.model_copy(update={"step_epochs": 3}).used_step_epochs == 3


@pytest.mark.parametrize(
    ("epochs", "cycle"), [(1, 1), (2, 2), (3, 3), (4, 2), (5, 2.5), (9, 2.25), (20, 2)]
)
def test_cycles_are_whole_in_the_epochs(epochs, cycle):
    config = TrainConfig(scheduler="cyclic", epochs=epochs, lr=0.3)
    assert config.used_cycle_epochs == cycle
    assert config.used_base_lr == pytest.approx(0.003)
    given = TrainConfig(scheduler="cyclic", epochs=epochs, cycle_epochs=0.7, base_lr=1e-5)
    assert (given.used_cycle_epochs, given.used_base_lr) == (0.7, 1e-5)


@pytest.mark.parametrize(("epochs", "factor"), [(1, 0.01), (2, 0.01), (3, 0.1), (21, 0.794328)])
def test_exponential_falls_to_a_hundredth(epochs, factor):
    assert TrainConfig(epochs=epochs).used_epoch_gamma == pytest.approx(factor)
    assert TrainConfig(epochs=epochs, epoch_gamma=0.9).used_epoch_gamma == 0.9


def test_a_settled_configuration_has_each_value_that_is_used():
    settled = TrainConfig(scheduler="cyclic", lr=0.1, epochs=5, step_epochs=3).settled()
    assert {name: getattr(settled, name) for name in DERIVED} == {
        "weight_decay": 0.01,
        "step_epochs": None,
        "epoch_gamma": None,
        "base_lr": pytest.approx(0.001),
        "cycle_epochs": 2.5,
    }
    assert TrainConfig(**settled.model_dump()) == settled == settled.settled()
