"""One optimizer step: accumulation, clipping, and steps that must not be taken."""

import itertools
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trainer.config import TrainConfig
from trainer.learning.optimizers import build_optimizer, skips_on_device
from trainer.learning.phases import NoPhases, TimedPhases
from trainer.learning.step import DeviceGuard, HostGuard, NonFiniteStep, Stepper, guard_for
from trainer.model.timm_names import known_optimizers

CPU = torch.device("cpu")
NAN = float("nan")
INF = float("inf")


@pytest.fixture(scope="module", autouse=True)
def _names_asked_once(tmp_path_factory):
    """All tests here share timm's remembered answer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWEEPS_CACHE", str(tmp_path_factory.mktemp("names")))
        known_optimizers()
        yield


@pytest.fixture(autouse=True)
def _own_cache_and_one_thread():
    """In place of the one for all tests, which gives each test an empty cache."""
    torch.set_num_threads(1)


@pytest.fixture
def told_on_the_device(monkeypatch):
    """Steppers like those of a GPU: torch's fused optimizers skip on a CPU just as well."""
    monkeypatch.setattr("trainer.learning.step.guard_for", DeviceGuard)


class Net(nn.Module):
    """Two heads over one backbone; the second head sees the last view."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 4, 3, bias=False), nn.AdaptiveAvgPool2d(2), nn.Flatten()
        )
        self.heads = nn.ModuleList([nn.Linear(16, 3), nn.Linear(16, 3)])
        self.seen: list[int] = []

    def forward(self, views: list[Tensor]) -> list[Tensor]:
        self.seen.append(len(views[0]))
        return [self.heads[0](self.backbone(views[0])), self.heads[1](self.backbone(views[-1]))]


def two_heads(logits: list[Tensor], targets_BK: Tensor) -> Tensor:
    return sum(nn.functional.cross_entropy(head, targets_BK) for head in logits) / 2


def batch(size: int, *, seed: int = 1) -> tuple[list[Tensor], Tensor]:
    """Two views of learnable images, and their targets."""
    generator = torch.Generator().manual_seed(seed)
    labels_B = torch.arange(size) % 3
    views = [torch.randn(size, 3, 5, 5, generator=generator) for _ in range(2)]
    for view in views:
        view[torch.arange(size), labels_B] += 1
    return views, nn.functional.one_hot(labels_B, 3).float()


def stepper(network: nn.Module, *, loss=two_heads, clip_norm: float = 0.0, phases=None, **fields):
    """A stepper and its optimizer."""
    optimizer = build_optimizer(
        network, TrainConfig(**{"optimizer": "sgd", "lr": 0.1, **fields}), device=CPU
    )
    made = Stepper(
        network, optimizer, loss, clip_norm=clip_norm, device=CPU, phases=phases or NoPhases()
    )
    return made, optimizer


def flat(network: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


def leaves(state: Any) -> Iterator[Any]:
    """Everything in an optimizer's state, tensors as lists of numbers."""
    if isinstance(state, dict | list | tuple):
        for value in state.values() if isinstance(state, dict) else state:
            yield from leaves(value)
    else:
        yield state.tolist() if isinstance(state, Tensor) else state


