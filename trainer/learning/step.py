"""One optimizer step: the only place with a forward and a backward pass of training.

Shapes: B batch, H height, W width, K classes.
"""

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.optim import Optimizer

from trainer.learning.losses import HeadsLoss
from trainer.learning.optimizers import skips_on_device
from trainer.learning.phases import Phases


class NonFiniteStep(Exception):  # noqa: N818 - it names the step; the user sees a NonFiniteLossError
    """A step that was not taken, because its loss or the norm of its gradients is NaN or infinite.

    `what` names the bad one, `value` is it; `step` is the index that the caller gave, `loss` the step's loss.
    """

    def __init__(self, *, step: int, loss: float, norm: float | None) -> None:
        self.step, self.loss = step, loss
        bad_norm = norm is not None and math.isfinite(loss)
        self.what, self.value = (
            ("norm of the gradients", norm) if bad_norm else ("training loss", loss)
        )
        super().__init__(f"step {step}: the {self.what} is {self.value}")


class Stepper:
    """Takes optimizer steps, none with a loss that is not finite.

    An optimizer that skips on the device (`skips_on_device`) is told there: the host never waits, the first bad step
    and all after it change nothing, and `check` says so later. For any other optimizer the host looks at the loss
    before the step; on a GPU it waits for the forward pass only, while the backward pass is on its way.

    Finite losses with bad gradients: with `clip_norm` their norm is at hand and counts like the loss, except on a GPU
    with an optimizer that does not skip there, where looking at it would leave the device idle. Without the norm
    such a step is taken; it makes weights NaN, and the loss of the next step stops the training.
    """

    def __init__(
        self,
        network: Callable[[Sequence[Tensor]], Sequence[Tensor]],
        optimizer: Optimizer,
        loss: HeadsLoss,
        *,
        clip_norm: float,
        device: torch.device,
        phases: Phases,
    ) -> None:
        """
        Args:
            network: turns views into logits per head.
            clip_norm: largest norm of all gradients together; 0: not clipped.
            device: where everything is. On a GPU forward passes are autocast to bfloat16.
        """
        self._network, self._optimizer, self._loss = network, optimizer, loss
        self._clip_norm, self._phases = clip_norm, phases
        self._autocast = device.type == "cuda"
        self._parameters = [
            parameter for group in optimizer.param_groups for parameter in group["params"]
        ]
        self._guard = guard_for(optimizer, device)
        self.updating = False  # the optimizer began a step and did not end it: such a step cannot be tried again

    def step(
        self, views: Sequence[Tensor], targets_BK: Tensor, *, parts: int, index: int
    ) -> Tensor:
        """Take the step; the mean loss over the batch, on the device.

        Args:
            views: each (B, 3, H, W); one per way in which the heads see an image.
            targets_BK: each row a probability distribution over the joint classes.
            parts: equal parts (the first ones larger by one image if they cannot be) that go through the network one
                after another; their gradients are added, weighted by their sizes.
            index: of the step, as `NonFiniteStep` names it.

        Raises:
            NonFiniteStep: the optimizer did not step.
        """
        try:
            loss = self._gradients(views, targets_BK, min(parts, len(targets_BK)))
            with self._phases.phase("optimizer"):
                self._guard.allow(index, loss, norm=self._clip())
                self.updating = True
                self._optimizer.step()
                self.updating = False
        finally:  # also when memory ran out halfway: a second try must not add to half of the gradients
            self._optimizer.zero_grad(set_to_none=True)
        return loss

    def check(self) -> None:
        """Read on the host what the device found out: waits for it.

        Raises:
            NonFiniteStep: the first bad step; no step was taken since.
        """
        self._guard.check()

    def _gradients(self, views: Sequence[Tensor], targets_BK: Tensor, parts: int) -> Tensor:
        split_views = zip(*(view.tensor_split(parts) for view in views), strict=True)
        total: Tensor | None = None
        for some_views, targets in zip(split_views, targets_BK.tensor_split(parts), strict=True):
            with (
                self._phases.phase("forward"),
                torch.autocast("cuda", dtype=torch.bfloat16, enabled=self._autocast),
            ):
                loss = self._loss(self._network(some_views), targets)
                if parts > 1:
                    loss = loss * (len(targets) / len(targets_BK))
            total = loss.detach() if total is None else total + loss.detach()
            self._guard.see(total)
            with self._phases.phase("backward"):
                torch.autograd.backward(loss)
        assert total is not None  # a batch has images
        return total

    def _clip(self) -> Tensor | None:
        """The norm of all gradients before they are clipped, or None."""
        if not self._clip_norm:
            return None
        return torch.nn.utils.clip_grad_norm_(self._parameters, self._clip_norm)


