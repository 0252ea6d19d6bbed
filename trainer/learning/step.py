"""One optimizer step. All forward and backward passes of the training are in this module.

Shapes: B images of a batch, H height, W width, K classes.
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


class NonFiniteStep(Exception):  # noqa: N818 - internal; the user sees a NonFiniteLossError
    """A step that was not taken, because its loss or the norm of its gradients is NaN or infinite.

    Attributes:
        step: the index that the caller gave.
        loss: the loss of the step.
        what: the name of the quantity that is NaN or infinite.
        value: the value of this quantity.
    """

    def __init__(self, *, step: int, loss: float, norm: float | None) -> None:
        self.step = step
        self.loss = loss
        bad_norm = norm is not None and math.isfinite(loss)
        self.what = "norm of the gradients" if bad_norm else "training loss"
        self.value = norm if bad_norm else loss
        super().__init__(f"step {step}: the {self.what} is {self.value}")


class Stepper:
    """Takes optimizer steps, but no step whose loss is NaN or infinite (a bad step).

    On a GPU, an optimizer that can skip a step (`skips_on_device`) does so, and the host never
    waits. The first bad step and all steps after it change nothing. `check` raises the error later.
    For any other optimizer the host reads the loss before the step. On a GPU the host then waits
    only for the forward pass, while the GPU works on the backward pass.

    The loss may be finite although the gradients are NaN or infinite. With `clip_norm` the norm of
    the gradients is computed anyway, and a norm that is not finite makes the step a bad step too.
    The norm is not checked if the optimizer runs on a GPU and cannot skip a step there: reading the
    norm would leave the GPU idle. Then the step is taken and makes weights NaN, and the loss
    of the next step stops the training.

    Attributes:
        updating: whether the optimizer has begun a step and not ended it; such a step cannot be
            repeated.
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
            network: a function from views to the logits of each head.
            clip_norm: the largest norm of all gradients together; 0 means no clipping.
            device: the device of network, views and targets. On a GPU forward passes are autocast
                to bfloat16.
        """
        self._network = network
        self._optimizer = optimizer
        self._loss = loss
        self._clip_norm = clip_norm
        self._phases = phases
        self._autocast = device.type == "cuda"
        self._parameters = [
            parameter for group in optimizer.param_groups for parameter in group["params"]
        ]
        self._guard = guard_for(optimizer, device)
        self.updating = False

    def step(
        self, views: Sequence[Tensor], targets_BK: Tensor, *, parts: int, index: int
    ) -> Tensor:
        """Take one optimizer step and return the mean loss over the batch, on the device.

        Args:
            views: one tensor (B, 3, H, W) per crop of the images that a head uses; see
                TrainConfig.views.
            targets_BK: each row is a probability distribution over the joint classes.
            parts: the number of equal parts that the batch is split into; if necessary the first
                parts have one image more. The parts go through the network one after another. Their
                gradients are added, weighted by the sizes of the parts.
            index: the index of the step, for `NonFiniteStep`.

        Raises:
            NonFiniteStep: this step is bad, and the optimizer did not take it. With a DeviceGuard
                only `check` raises this error.
        """
        try:
            loss = self._gradients(views, targets_BK, min(parts, len(targets_BK)))
            with self._phases.phase("optimizer"):
                self._guard.allow(index, loss, norm=self._clip())
                self.updating = True
                self._optimizer.step()
                self.updating = False
        finally:
            # After an out-of-memory error the step is repeated. The second try must not add to the
            # gradients of the first try.
            self._optimizer.zero_grad(set_to_none=True)
        return loss

    def check(self) -> None:
        """Wait for the device and read on the host whether all steps so far were taken.

        Raises:
            NonFiniteStep: the first bad step; no step was taken after it.
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
        """Clip the gradients and return their norm before clipping; None without `clip_norm`."""
        if not self._clip_norm:
            return None
        return torch.nn.utils.clip_grad_norm_(self._parameters, self._clip_norm)


