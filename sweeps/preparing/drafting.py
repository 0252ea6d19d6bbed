"""Decide what a first search space trains: networks, image size, epochs and number of trials.

The decisions depend on the data's size, the machine's pace and the hours that the user has.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence

# Backbones in ascending order of what a training costs. Pretrained ones are common in competitions
# and of several families; without weights, small networks learn more from few images.
PRETRAINED = (
    "mobilenetv3_small_100",
    "mobilenetv3_large_100",
    "resnet18",
    "efficientnet_b0",
    "resnet50",
    "convnext_tiny",
    "efficientnet_b3",
)
FROM_SCRATCH = (
    "test_resnet",
    "test_efficientnet",
    "test_convnext",
    "mobilenetv3_small_100",
    "resnet10t",
    "resnet18",
)
BACKBONES = 3
SIDES = (32, 48, 64, 96, 128, 160, 192, 224)  # pixels
ENOUGH = 0.9  # of the images' side; what is smaller loses detail
LOWEST_PRETRAINED = 96  # pixels; pretrained networks lose much below
# the number of epochs that is wanted, and the fewest
EPOCHS_PRETRAINED = (10, 5)
EPOCHS_FROM_SCRATCH = (30, 10)
TRIALS = 12  # whole trials that should fit into the time; the fold race then makes it more
MOST_TRIALS = 60
FEWEST_TRIALS = 6
PRUNED = 1.6  # trials in the time of a whole one, as the race stops about half of them
SCORING = 1.15  # a fold run's time as a multiple of that of its training steps
PER_FOLD_S = 1.0  # for building the network and writing the results
BATCHES_PER_EPOCH = 20  # at least, if the batches do not get too small
LARGEST_BATCH = {"cpu": 32, "cuda": 64}
SMALLEST_BATCH = 8
UNEVEN = 4.0  # as many images of the largest class for one of the smallest make weights worth a try
LONG = 1.2  # longer side by shorter side, from which an image is distorted by a square

# side in pixels, batch size, backbone -> seconds per trained image
Pace = Callable[[int, int, str], float]


@dataclasses.dataclass(frozen=True)
class Machine:
    """Where the sweep will run.

    Attributes:
        device: `cpu` or `cuda`.
        at_once: trials that run side by side: one per GPU, or one per CPU without a GPU.
    """

    device: str
    at_once: int


@dataclasses.dataclass(frozen=True)
class Ladder:
    """Backbones to choose from, at least three, roughly in ascending order of cost.

    Attributes:
        pretrained: whether they begin with pretrained weights.
    """

    backbones: tuple[str, ...]
    pretrained: bool


@dataclasses.dataclass(frozen=True)
class Training:
    """What the trials train.

    Attributes:
        backbones: the backbones, in ascending order of cost.
        trial_s: about how long one trial of each backbone takes if it trains all folds.
        fits: whether at least TRIALS trials fit into the time.
    """

    backbones: tuple[str, ...]
    side: int
    epochs: int
    batch_size: int
    trial_s: Mapping[str, float]
    run_cap: int
    fits: bool


def plan_training(
    *,
    images: int,
    folds: int,
    side: int,
    ladder: Ladder,
    hours: float,
    machine: Machine,
    pace: Pace,
) -> Training:
    """The three largest backbones of the ladder of which enough trials fit into the time.

    If fewer fit, the images become smaller, then the epochs fewer; and if that is not enough, the
    three cheapest are taken.

    Args:
        side: the median of the images' shorter sides, in pixels.
        pace: is asked as seldom as possible, because it may measure.
    """
    seconds = 3600 * hours * machine.at_once
    wanted, fewest = EPOCHS_PRETRAINED if ladder.pretrained else EPOCHS_FROM_SCRATCH
    sides = _sides(side, lowest=LOWEST_PRETRAINED if ladder.pretrained else SIDES[0])
    batch = batch_size(images, folds=folds, device=machine.device)
    costs: dict[str, float] = {}
    for at, epochs in [*((each, wanted) for each in sides), (sides[-1], fewest)]:
        costs = _costs(
            ladder.backbones,
            limit_s=seconds / TRIALS,
            images=images,
            folds=folds,
            epochs=epochs,
            pace_at=functools.partial(pace, at, batch),
        )
        found = [name for name in costs if costs[name] <= seconds / TRIALS]
        if len(found) >= BACKBONES:
            break
    fits = len(found) >= BACKBONES
    # of those that fit, the largest; if too few fit, the cheapest
    ordered = sorted(found if fits else costs, key=lambda name: costs[name])
    chosen = tuple(ordered[-BACKBONES:] if fits else ordered[:BACKBONES])
    trial_s = {name: costs[name] for name in chosen}
    mean_s = sum(trial_s.values()) / len(trial_s)
    return Training(
        backbones=chosen,
        side=at,
        epochs=epochs,
        batch_size=batch,
        trial_s=trial_s,
        run_cap=max(FEWEST_TRIALS, min(MOST_TRIALS, round(PRUNED * seconds / mean_s))),
        fits=fits,
    )


def batch_size(images: int, *, folds: int, device: str) -> int:
    """A power of two of which an epoch has at least BATCHES_PER_EPOCH, if it does not get tiny.

    Example:
        >>> batch_size(24, folds=2, device="cpu"), batch_size(1_438, folds=5, device="cpu")
        (4, 32)
    """
    trained = images if folds < 2 else images * (folds - 1) // folds
    wanted = min(LARGEST_BATCH[device], max(SMALLEST_BATCH, trained // BATCHES_PER_EPOCH))
    return int(2 ** int(math.log2(max(2, min(wanted, trained // 2)))))


def are_uneven(counts: Sequence[int]) -> bool:
    """Whether classes differ so much in size that weights of classes are worth a try."""
    return max(counts) >= UNEVEN * max(1, min(counts))


def are_long(height: float, width: float) -> bool:
    """Whether a square distorts images of this size visibly."""
    return max(height, width) >= LONG * min(height, width)


def _sides(side: int, *, lowest: int) -> list[int]:
    """The sides to try, in descending order: from that of the images down to the lowest."""
    top = next((each for each in SIDES if each >= ENOUGH * side), SIDES[-1])
    return [each for each in reversed(SIDES) if lowest <= each <= top] or [top]


def _costs(
    ladder: Sequence[str],
    *,
    limit_s: float,
    images: int,
    folds: int,
    epochs: int,
    pace_at: Callable[[str], float],
) -> dict[str, float]:
    """About how long a trial of each backbone takes that trains all its folds, in seconds.

    The first backbones are always in it. The others end with one that is far too slow: the costs of
    a ladder ascend only roughly.
    """
    trained = images if folds < 2 else images * (folds - 1)
    costs: dict[str, float] = {}
    for name in ladder:
        costs[name] = epochs * trained * pace_at(name) * SCORING + PER_FOLD_S * folds
        if len(costs) >= BACKBONES and costs[name] > 2 * limit_s:
            break
    return costs
