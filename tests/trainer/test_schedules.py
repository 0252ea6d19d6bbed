"""Learning rates against torch's schedulers."""

import math
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.config import SchedulerName, TrainConfig
from trainer.schedules import SCHEDULES, lr_at


def rates(config: TrainConfig, steps_per_epoch: int) -> list[float]:
    steps = config.epochs * steps_per_epoch
    return [lr_at(config, step=step, steps_per_epoch=steps_per_epoch) for step in range(steps)]


def stepped(lr: float, count: int, scheduler, *, every: int = 1, **settings) -> list[float]:
    """The rates of `count` optimizer steps with one of torch's schedulers, moved after every `every` steps."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    scheduler = scheduler(optimizer, **settings)
    seen = []
    for step in range(1, count + 1):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step % every == 0:
            scheduler.step()
    return seen


def test_every_name_of_the_configuration_has_a_schedule():
    assert set(SCHEDULES) == set(get_args(SchedulerName))


def test_none_never_moves():
    assert rates(TrainConfig(scheduler="none", lr=0.3, epochs=3), 4) == [0.3] * 12


@pytest.mark.parametrize("steps_per_epoch", [1, 3, 7, 49])
@pytest.mark.parametrize("step_epochs", [1, 2, 3])
def test_step_is_torchs_step_lr_moved_once_per_epoch(steps_per_epoch, step_epochs):
    config = TrainConfig(scheduler="step", lr=0.1, step_epochs=step_epochs, step_gamma=0.3, epochs=8)
    expected = stepped(
        0.1,
        8 * steps_per_epoch,
        torch.optim.lr_scheduler.StepLR,
        every=steps_per_epoch,
        step_size=step_epochs,
        gamma=0.3,
    )
    assert rates(config, steps_per_epoch) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("cycle_epochs", "steps_per_epoch"), [(2.0, 5), (1.0, 6), (0.5, 8), (4.0, 1)])
def test_cyclic_is_torchs_triangular_cyclic_lr_moved_every_step(cycle_epochs, steps_per_epoch):
    config = TrainConfig(scheduler="cyclic", base_lr=1e-4, lr=1e-2, cycle_epochs=cycle_epochs, epochs=7)
    expected = stepped(
        1e-2,
        7 * steps_per_epoch,
        torch.optim.lr_scheduler.CyclicLR,
        base_lr=1e-4,
        max_lr=1e-2,
        step_size_up=cycle_epochs * steps_per_epoch / 2,
        mode="triangular",
        cycle_momentum=False,
    )
    assert rates(config, steps_per_epoch) == pytest.approx(expected, rel=1e-9)


def test_cosine_is_torchs_cosine_annealing_moved_every_step():
    config = TrainConfig(scheduler="cosine", lr=0.2, epochs=4)
    expected = stepped(0.2, 20, torch.optim.lr_scheduler.CosineAnnealingLR, T_max=20)
    assert rates(config, 5) == pytest.approx(expected, rel=1e-9)


def test_cosine_after_a_warm_up_equals_its_closed_form():
    config = TrainConfig(scheduler="cosine", lr=0.2, epochs=4, warmup_epochs=1)
    rise = [0.2 * (step + 1) / 5 for step in range(5)]
    fall = [0.1 * (1 + math.cos(math.pi * step / 15)) for step in range(15)]
    assert rates(config, 5) == pytest.approx(rise + fall, rel=1e-9)


def test_the_first_step_of_a_warm_up_is_not_wasted_on_zero():
    config = TrainConfig(scheduler="cosine", lr=0.2, epochs=2, warmup_epochs=0.01)
    assert lr_at(config, step=0, steps_per_epoch=5) == 0.2
    assert lr_at(config.model_copy(update={"warmup_epochs": 1.5}), step=0, steps_per_epoch=2) == pytest.approx(0.2 / 3)


@given(
    name=st.sampled_from(get_args(SchedulerName)),
    lr=st.floats(1e-6, 10),
    base=st.floats(1e-3, 1),
    epochs=st.integers(1, 30),
    warmup=st.floats(0, 0.99),
    cycle=st.floats(0.1, 50),
    steps_per_epoch=st.integers(1, 1000),
    data=st.data(),
)
def test_a_rate_stays_between_its_bounds(name, lr, base, epochs, warmup, cycle, steps_per_epoch, data):
    config = TrainConfig(
        scheduler=name,
        lr=lr,
        base_lr=max(1e-9, base * lr),
        epochs=epochs,
        warmup_epochs=warmup * epochs,
        cycle_epochs=cycle,
    )
    step = data.draw(st.integers(0, epochs * steps_per_epoch - 1))
    lowest = config.base_lr if name == "cyclic" else 0
    rate = lr_at(config, step=step, steps_per_epoch=steps_per_epoch)
    assert lowest * (1 - 1e-12) <= rate <= lr * (1 + 1e-12)
    assert rate == lr_at(config, step=step, steps_per_epoch=steps_per_epoch)


@given(epochs=st.integers(2, 20), steps_per_epoch=st.integers(1, 50), warmup=st.floats(0, 0.9))
def test_cosine_rises_to_lr_and_never_again(epochs, steps_per_epoch, warmup):
    config = TrainConfig(scheduler="cosine", lr=0.1, epochs=epochs, warmup_epochs=warmup * epochs)
    seen = rates(config, steps_per_epoch)
    top = seen.index(max(seen))
    assert seen[: top + 1] == sorted(seen[: top + 1])
    assert seen[top:] == sorted(seen[top:], reverse=True)
    assert max(seen) <= 0.1