class Guard(Protocol):
    """Prevents a step with a loss that is NaN or infinite (a bad step) from changing anything.

    `see` is called once for each part of a batch, with the total loss of the parts so far. The
    value of the last call is the loss of the step.
    """

    def see(self, loss: Tensor) -> None:
        """Receive the loss: the forward pass is queued, the backward pass is not queued yet."""
        ...

    def allow(self, index: int, loss: Tensor, *, norm: Tensor | None) -> None:
        """Check the step that the optimizer takes next.

        Raises:
            NonFiniteStep: the step is bad, and the optimizer must not take it.
        """
        ...

    def check(self) -> None:
        """Check that every step so far was taken.

        Raises:
            NonFiniteStep: the first step that was not taken.
        """
        ...


def guard_for(optimizer: Optimizer, device: torch.device) -> Guard:
    """Return the guard for this optimizer and device.

    On a CPU the host knows the loss before the step without waiting, so a HostGuard is enough.
    """
    if device.type != "cpu" and skips_on_device(optimizer):
        return DeviceGuard(optimizer, device)
    return HostGuard(device)


class HostGuard:
    """A guard that reads the loss on the host before every step, and on a CPU also the norm."""

    def __init__(self, device: torch.device) -> None:
        on_gpu = device.type == "cuda"
        self._copied = torch.cuda.Event() if on_gpu else None  # type: ignore[no-untyped-call]
        self._loss = torch.zeros(())

    def see(self, loss: Tensor) -> None:
        """Queue the copy of the loss to the host, between the forward and the backward pass."""
        self._loss = loss.to("cpu", non_blocking=True)
        if self._copied is not None:
            self._copied.record()

    def allow(self, index: int, loss: Tensor, *, norm: Tensor | None) -> None:
        """Wait until the loss is on the host, then check it. A GPU does the backward pass then."""
        if self._copied is not None:
            self._copied.synchronize()
            norm = None  # the GPU knows the norm only at the end of the backward pass
        values = [float(self._loss), 0.0 if norm is None else float(norm)]
        if not all(map(math.isfinite, values)):
            raise NonFiniteStep(
                step=index, loss=values[0], norm=None if norm is None else values[1]
            )

    def check(self) -> None:
        """Do nothing: `allow` has checked every step."""


class DeviceGuard:
    """A guard whose optimizer skips bad steps on the device.

    The guard needs two or three tiny kernels per step, and the host does not wait.
    """

    def __init__(self, optimizer: Optimizer, device: torch.device) -> None:
        assert skips_on_device(optimizer)
        # 0 until the first bad step, and NaN from then on
        self._nan_if_bad = torch.zeros((), device=device)
        self._found_inf = torch.zeros((), device=device)
        # index, loss and norm of the steps since the last `check`
        self._unchecked: list[tuple[int, Tensor, Tensor | None]] = []
        optimizer.found_inf = self._found_inf  # type: ignore[attr-defined]

    def see(self, loss: Tensor) -> None:
        """Do nothing: this guard needs the loss only in `allow`."""

    def allow(self, index: int, loss: Tensor, *, norm: Tensor | None) -> None:
        """Set the optimizer's `found_inf` to 1 if this step or a step before it is bad."""
        for value in (loss,) if norm is None else (loss, norm):
            self._nan_if_bad.add_(value, alpha=0)  # 0 times NaN or infinity is NaN
        self._found_inf.copy_(torch.isnan(self._nan_if_bad))
        self._unchecked.append((index, loss, norm))

    def check(self) -> None:
        """Read the losses and norms of the steps since the last call, in one copy."""
        if not self._unchecked:
            return
        count = len(self._unchecked)
        values = [loss for _, loss, _ in self._unchecked]
        values += [loss if norm is None else norm for _, loss, norm in self._unchecked]
        known = torch.stack(values).tolist()
        for (index, _, norm), loss, other in zip(
            self._unchecked, known[:count], known[count:], strict=True
        ):
            if not (math.isfinite(loss) and math.isfinite(other)):
                raise NonFiniteStep(step=index, loss=loss, norm=None if norm is None else other)
        self._unchecked.clear()
