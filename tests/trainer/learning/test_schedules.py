"""Learning rates against torch's schedulers and closed forms."""

import itertools
import math
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.config import TrainConfig
from trainer.fields.optimization import SchedulerName
from trainer.learning.schedules import FEEDBACK, SCHEDULES, goes_back, lr_at, second_stage_epoch

NAN = float("nan")
INF = float("inf")
FREE = sorted(set(get_args(SchedulerName)) - FEEDBACK)


def rates(config: TrainConfig, steps_per_epoch: int, curve=()) -> list[float]:
    steps = config.epochs * steps_per_epoch
    return [
        lr_at(config, step=step, steps_per_epoch=steps_per_epoch, curve=curve)
        for step in range(steps)
    ]


def epoch_rates(config: TrainConfig, curve) -> list[float]:
    """The rate of each epoch, and of the one after the curve."""
    return [
        lr_at(config, step=epoch, steps_per_epoch=1, curve=curve) for epoch in range(len(curve) + 1)
    ]


def stepped(lr: float, count: int, scheduler, *, every: int = 1, **settings) -> list[float]:
    """The rates of `count` optimizer steps with one of torch's schedulers,
    moved after every `every` steps.
    """
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    scheduler = scheduler(optimizer, **settings)
    seen = []
    for step in range(1, count + 1):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step % every == 0 and step < count:
            scheduler.step()
    return seen


def losses(*values: float, train: float = 0.0) -> list[dict[str, float]]:
    """A curve with these validation losses."""
    return [
        {"epoch": epoch, "loss": value, "fitted_loss": train}
        for epoch, value in enumerate(values, start=1)
    ]


def test_every_name_of_the_configuration_has_a_schedule():
    assert set(SCHEDULES) == set(get_args(SchedulerName))
    assert set(SCHEDULES) >= FEEDBACK


def test_none_never_moves():
    assert rates(TrainConfig(scheduler="none", lr=0.3, epochs=3), 4) == [0.3] * 12


@pytest.mark.parametrize("steps_per_epoch", [1, 3, 7, 49])
@pytest.mark.parametrize("step_epochs", [1, 2, 3])
def test_step_is_torchs_step_lr_moved_once_per_epoch(steps_per_epoch, step_epochs):
    config = TrainConfig(
        scheduler="step", lr=0.1, step_epochs=step_epochs, step_gamma=0.3, epochs=8
    )
    torchs = torch.optim.lr_scheduler.StepLR
    expected = stepped(
        0.1, 8 * steps_per_epoch, torchs, every=steps_per_epoch, step_size=step_epochs, gamma=0.3
    )
    assert rates(config, steps_per_epoch) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("steps_per_epoch", [1, 3, 49])
@pytest.mark.parametrize("milestones", [[3], [1, 2, 6], [100]])
def test_multistep_is_torchs_multi_step_lr_moved_once_per_epoch(steps_per_epoch, milestones):
    config = TrainConfig(
        scheduler="multistep", lr=0.1, milestones=milestones, step_gamma=0.3, epochs=8
    )
    torchs = torch.optim.lr_scheduler.MultiStepLR
    expected = stepped(
        0.1, 8 * steps_per_epoch, torchs, every=steps_per_epoch, milestones=milestones, gamma=0.3
    )
    assert rates(config, steps_per_epoch) == pytest.approx(expected, rel=1e-9)


def test_a_milestone_may_lie_inside_an_epoch():
    config = TrainConfig(
        scheduler="multistep", lr=1.0, milestones=[0.5, 1.75], step_gamma=0.1, epochs=2
    )
    assert rates(config, 4) == pytest.approx([1, 1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.01])