def reference(
    network: nn.Module, *, steps: int, clip_norm: float = 0.0, size: int = 12
) -> list[float]:
    """The plain loop; its losses."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    seen = []
    for step in range(steps):
        views, targets_BK = batch(size, seed=step)
        loss = two_heads(network(views), targets_BK)
        optimizer.zero_grad()
        loss.backward()
        if clip_norm:
            torch.nn.utils.clip_grad_norm_(network.parameters(), clip_norm)
        optimizer.step()
        seen.append(loss.item())
    return seen


@pytest.mark.parametrize("clip_norm", [0.0, 0.1, 1e6])
@pytest.mark.parametrize("parts", [1, 2, 3, 5, 12, 100])
def test_a_batch_in_parts_takes_the_step_of_the_whole_batch(parts, clip_norm):
    ours = Net()
    theirs = Net()
    made, _ = stepper(ours, clip_norm=clip_norm)
    seen = [made.step(*batch(12, seed=step), parts=parts, index=step).item() for step in range(4)]
    assert seen == pytest.approx(reference(theirs, steps=4, clip_norm=clip_norm), rel=1e-5)
    torch.testing.assert_close(flat(ours), flat(theirs), rtol=1e-4, atol=1e-5)
    assert made.check() is None


@pytest.mark.parametrize(
    ("size", "parts", "sizes"),
    [(12, 1, [12]), (12, 3, [4, 4, 4]), (11, 3, [4, 4, 3]), (2, 5, [1, 1])],
)
def test_the_parts_are_as_equal_as_can_be_and_never_empty(size, parts, sizes):
    network = Net()
    stepper(network)[0].step(*batch(size), parts=parts, index=0)
    assert network.seen == sizes


def test_unequal_parts_count_by_their_sizes():
    ours = Net()
    theirs = Net()
    loss = stepper(ours)[0].step(*batch(11), parts=3, index=0)
    stepper(theirs)[0].step(*batch(11), parts=1, index=0)
    assert loss.item() == pytest.approx(two_heads(Net()(batch(11)[0]), batch(11)[1]).item())
    torch.testing.assert_close(flat(ours), flat(theirs))


def test_it_learns_and_leaves_no_gradients_and_no_graph():
    network = Net()
    made, _ = stepper(network, clip_norm=1.0, optimizer="adamw", lr=0.02)
    losses = [made.step(*batch(12), parts=2, index=step) for step in range(30)]
    assert losses[-1] < losses[0] / 2
    assert not losses[0].requires_grad
    assert all(parameter.grad is None for parameter in network.parameters())


def test_it_gives_the_same_bits_twice():
    networks = [Net(), Net()]
    for network in networks:
        made, _ = stepper(network, clip_norm=0.5)
        for step in range(4):
            made.step(*batch(12, seed=step), parts=3, index=step)
    assert torch.equal(flat(networks[0]), flat(networks[1]))


def test_clipping_bounds_the_whole_gradient():
    network = Net()
    before = flat(network)
    stepper(network, clip_norm=0.01, optimizer="sgd", momentum=0.0, lr=1.0)[0].step(
        *batch(12), parts=2, index=0
    )
    assert (flat(network) - before).norm().item() == pytest.approx(0.01, rel=1e-3)


def test_frozen_parameters_stay_and_do_not_disturb_clipping():
    network = Net()
    network.backbone.requires_grad_(False)
    before = flat(network.backbone)
    made, _ = stepper(network, clip_norm=0.1, weight_decay=0.1)
    made.step(*batch(12), parts=2, index=0)
    assert torch.equal(flat(network.backbone), before)
    assert not torch.equal(flat(network), flat(Net()))


def test_what_ran_out_of_memory_halfway_leaves_no_gradients():
    network = Net()
    calls = itertools.count()

    def loss(logits: list[Tensor], targets_BK: Tensor) -> Tensor:
        if next(calls) == 2:
            raise torch.OutOfMemoryError("no room")
        return two_heads(logits, targets_BK)

    made, _ = stepper(network, loss=loss)
    with pytest.raises(torch.OutOfMemoryError, match="no room"):
        made.step(*batch(12), parts=4, index=0)
    assert all(parameter.grad is None for parameter in network.parameters())
    made.step(*batch(12), parts=4, index=0)
    other = Net()
    stepper(other)[0].step(*batch(12), parts=4, index=0)
    assert torch.equal(flat(network), flat(other))


def test_each_part_goes_forward_and_backward_and_the_optimizer_steps_once():
    ticks = itertools.count()
    phases = TimedPhases(CPU, clock=lambda: float(next(ticks)))
    stepper(Net(), phases=phases)[0].step(*batch(12), parts=3, index=0)
    assert phases.seconds == {"forward": 3.0, "backward": 3.0, "optimizer": 1.0}


def going_bad(*, at: int, value: float, spoil: str = "loss"):
    """A loss whose step number `at` (one part per step) is not finite,
    or only its gradients are not.
    """
    calls = itertools.count()

    def loss(logits: list[Tensor], targets_BK: Tensor) -> Tensor:
        good = two_heads(logits, targets_BK)
        if next(calls) != at:
            return good
        if spoil == "loss":
            return good * value
        return (
            good + (logits[0].sum() * 0).abs().sqrt()
        )  # its slope at 0 is infinite, times 0 is NaN

    return loss


ALSO_SLOW = ["sgd", "adamw", "madgrad", "lion", "lamb"]


@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize("name", ALSO_SLOW)
@pytest.mark.parametrize("clip_norm", [0.0, 1.0])
def test_a_bad_loss_stops_before_the_step(name, value, clip_norm):
    network = Net()
    loss = going_bad(at=2, value=value)
    made, optimizer = stepper(network, loss=loss, optimizer=name, clip_norm=clip_norm)
    for step in (40, 41):
        made.step(*batch(12, seed=step), parts=1, index=step)
    before = flat(network)
    state = list(leaves(optimizer.state_dict()))
    with pytest.raises(NonFiniteStep, match=r"step 42: the training loss is -?(nan|inf)") as caught:
        made.step(*batch(12), parts=1, index=42)
    assert (caught.value.step, caught.value.what, str(caught.value.loss)) == (
        42,
        "training loss",
        str(value),
    )
    assert torch.equal(flat(network), before)
    assert list(leaves(optimizer.state_dict())) == state
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_bad_part_spoils_its_step(at):
    network = Net()
    made, _ = stepper(network, loss=going_bad(at=at, value=NAN))
    with pytest.raises(NonFiniteStep, match="step 7: the training loss is nan"):
        made.step(*batch(12), parts=3, index=7)
    assert torch.equal(flat(network), flat(Net()))


def test_bad_gradients_of_a_finite_loss_stop_where_their_norm_is_at_hand():
    network = Net()
    made, _ = stepper(network, loss=going_bad(at=0, value=NAN, spoil="slope"), clip_norm=1.0)
    with pytest.raises(NonFiniteStep, match="step 3: the norm of the gradients is nan") as caught:
        made.step(*batch(12), parts=1, index=3)
    assert caught.value.what == "norm of the gradients"
    assert 0 < caught.value.loss < 10
    assert torch.equal(flat(network), flat(Net()))


def test_without_their_norm_bad_gradients_show_in_the_next_loss():
    made, _ = stepper(Net(), loss=going_bad(at=0, value=NAN, spoil="slope"))
    made.step(*batch(12), parts=1, index=0)
    with pytest.raises(NonFiniteStep, match="step 1: the training loss is nan"):
        made.step(*batch(12), parts=1, index=1)


FUSED = [("sgd", 0.9), ("sgd", 0.0), ("adam", 0.9), ("adamw", 0.9)]


@pytest.mark.usefixtures("told_on_the_device")
@pytest.mark.parametrize(("name", "momentum"), FUSED)
@pytest.mark.parametrize("clip_norm", [0.0, 0.1])
def test_on_the_device_good_steps_are_the_same(monkeypatch, name, momentum, clip_norm):
    told = Net()
    plain = Net()
    fields = {"optimizer": name, "momentum": momentum, "clip_norm": clip_norm}
    made, optimizer = stepper(told, **fields)
    losses = [made.step(*batch(12, seed=step), parts=2, index=step) for step in range(5)]
    made.check()
    made.check()  # nothing new
    assert skips_on_device(optimizer)
    assert optimizer.found_inf == 0
    monkeypatch.undo()
    other, _ = stepper(plain, **fields)
    assert losses == [other.step(*batch(12, seed=step), parts=2, index=step) for step in range(5)]
    assert torch.equal(flat(told), flat(plain))


@pytest.mark.usefixtures("told_on_the_device")
@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize(("name", "momentum"), FUSED)
@pytest.mark.parametrize("clip_norm", [0.0, 0.1])
@pytest.mark.parametrize("at", [0, 3])
def test_on_the_device_nothing_changes_from_the_first_bad_step_on(
    name, momentum, value, clip_norm, at
):
    told = Net()
    good = Net()
    fields = {"optimizer": name, "momentum": momentum, "clip_norm": clip_norm, "weight_decay": 0.1}
    made, optimizer = stepper(told, loss=going_bad(at=at, value=value), **fields)
    for step in range(6):
        made.step(*batch(12, seed=step), parts=1, index=100 + step)
    other, reference_optimizer = stepper(good, **fields)
    for step in range(at):
        other.step(*batch(12, seed=step), parts=1, index=step)
    assert torch.equal(flat(told), flat(good))
    if at:  # with the first step bad, the state came into being and holds zeros
        assert list(leaves(optimizer.state_dict())) == list(
            leaves(reference_optimizer.state_dict())
        )
    for _ in range(2):  # it stays bad
        with pytest.raises(
            NonFiniteStep, match=rf"step {100 + at}: the training loss is -?(nan|inf)"
        ) as caught:
            made.check()
        assert (caught.value.step, str(caught.value.loss)) == (100 + at, str(value))


@pytest.mark.usefixtures("told_on_the_device")
def test_on_the_device_a_bad_step_between_two_looks_is_named():
    made, _ = stepper(Net(), loss=going_bad(at=5, value=NAN))
    for step in range(10):
        made.step(*batch(12, seed=step), parts=1, index=step)
        if step == 4:
            made.check()
    with pytest.raises(NonFiniteStep, match="step 5: the training loss is nan"):
        made.check()


@pytest.mark.usefixtures("told_on_the_device")
def test_on_the_device_losses_are_kept_until_they_were_looked_at():
    made, _ = stepper(Net())
    kept = weakref.ref(made.step(*batch(12), parts=1, index=0))
    assert kept() is not None
    made.check()
    assert kept() is None


@pytest.mark.usefixtures("told_on_the_device")
def test_on_the_device_bad_gradients_of_a_finite_loss_count_where_their_norm_is_at_hand():
    network = Net()
    made, _ = stepper(network, loss=going_bad(at=0, value=NAN, spoil="slope"), clip_norm=1.0)
    for step in range(3):
        made.step(*batch(12), parts=1, index=step)
    assert torch.equal(flat(network), flat(Net()))
    with pytest.raises(NonFiniteStep, match="step 0: the norm of the gradients is nan"):
        made.check()


@pytest.mark.usefixtures("told_on_the_device")
def test_on_the_device_the_largest_numbers_are_not_infinite():
    made, _ = stepper(
        Net(),
        loss=lambda logits, targets_BK: two_heads(logits, targets_BK) * 0 + 3e38,
        clip_norm=1.0,
    )
    made.step(*batch(12), parts=1, index=0)
    made.check()


def test_the_device_is_asked_only_where_it_is_one_and_its_optimizer_skips():
    _, fused = stepper(Net(), optimizer="adamw")
    _, plain = stepper(Net(), optimizer="madgrad")
    assert isinstance(guard_for(fused, CPU), HostGuard)
    assert isinstance(guard_for(fused, torch.device("meta")), DeviceGuard)
    assert isinstance(guard_for(plain, torch.device("meta")), HostGuard)
