"""The networks, sizes and numbers of a first sweep follow from data, machine and time."""

import pytest

from sweeps.preparing.drafting import (
    BACKBONES,
    FROM_SCRATCH,
    PRETRAINED,
    TRIALS,
    Ladder,
    Machine,
    Training,
    are_long,
    batch_size,
    plan_training,
)

CPU = Machine("cpu", 2)
LADDER = ("a", "b", "c", "d", "e")


def planned(
    hours: float = 1.0,
    *,
    images: int = 1_000,
    side: int = 224,
    pretrained: bool = True,
    machine: Machine = CPU,
    slowness: float = 1.0,
) -> Training:
    """A plan for networks each of which is four times as slow as the one before."""

    def pace(side: int, batch_size: int, name: str) -> float:
        return slowness * 1e-4 * 4 ** LADDER.index(name) * (side / 224) ** 2

    return plan_training(
        images=images,
        folds=5,
        side=side,
        ladder=Ladder(LADDER, pretrained),
        hours=hours,
        machine=machine,
        pace=pace,
    )


def test_the_largest_networks_are_taken_of_which_enough_trials_fit():
    found = planned(1.0)
    assert found.backbones == ("b", "c", "d")
    assert (found.side, found.epochs, found.fits) == (224, 10, True)
    assert max(found.trial_s.values()) * TRIALS <= 2 * 3600


def test_more_time_or_more_machines_give_larger_networks():
    assert planned(10.0).backbones == ("c", "d", "e")
    assert planned(1.0, machine=Machine("cuda", 20)).backbones == ("c", "d", "e")


def test_with_less_time_images_become_smaller_then_epochs_fewer():
    shorter = planned(0.1)
    assert shorter.backbones == ("a", "b", "c")
    assert (96 <= shorter.side < 224, shorter.epochs) == (True, 10)
    shortest = planned(0.025)
    assert (shortest.side, shortest.epochs, shortest.fits) == (96, 5, True)


def test_what_never_fits_is_the_cheapest_and_said():
    found = planned(0.001)
    assert found.backbones == ("a", "b", "c")
    assert not found.fits
    assert found.run_cap == 6


def test_a_network_that_cannot_be_built_is_left_out():
    found = planned(1.0)
    without = plan_training(
        images=1_000,
        folds=5,
        side=224,
        ladder=Ladder(LADDER, False),
        hours=10.0,
        machine=CPU,
        pace=lambda side, batch_size, name: float("inf") if name == "b" else 1e-5,
    )
    assert "b" in found.backbones
    assert "b" not in without.backbones
    assert len(without.backbones) == BACKBONES


@pytest.mark.parametrize(
    ("side", "size"), [(8, 32), (28, 32), (40, 48), (64, 64), (100, 96), (225, 224), (4_000, 224)]
)
def test_images_are_not_made_much_smaller_or_larger_than_they_are(side: int, size: int):
    assert planned(100.0, side=side, pretrained=False).side == size


def test_there_are_as_many_trials_as_fit_and_no_more_than_are_of_use():
    assert planned(1.0, slowness=1e-3).run_cap == 60
    assert 6 < planned(0.04).run_cap < 60


@pytest.mark.parametrize(
    ("images", "folds", "device", "size"),
    [
        (3, 2, "cpu", 2),
        (20, 2, "cpu", 4),
        (100, 5, "cpu", 8),
        (10**6, 5, "cpu", 32),
        (10**6, 5, "cuda", 64),
        (40, 1, "cpu", 8),
    ],
)
def test_batches_are_small_where_images_are_few(images: int, folds: int, device: str, size: int):
    assert batch_size(images, folds=folds, device=device) == size


def test_a_photo_of_4_by_3_is_long_and_a_square_is_not():
    assert are_long(300, 400)
    assert are_long(400, 300)
    assert not are_long(224, 224)


def test_timm_knows_all_backbones_that_may_be_proposed():
    from trainer.model.timm_names import known_backbones

    assert {*PRETRAINED, *FROM_SCRATCH} <= known_backbones()