@pytest.mark.parametrize("steps_per_epoch", [1, 7])
def test_exponential_is_torchs_exponential_lr_moved_once_per_epoch(steps_per_epoch):
    config = TrainConfig(scheduler="exponential", lr=0.1, epoch_gamma=0.8, epochs=8)
    torchs = torch.optim.lr_scheduler.ExponentialLR
    expected = stepped(0.1, 8 * steps_per_epoch, torchs, every=steps_per_epoch, gamma=0.8)
    assert rates(config, steps_per_epoch) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("cycle_epochs", "steps_per_epoch"), [(2.0, 5), (1.0, 6), (0.5, 8), (4.0, 1)]
)
def test_cyclic_is_torchs_triangular_cyclic_lr_moved_every_step(cycle_epochs, steps_per_epoch):
    config = TrainConfig(
        scheduler="cyclic", base_lr=1e-4, lr=1e-2, cycle_epochs=cycle_epochs, epochs=7
    )
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


@pytest.mark.parametrize(
    ("epochs", "steps_per_epoch", "rise"), [(4, 5, 0.3), (3, 1, 0.5), (10, 7, 0.05), (1, 3, 0.9)]
)
def test_one_cycle_is_torchs_one_cycle_lr_moved_every_step(epochs, steps_per_epoch, rise):
    config = TrainConfig(scheduler="one_cycle", lr=0.1, rise=rise, epochs=epochs)
    expected = stepped(
        0.1,
        epochs * steps_per_epoch,
        torch.optim.lr_scheduler.OneCycleLR,
        max_lr=0.1,
        epochs=epochs,
        steps_per_epoch=steps_per_epoch,
        pct_start=rise,
        cycle_momentum=False,
    )
    assert rates(config, steps_per_epoch) == pytest.approx(expected, rel=1e-9)


def test_one_cycle_whose_rise_is_a_single_step_begins_at_the_top():
    """Where torch divides 0 by 0."""
    assert rates(
        TrainConfig(scheduler="one_cycle", lr=0.1, rise=0.5, epochs=1), 2
    ) == pytest.approx([0.1, 4e-7])


@pytest.mark.parametrize("min_lr", [0.0, 0.01])
def test_cosine_is_torchs_cosine_annealing_moved_every_step(min_lr):
    config = TrainConfig(scheduler="cosine", lr=0.2, epochs=4, min_lr=min_lr)
    expected = stepped(
        0.2, 20, torch.optim.lr_scheduler.CosineAnnealingLR, T_max=20, eta_min=min_lr
    )
    assert rates(config, 5) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("restart_epochs", "factor"), [(1, 1), (2, 1), (3, 1), (1, 2), (2, 2), (1, 3)]
)
def test_cosine_with_restarts_is_torchs_moved_every_step(restart_epochs, factor):
    config = TrainConfig(
        scheduler="cosine",
        lr=0.2,
        epochs=15,
        min_lr=0.01,
        restart_epochs=restart_epochs,
        restart_factor=factor,
    )
    expected = stepped(
        0.2,
        15 * 5,
        torch.optim.lr_scheduler.CosineAnnealingWarmRestarts,
        T_0=restart_epochs * 5,
        T_mult=factor,
        eta_min=0.01,
    )
    assert rates(config, 5) == pytest.approx(expected, rel=1e-9)


