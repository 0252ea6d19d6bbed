"""The fold models that are left: averaged without what is gone, and said."""

import re
from pathlib import Path

import pytest

from sweeps.errors import InputError
from sweeps.shipping.members import all_models, find_models, loaded, settle, with_weights
from sweeps.shipping.shipped import Shipped
from tests.sweeps.shipping.conftest import Ships


def weights(people: Path, trial: int, fold: int) -> Path:
    return people / f"people/trial-{trial:04d}/fold-{fold}/model.safetensors"


def settled(shipped: Shipped, *, most: int | None = None):
    found = loaded(find_models(shipped), most=most)
    return found, *settle(shipped, found, kept=lambda: [3, 1])


@pytest.fixture
def two(ships: Ships) -> Shipped:
    """Trial 0 and the next best one, with equal weights."""
    shipped = ships(topk=2)
    assert len(shipped.mixture.members) == 2
    return shipped


def numbers(shipped: Shipped) -> list[int]:
    return [int(member.name[-1]) for member in shipped.mixture.members]


def test_all_fold_models_are_there(two):
    found, mixture, notices = settled(two)
    assert [[model.header.fold for model in found[name].models] for name in found] == [[0, 1]] * 2
    assert mixture is two.mixture
    assert notices == []
    assert len(all_models(found.values())) == 4


def test_fewer_fold_models_are_the_first_that_can_be_used(two, people):
    found, _, notices = settled(two, most=1)
    assert [len(member.models) for member in found.values()] == [1, 1]
    assert "network" not in vars(find_models(two)[f"people/trial-000{numbers(two)[0]}"].models[1])
    weights(people, numbers(two)[0], 0).unlink()
    found, _, notices = settled(two, most=1)
    assert sorted(member.models[0].header.fold for member in found.values()) == [0, 1]
    assert notices == []


def test_a_member_is_averaged_without_what_is_gone_or_damaged(two, people):
    first, second = numbers(two)
    weights(people, first, 1).unlink()
    damaged = weights(people, second, 0)
    damaged.write_bytes(damaged.read_bytes()[:500])
    found, mixture, notices = settled(two)
    assert mixture is two.mixture
    assert [len(found[member.name].models) for member in mixture.members] == [1, 1]
    assert notices[0] == f"trial {first} is averaged without fold 1, whose weights are gone"
    assert re.fullmatch(
        rf"trial {second} is averaged without a damaged fold model: {damaged}: the weights do not "
        r"load \(.*\)",
        notices[1],
    )


def test_weights_of_another_network_are_found_out_when_they_load(two, people):
    first = numbers(two)[0]
    path = weights(people, first, 0)
    content = path.read_bytes()
    assert b'"heads.0.linear.bias"' in content
    path.write_bytes(content.replace(b'"heads.0.linear.bias"', b'"heads.9.linear.bias"'))
    found, _, notices = settled(two)
    assert [model.header.fold for model in found[f"people/trial-000{first}"].models] == [1]
    assert f"trial {first} is averaged without a damaged fold model" in notices[0]


def test_a_member_with_damaged_weights_only_is_left_out_unless_it_is_the_only_one(
    ships: Ships, two, people
):
    first, second = numbers(two)
    for fold in (0, 1):
        weights(people, first, fold).write_bytes(b"")
    _, mixture, notices = settled(two)
    assert [(member.name[-1], member.weight) for member in mixture.members] == [(str(second), 1.0)]
    assert mixture.decision == two.mixture.decision
    assert notices[0].startswith(
        f"trial {first} is left out, because none of its fold models can be used: "
    )
    assert notices[1:] == [
        "the estimate and the rule are those of the mixture with all its members"
    ]
    with pytest.raises(InputError, match=rf"^no weights can be used:\n  trial {first} is left out"):
        settled(ships(trial=first))


def test_weights_that_were_removed_stop_the_command_and_say_what_to_do(two, people, view):
    first = numbers(two)[0]
    for fold in (0, 1):
        weights(people, first, fold).unlink()
    with pytest.raises(InputError) as error:
        settled(two)
    assert str(error.value) == (
        f"trial {first}: the weights of all its 2 fold models were removed, because only the best "
        "trials keep theirs (`keep` in the search space, `sweeps gc`). Trials that still have "
        "theirs: 3, 1 (--trial, or --topk as far as they are the best). `sweeps refit people "
        f"--trial {first}` trains it again on all images, for `sweeps predict --refit`"
    )
    with pytest.raises(InputError, match=r"No complete trial of the sweep has any\. `sweeps"):
        settle(two, find_models(two), kept=list)
    ranked = [trial.number for trial in view.ranked()]
    assert with_weights(view, runs=people) == [number for number in ranked if number != first]