class Guard(Protocol):
    """Keeps a step with a loss that is not finite from changing anything.

    `see` may be called more than once per step, with the loss of the parts so far; the last one is the step's.
    """

    def see(self, loss: Tensor) -> None:
        """The forward pass is queued, the backward pass is not."""
        ...

    def allow(self, index: int, loss: Tensor, *, norm: Tensor | None) -> None:
        """The optimizer steps next.

        Raises:
            NonFiniteStep: it must not.
        """
        ...

    def check(self) -> None:
        """Make sure that every step so far was taken.

        Raises:
            NonFiniteStep: the first that was not.
        """
        ...


def guard_for(optimizer: Optimizer, device: torch.device) -> Guard:
    """On a CPU there is nothing to wait for: the loss is known before the step."""
    if device.type != "cpu" and skips_on_device(optimizer):
        return DeviceGuard(optimizer, device)
    return HostGuard(device)


class HostGuard:
    """The host knows the loss before every step."""

    def __init__(self, device: torch.device) -> None:
        self._copied = torch.cuda.Event() if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        self._loss = torch.zeros(())

    def see(self, loss: Tensor) -> None:
        """Queue the copy of the loss between the two passes."""
        self._loss = loss.to("cpu", non_blocking=True)
        if self._copied is not None:
            self._copied.record()

    def allow(self, index: int, loss: Tensor, *, norm: Tensor | None) -> None:
        """Wait for the copy, while a GPU does the backward pass."""
        if self._copied is not None:
            self._copied.synchronize()
            norm = None  # known only at the end of the backward pass
        values = [float(self._loss), 0.0 if norm is None else float(norm)]
        if not all(map(math.isfinite, values)):
            raise NonFiniteStep(
                step=index, loss=values[0], norm=None if norm is None else values[1]
            )

    def check(self) -> None:
        """Nothing is left to find out."""


class DeviceGuard:
    """The device knows, and its optimizer skips: two or three tiny kernels per step, no waiting."""

    def __init__(self, optimizer: Optimizer, device: torch.device) -> None:
        assert skips_on_device(optimizer)
        self._poison = torch.zeros(
            (), device=device
        )  # 0 until the first bad step, then NaN for ever
        self._found_inf = torch.zeros((), device=device)
        self._seen: list[
            tuple[int, Tensor, Tensor | None]
        ] = []  # index, loss and norm of the steps since `check`
        optimizer.found_inf = self._found_inf  # type: ignore[attr-defined]

    def see(self, loss: Tensor) -> None:
        """Nothing is needed before the backward pass."""

    def allow(self, index: int, loss: Tensor, *, norm: Tensor | None) -> None:
        """Tell the optimizer whether this step or one before it is bad."""
        for value in (loss,) if norm is None else (loss, norm):
            self._poison.add_(value, alpha=0)  # 0 times NaN or infinity is NaN
        self._found_inf.copy_(torch.isnan(self._poison))
        self._seen.append((index, loss, norm))

    def check(self) -> None:
        """Read the losses and norms since the last look, in one copy."""
        if not self._seen:
            return
        count, values = len(self._seen), [loss for _, loss, _ in self._seen]
        values += [loss if norm is None else norm for _, loss, norm in self._seen]
        known = torch.stack(values).tolist()
        for (index, _, norm), loss, other in zip(
            self._seen, known[:count], known[count:], strict=True
        ):
            if not (math.isfinite(loss) and math.isfinite(other)):
                raise NonFiniteStep(step=index, loss=loss, norm=None if norm is None else other)
        self._seen.clear()