def test_cycles_of_fractions_of_an_epoch_follow_the_warm_up():
    config = TrainConfig(
        scheduler="cosine",
        lr=1.0,
        epochs=4,
        warmup_epochs=0.5,
        restart_epochs=1.0,
        restart_factor=1.5,
    )
    seen = rates(config, 10)
    assert seen[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert [step for step in range(5, 40) if seen[step] == pytest.approx(1.0)] == [
        5,
        15,
        30,
    ]  # 1, 1.5, 2.25 epochs


@pytest.mark.parametrize("factor", [1.0, 1.0 + 1e-12])
def test_a_restart_is_met_in_spite_of_rounding(factor):
    """3 / 10 / 0.1 is a little less than 3: the end
    of a cycle would be a step at min_lr instead of lr.
    """
    config = TrainConfig(
        scheduler="cosine", lr=0.2, epochs=3, restart_epochs=0.1, restart_factor=factor
    )
    assert rates(config, 10) == pytest.approx([0.2] * 30)


def test_cosine_after_a_warm_up_equals_its_closed_form():
    config = TrainConfig(scheduler="cosine", lr=0.2, epochs=4, warmup_epochs=1)
    rise = [0.2 * (step + 1) / 5 for step in range(5)]
    fall = [0.1 * (1 + math.cos(math.pi * step / 15)) for step in range(15)]
    assert rates(config, 5) == pytest.approx(rise + fall, rel=1e-9)


@pytest.mark.parametrize(
    "name", ["none", "step", "multistep", "exponential", "cosine", "plateau", "two_stage"]
)
def test_a_warm_up_is_torchs_linear_lr_times_the_schedule(name):
    config = TrainConfig(
        scheduler=name, lr=0.2, epochs=6, warmup_epochs=2, milestones=[1], step_epochs=1
    )
    fields = {"warmup_epochs": 0} if name != "cosine" else {"scheduler": "none", "warmup_epochs": 0}
    without = rates(config.model_copy(update=fields), 5, losses(1, 1, 1, 1, 1, 1))
    factors = stepped(1.0, 10, torch.optim.lr_scheduler.LinearLR, start_factor=0.1, total_iters=9)
    expected = [rate * factor for rate, factor in zip(without[:10], factors, strict=True)]
    assert rates(config, 5, losses(1, 1, 1, 1, 1, 1))[:10] == pytest.approx(expected)


@pytest.mark.parametrize("name", ["cyclic", "one_cycle"])
def test_what_rises_by_itself_has_no_warm_up(name):
    config = TrainConfig(scheduler=name, epochs=6)
    assert rates(config.model_copy(update={"warmup_epochs": 3.0}), 4) == rates(config, 4)


@pytest.mark.parametrize("name", ["step", "exponential", "cosine", "one_cycle", "cyclic"])
@pytest.mark.parametrize("epochs", [2, 3, 5, 6, 7, 20, 100])
@pytest.mark.parametrize("warmup", [0, 0.5, 1, 1.5])
def test_by_default_a_rate_reaches_lr_and_ends_low(name, epochs, warmup):
    config = TrainConfig(scheduler=name, lr=0.1, epochs=epochs, warmup_epochs=warmup)
    seen = rates(config, 50)
    assert seen[-1] <= 0.0105
    highest = 0.1
    if name == "step" and warmup > epochs - 1:  # the only drop comes before the end of the warm-up
        return
    if name == "exponential":  # it falls while it warms up
        highest *= config.used_epoch_gamma ** math.ceil(warmup)
    assert max(seen) >= 0.96 * highest


@pytest.mark.parametrize("lr", [1e-6, 1e-3, 1.0])
def test_cyclic_moves_by_default_whatever_the_rate(lr):
    config = TrainConfig(scheduler="cyclic", lr=lr, epochs=5)
    seen = rates(config, 20)
    assert min(seen) == pytest.approx(lr / 100)
    assert max(seen) == pytest.approx(lr)


def test_the_first_step_of_a_warm_up_is_not_wasted_on_zero():
    config = TrainConfig(scheduler="cosine", lr=0.2, epochs=2, warmup_epochs=0.01)
    assert lr_at(config, step=0, steps_per_epoch=5, curve=()) == 0.2
    longer = config.model_copy(update={"warmup_epochs": 1.5})
    assert lr_at(longer, step=0, steps_per_epoch=2, curve=()) == pytest.approx(0.2 / 3)


@given(
    name=st.sampled_from(get_args(SchedulerName)),
    lr=st.floats(1e-6, 10),
    base=st.floats(1e-3, 1),
    epochs=st.integers(1, 30),
    warmup=st.floats(0, 0.99),
    cycle=st.floats(0.1, 50),
    factor=st.floats(1, 100),
    rise=st.floats(0.01, 0.99),
    steps_per_epoch=st.integers(1, 1000),
    data=st.data(),
)
def test_a_rate_stays_between_its_bounds(
    name, lr, base, epochs, warmup, cycle, factor, rise, steps_per_epoch, data
):
    config = TrainConfig(
        scheduler=name,
        lr=lr,
        base_lr=max(1e-9, base * lr),
        min_lr=base * lr,
        second_lr=max(1e-9, base * lr),
        epochs=epochs,
        warmup_epochs=warmup * epochs,
        cycle_epochs=cycle,
        restart_epochs=cycle,
        restart_factor=factor,
        rise=rise,
        milestones=[epochs / 2],
    )
    step = data.draw(st.integers(0, epochs * steps_per_epoch - 1))
    curve = losses(*data.draw(st.lists(st.floats(), min_size=epochs, max_size=epochs)))
    rate = lr_at(config, step=step, steps_per_epoch=steps_per_epoch, curve=curve)
    bounded = (
        name in ("cyclic", "cosine", "plateau") and step >= config.warmup_epochs * steps_per_epoch
    )
    assert (base * lr if bounded else 0) * (1 - 1e-9) <= rate <= lr * (1 + 1e-12)
    assert rate == lr_at(config, step=step, steps_per_epoch=steps_per_epoch, curve=curve)


@given(
    name=st.sampled_from(FREE),
    epochs=st.integers(1, 5),
    steps_per_epoch=st.integers(1, 20),
    curve=st.lists(st.floats(), max_size=5),
)
def test_without_feedback_the_curve_does_not_matter(name, epochs, steps_per_epoch, curve):
    config = TrainConfig(scheduler=name, epochs=epochs, milestones=[1])
    assert rates(config, steps_per_epoch, losses(*curve)) == rates(config, steps_per_epoch)


@given(name=st.sampled_from(sorted(FEEDBACK)), values=st.lists(st.floats(), min_size=6, max_size=6))
def test_feedback_comes_from_finished_epochs_only(name, values):
    config = TrainConfig(scheduler=name, epochs=6, plateau_patience=1)
    for epoch in range(6):
        seen = [
            lr_at(config, step=3 * epoch + 2, steps_per_epoch=3, curve=losses(*curve))
            for curve in (values, values[:epoch])
        ]
        assert seen[0] == seen[1]


@given(epochs=st.integers(2, 20), steps_per_epoch=st.integers(1, 50), warmup=st.floats(0, 0.9))
def test_cosine_rises_to_lr_and_never_again(epochs, steps_per_epoch, warmup):
    config = TrainConfig(scheduler="cosine", lr=0.1, epochs=epochs, warmup_epochs=warmup * epochs)
    seen = rates(config, steps_per_epoch)
    top = seen.index(max(seen))
    assert seen[: top + 1] == sorted(seen[: top + 1])
    assert seen[top:] == sorted(seen[top:], reverse=True)
    assert max(seen) <= 0.1


@given(
    cycle=st.integers(1, 5),
    factor=st.integers(1, 4),
    steps_per_epoch=st.integers(1, 300),
    warmup=st.integers(0, 3),
)
def test_each_restart_is_at_lr_and_each_cycle_falls(cycle, factor, steps_per_epoch, warmup):
    config = TrainConfig(
        scheduler="cosine",
        lr=0.1,
        epochs=30,
        warmup_epochs=warmup,
        restart_epochs=cycle,
        restart_factor=factor,
    )
    begin = warmup
    length = cycle
    while begin < 30:
        steps = range(begin * steps_per_epoch, min(30, begin + length) * steps_per_epoch)
        seen = [
            lr_at(config, step=step, steps_per_epoch=steps_per_epoch, curve=()) for step in steps
        ]
        assert seen[0] == pytest.approx(0.1)
        assert seen == sorted(seen, reverse=True)
        begin, length = begin + length, length * factor


@given(
    name=st.sampled_from(["cosine", "cyclic", "one_cycle"]),
    epochs=st.integers(1, 10),
    lr=st.floats(1e-3, 1),
)
def test_smooth_schedules_never_jump(name, epochs, lr):
    config = TrainConfig(scheduler=name, lr=lr, base_lr=1e-4, epochs=epochs, cycle_epochs=epochs)
    seen = rates(config, 200)
    assert max(abs(a - b) for a, b in itertools.pairwise(seen)) < 0.05 * lr


def plateau(lr: float, values: list[float], **settings) -> list[float]:
    """The rate of each epoch with torch's own, and of the one after."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, threshold_mode="abs", eps=0, **settings
    )
    seen = [lr]
    for value in values:
        scheduler.step(value)
        seen.append(optimizer.param_groups[0]["lr"])
    return seen


@given(
    values=st.lists(
        st.one_of(st.integers(0, 4).map(float), st.just(NAN), st.just(INF)), max_size=15
    ),
    patience=st.integers(1, 4),
    min_delta=st.sampled_from([0.0, 1.0]),
    min_lr=st.sampled_from([0.0, 0.02]),
)
def test_plateau_is_torchs_whose_patience_is_one_less(values, patience, min_delta, min_lr):
    config = TrainConfig(
        scheduler="plateau",
        lr=0.1,
        step_gamma=0.3,
        plateau_patience=patience,
        min_delta=min_delta,
        min_lr=min_lr,
    )
    settings = {"factor": 0.3, "patience": patience - 1, "threshold": min_delta, "min_lr": min_lr}
    assert epoch_rates(config, losses(*values)) == pytest.approx(plateau(0.1, values, **settings))


@pytest.mark.parametrize(
    ("monitor", "goal", "better"),
    [
        ("loss", "maximize", -1),
        ("f1", "minimize", 1),
        ("metric", "maximize", 1),
        ("metric", "minimize", -1),
    ],
)
def test_plateau_knows_the_direction_of_what_it_watches(monitor, goal, better):
    config = TrainConfig(
        scheduler="plateau",
        lr=0.1,
        plateau_patience=1,
        monitor=monitor,
        metric="a.py:b",
        metric_goal=goal,
    )
    rising = [{"epoch": epoch, monitor: better * epoch} for epoch in range(1, 5)]
    falling = [{"epoch": epoch, monitor: -better * epoch} for epoch in range(1, 5)]
    assert epoch_rates(config, rising) == [0.1] * 5
    assert epoch_rates(config, falling) == pytest.approx([0.1, 0.1, 0.01, 1e-3, 1e-4])


def two_stage(**fields) -> TrainConfig:
    return TrainConfig(
        **{"scheduler": "two_stage", "lr": 0.1, "second_lr": 0.001, "epochs": 20, **fields}
    )


def rows(*pairs: tuple[float, float]) -> list[dict[str, float]]:
    """A curve with these losses: validation, training images."""
    return [{"loss": loss, "fitted_loss": fitted} for loss, fitted in pairs]


@pytest.mark.parametrize(
    ("values", "begin", "back"),
    [
        ([], None, False),
        ([5.0], None, False),  # the first epoch has nothing to compare with
        ([0.5, 0.3, 0.4], None, False),  # within the bound
        ([0.5, 0.25, 0.5], None, False),  # exactly the bound
        ([0.5, 0.25, 0.75], 4, True),
        ([0.5, 0.25, 0.375, 0.5, 0.625], 6, True),  # against the smallest, not the last
        ([0.5, 0.25, 0.75, 0.1], 4, False),  # it went back before
        ([0.5, 0.25, 0.75, 0.1, 9.0], 4, False),  # once in the second stage, never again
        ([0.5, INF], 3, True),
    ],
)
def test_a_gap_that_widens_while_the_loss_rises_ends_the_first_stage(values, begin, back):
    config = two_stage(second_gap=0.25)
    assert second_stage_epoch(config, losses(*values)) == begin
    assert goes_back(config, losses(*values)) is back
    first = [0.1] * (len(values) + 1) if begin is None else [0.1] * (begin - 1)
    assert epoch_rates(config, losses(*values)) == first + [0.001] * (len(values) + 1 - len(first))


def test_a_gap_that_widens_while_the_loss_falls_is_learning():
    falling = rows((1.0, 0.9), (0.9, 0.5), (0.8, 0.2), (0.79, 0.0))
    assert second_stage_epoch(two_stage(second_gap=0.05), falling) is None
    assert goes_back(two_stage(second_gap=0.05), [*falling, *rows((0.8, 0.0))])


def test_a_loss_that_rises_without_a_wider_gap_is_noise():
    assert second_stage_epoch(two_stage(second_gap=0.25), rows((0.5, 0.4), (2.0, 1.9))) is None


def test_the_gap_is_validation_minus_training_loss():
    curve = rows((1.0, 0.9), (1.1, 0.7))
    assert goes_back(two_stage(second_gap=0.25), curve)
    assert not goes_back(two_stage(second_gap=0.35), curve)


@pytest.mark.parametrize(
    ("values", "begin"),
    [
        ([0.5, 9.0], None),
        ([0.5, 9.0, 9.0], 4),
        ([0.5, 9.0, 0.5, 9.0], None),  # not in a row
        ([0.5, 9.0, 0.5, 9.0, 9.0], 6),
    ],
)
def test_as_many_epochs_in_a_row_as_told_must_overfit(values, begin):
    config = two_stage(second_gap=0.25, second_patience=2)
    assert second_stage_epoch(config, losses(*values)) == begin


@pytest.mark.parametrize(("warmup", "begin"), [(0.0, 3), (1.0, 3), (1.5, 4), (2.0, 4)])
def test_epochs_of_the_warm_up_end_nothing(warmup, begin):
    config = two_stage(second_gap=0.25, warmup_epochs=warmup)
    assert second_stage_epoch(config, losses(0.5, 9.0, 9.0)) == begin


@pytest.mark.parametrize(
    ("values", "begin", "back"),
    [
        ([], 3, False),
        ([0.5, 0.5, 9.0], 3, False),  # the second stage has begun without going back
        ([0.5, 9.0], 3, True),  # both at once: the gap decides where it starts from
        ([0.5, 9.0, 0.5, 0.5], 3, False),
    ],
)
def test_the_second_stage_begins_at_its_epoch_at_the_latest(values, begin, back):
    config = two_stage(second_gap=0.25, second_epoch=3)
    assert second_stage_epoch(config, losses(*values)) == begin
    assert goes_back(config, losses(*values)) is back


def test_without_a_gap_only_the_epoch_decides():
    config = two_stage(second_gap=0.0, second_epoch=3)
    curve = losses(0.1, NAN, 9.0)
    assert second_stage_epoch(config, curve) == 3
    assert not any(goes_back(config, curve[:epoch]) for epoch in range(4))
    assert epoch_rates(config, curve) == [0.1, 0.1, 0.001, 0.001]


@given(values=st.lists(st.floats(0, 10), min_size=1, max_size=20), epoch=st.integers(0, 8))
def test_it_goes_back_at_most_once_and_never_returns_to_the_first_stage(values, epoch):
    config = two_stage(second_gap=0.5, second_epoch=epoch)
    curve = losses(*values)
    assert sum(goes_back(config, curve[:count]) for count in range(len(curve) + 1)) <= 1
    seen = epoch_rates(config, curve)
    assert seen == sorted(seen, reverse=True)
    assert [seen[0]] == epoch_rates(config, [])


@pytest.mark.parametrize("name", sorted(set(SCHEDULES) - {"two_stage"}))
def test_the_other_schedules_have_one_stage(name):
    config = TrainConfig(scheduler=name, epochs=3, milestones=[1], second_epoch=1)
    assert second_stage_epoch(config, losses(0.1, 9.0)) is None
    assert not goes_back(config, losses(0.1, 9.0))
