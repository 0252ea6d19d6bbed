from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from sweeps.space.spec import METRIC_NAMES, Metric, SweepSpec, result_field
from sweeps.space.stopping import Race
from trainer.config import TrainConfig
from trainer.images.preprocessing import Preprocessing
from trainer.metrics import Goal

Make = Callable[..., SweepSpec]


def test_a_spec_cannot_be_changed(make_spec: Make) -> None:
    spec = make_spec()
    with pytest.raises(ValidationError, match="frozen"):
        spec.seed = 3  # type: ignore[misc]


def test_every_metric_gets_better_in_one_direction() -> None:
    assert METRIC_NAMES == {
        "valid/f1": "maximize",
        "valid/accuracy": "maximize",
        "valid/balanced_accuracy": "maximize",
        "valid/loss": "minimize",
        "valid/log_loss": "minimize",
        "valid/ece": "minimize",
    }


@pytest.mark.parametrize(
    ("name", "own", "field"),
    [
        ("valid/f1", None, "f1"),
        ("valid/log_loss", None, "log_loss"),
        ("my_task.py:weighted_kappa", "my_task.py:weighted_kappa", "metric"),
        (
            "valid/my_task.py:weighted_kappa",
            "my_task.py:weighted_kappa",
            "metric",
        ),  # as W&B's names are written
        ("inner/my_task.py:f", "inner/my_task.py:f", "metric"),
    ],
)
def test_a_metric_of_the_users_own_is_known_by_its_file(
    name: str, own: str | None, field: str
) -> None:
    metric = Metric(name=name, goal=Goal.MAXIMIZE)
    assert (metric.user_function, metric.field) == (own, field)
    assert result_field(name) == field


def test_the_users_functions_are_those_of_metric_backbone_and_loss_each_once(
    make_spec: Make,
) -> None:
    spec = make_spec(
        metric={"name": "my_task.py:kappa", "goal": "maximize"},
        parameters={
            "backbone": {"values": ["resnet18", "nets.py:two_sizes"]},
            "loss": {"values": ["focal", "my_task.py:mae", "my_task.py:kappa"]},
        },
    )
    assert spec.user_functions() == ("my_task.py:kappa", "nets.py:two_sizes", "my_task.py:mae")
    assert make_spec().user_functions() == ()


def test_own_functions_lie_beside_the_search_space(make_spec: Make, tmp_path: Path) -> None:
    assert make_spec().folder == tmp_path


@pytest.mark.parametrize(
    ("entry", "largest"),
    [
        ({"value": 3}, 3),
        ({"values": [2, 9, 4]}, 9),
        ({"min": 2, "max": 8}, 8),
        ({"distribution": "q_uniform", "min": 2, "max": 8, "q": 3}, 8),
        ({"distribution": "q_log_uniform_values", "min": 3, "max": 9, "q": 4}, 8),
        ({"distribution": "q_normal", "mu": 20, "sigma": 2}, 34),
        ({"values": [2, 9], "probabilities": [1, 0]}, 9),
    ],
)
def test_the_largest_number_of_epochs_counts_the_steps(
    make_spec: Make, entry: dict[str, Any], largest: int
) -> None:
    assert make_spec(parameters={"epochs": entry}).max_epochs == largest


def test_without_epochs_in_the_space_their_default_counts_the_steps(make_spec: Make) -> None:
    assert make_spec().max_epochs == TrainConfig().epochs


@pytest.mark.parametrize(
    ("parameters", "choices"),
    [
        ({"lr": {"value": 0.1}}, [Preprocessing((224, 224))]),
        ({"resize": {"value": "8x16"}}, [Preprocessing((8, 16))]),
        (
            {"resize": {"values": [8, "8x16", 32]}},
            [Preprocessing(size) for size in ((8, 8), (8, 16), (32, 32))],
        ),
        ({"resize": {"values": [224, "224", "224x224"]}}, [Preprocessing((224, 224))]),
        (
            {"resize": {"distribution": "q_uniform", "min": 32, "max": 100, "q": 32}},
            [Preprocessing((side, side)) for side in (32, 64, 96)],
        ),
        ({"resize_mode": {"value": "fit"}}, [Preprocessing((224, 224), "fit")]),
        (
            {"crop": {"values": ["none", "face"]}, "background": {"value": "remove"}},
            [Preprocessing((224, 224), "stretch", crop, "remove") for crop in ("none", "face")],
        ),
        (
            {
                "heads": {"value": "separate"},
                "head_crops.mask": {"value": "face"},
                "resize": {"value": 64},
            },
            [Preprocessing((64, 64), "stretch", crop) for crop in ("none", "face")],
        ),
        (
            {
                "heads": {"value": "separate"},
                "head_crops": {"value": {"mask": "face", "age": "box"}},
            },
            [Preprocessing((224, 224), "stretch", crop) for crop in ("none", "box", "face")],
        ),
        (  # where the condition switches it off, only the heads' common crop is seen
            {
                "heads": {"values": ["joint", "separate"]},
                "crop": {"value": "box", "when": {"heads": "joint"}},
                "head_crops.mask": {"value": "face", "when": {"heads": "separate"}},
            },
            [Preprocessing((224, 224), "stretch", crop) for crop in ("box", "none", "face")],
        ),
        (  # the same crop for a head as for the others is no second view
            {"heads": {"value": "separate"}, "head_crops.mask": {"values": ["none", "box"]}},
            [Preprocessing((224, 224), "stretch", crop) for crop in ("none", "box")],
        ),
    ],
)
def test_the_choices_are_those_a_trial_can_ask_for(
    make_spec: Make, parameters: dict[str, Any], choices: list[Preprocessing]
) -> None:
    assert make_spec(parameters=parameters).choices() == tuple(choices)


def test_several_choices_are_multiplied(make_spec: Make) -> None:
    spec = make_spec(
        parameters={
            "resize": {"values": [8, "8x16", "8"]},
            "resize_mode": {"values": ["stretch", "fit", "crop"]},
            "crop": {"values": ["none", "box"]},
            "background": {"values": ["keep", "remove"]},
        }
    )
    choices = spec.choices()
    assert len(choices) == len(set(choices)) == 2 * 3 * 2 * 2
    assert len({choice.key for choice in choices}) == len(choices)
    assert Preprocessing((8, 16), "crop", "box", "remove") in choices


def test_what_a_trial_samples_is_among_the_choices(make_spec: Make) -> None:
    spec = make_spec(
        parameters={"resize": {"values": ["8x8", 16]}, "resize_mode": {"values": ["fit", "crop"]}}
    )
    configurations = [
        TrainConfig(resize=size, resize_mode=mode)
        for size in ("8x8", 16)
        for mode in ("fit", "crop")
    ]
    assert {config.preprocessing for config in configurations} == set(spec.choices())


@pytest.mark.parametrize(
    "change",
    [
        {"run_cap": 41},
        {"description": "another"},
        {"budget": {"hours": 3}},
        {"resources": {"cpu": 2}},
        {"data": {"source": "elsewhere.csv"}},
        {"data": {"source": "train.csv", "corrections": "fixes.csv", "group": "person"}},
        {"folds": {"k": 2, "file": "folds.npz"}},
        {"program": "train.py"},
        {"method": "bayes"},
        {"metric": {"name": "valid/f1", "goal": "maximize", "target": 0.9}},
        {"folds": {"k": 2, "race": True}},
        {"folds": {"k": 2, "race": {}}},
        {"folds": {"k": 2, "finish": 0}},
        {"folds": {"k": 2, "race": {"error_rate": Race().error_rate}}},
        {"early_terminate": {"type": "none"}},
        {"start_with": [{"lr": 0.01}]},
        {"warm_start": "other"},
        {"keep": 3},
        {"retries": 5},
        {"stuck_after": None},
        {"budget": {"gpu_hours": 3}},
        {"resources": {"cpu": "auto", "gpu": 0.5}},
    ],
)
def test_what_may_change_is_not_in_the_fixed_part(make_spec: Make, change: dict[str, Any]) -> None:
    assert make_spec(**change).fixed_part() == make_spec().fixed_part()


def test_a_sweep_of_an_earlier_version_does_not_name_rare_classes(make_spec: Make) -> None:
    assert "rare" not in make_spec().fixed_part()["folds"]


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 8},
        {"method": "random"},
        {"metric": {"name": "valid/accuracy", "goal": "maximize"}},
        {"metric": {"name": "my_task.py:kappa", "goal": "maximize"}},
        {"folds": {"k": 3}},
        {"folds": {"k": 2, "seed": 1}},
        {"folds": {"k": 2, "holdout": 0.1}},
        {"folds": {"column": "fold"}},
        {"data": {"source": "train.csv", "face_weights": "yunet.onnx"}},
        {"data": {"source": "train.csv", "background_weights": "u2net.onnx"}},
        {"early_terminate": {"type": "median"}},
        {"folds": {"k": 2, "race": False}},
        {"folds": {"k": 2, "race": {"error_rate": 0.4}}},
        {"folds": {"k": 2, "paired_seeds": False}},
        {"folds": {"k": 2, "rare": "train"}},
        {"sampler": "gp"},
        {"parameters": {"lr": {"value": 0.1}}},
    ],
)
def test_what_makes_trials_comparable_is_in_the_fixed_part(
    make_spec: Make, change: dict[str, Any]
) -> None:
    assert make_spec(**change).fixed_part() != make_spec().fixed_part()


def begun(spec: SweepSpec, **about: Any) -> dict[str, Any]:
    """The identity of a stored sweep that began with `spec`."""
    return {"format": 2, "spec": spec.fixed_part(), **about}


def test_trials_of_a_sweep_of_format_1_keep_seeds_of_their_own(make_spec: Make) -> None:
    spec = make_spec()
    assert spec.as_begun(begun(spec)).folds.paired_seeds
    old = spec.as_begun(begun(spec, format=1))
    assert not old.folds.paired_seeds
    assert "paired_seeds" not in old.fixed_part()["folds"]  # which its stored part does not name


@pytest.mark.parametrize(
    ("race", "error_rate", "near_tie"),
    [
        (True, 0.123, 0.25),
        ({"near_tie": 0.5}, 0.123, 0.5),
        ({"error_rate": 0.4, "near_tie": 0.0}, 0.4, 0.0),
    ],
)
def test_what_the_file_does_not_say_about_the_race_is_as_it_was_when_the_sweep_began(
    make_spec: Make, race: bool | dict[str, float], error_rate: float, near_tie: float
) -> None:
    then = make_spec(folds={"k": 2, "race": {"error_rate": 0.123, "near_tie": 0.25}})
    now = make_spec(folds={"k": 2, "race": race}).as_begun(begun(then)).folds.race_rule
    assert now is not None
    assert (now.error_rate, now.near_tie) == (error_rate, near_tie)


@pytest.mark.parametrize(("then", "now"), [(False, True), (True, False)])
def test_a_race_that_was_switched_on_or_off_stays_a_difference(
    make_spec: Make, then: bool, now: bool
) -> None:
    old, new = (make_spec(folds={"k": 2, "race": race}) for race in (then, now))
    assert new.as_begun(begun(old)).fixed_part() == new.fixed_part() != old.fixed_part()


def test_a_sweep_finishes_as_many_trials_as_when_it_began_unless_its_file_says_so(
    make_spec: Make,
) -> None:
    silent, told = make_spec(), make_spec(folds={"k": 2, "finish": 7})
    # an earlier version stored nothing about it
    assert silent.as_begun(begun(silent)).folds.finish == 0
    assert silent.as_begun(begun(silent, finish=3)).folds.finish == 3
    assert told.as_begun(begun(silent, finish=3)).folds.finish == 7


@pytest.mark.parametrize(
    ("changes", "prunes"),
    [
        ({}, True),
        ({"folds": {"k": 2, "race": False}}, False),
        ({"folds": {"k": 2, "race": False}, "early_terminate": {"type": "median"}}, True),
        ({"parameters": {"checkpoint": {"value": "best"}}}, False),
    ],
)
def test_trials_may_be_pruned_by_the_race_or_another_rule(
    make_spec: Make, changes: dict[str, Any], prunes: bool
) -> None:
    assert make_spec(**changes).prunes == prunes


def test_a_choice_that_conditions_switch_off_has_its_default(make_spec: Make) -> None:
    spec = make_spec(
        parameters={
            "resize": {"value": 64},
            "crop": {"values": ["none", "face"]},
            "background": {"value": "remove", "when": {"crop": "none"}},
        }
    )
    assert [choice.key for choice in spec.choices()] == [
        "64x64-stretch-remove",
        "64x64-stretch-face",
    ]


def test_epochs_that_conditions_switch_off_count_with_their_default(make_spec: Make) -> None:
    """Else steps of different folds would meet: step = fold x E + epoch."""
    spec = make_spec(
        parameters={
            "optimizer": {"values": ["adam", "sgd"]},
            "epochs": {"value": 2, "when": {"optimizer": "adam"}},
        }
    )
    assert spec.max_epochs == TrainConfig().epochs


def test_the_reachable_values_follow_the_conditions_and_leave_out_what_is_switched_off(
    make_spec: Make,
) -> None:
    spec = make_spec(
        parameters={
            "lr": {"min": 0.1, "max": 0.2},
            "loss": {"values": ["focal", "mixture"]},
            "loss_mix.focal": {"values": [0.5, 1.0], "when": {"loss": "mixture"}},
            "loss_mix.soft_f1": {"value": 0.4, "when": {"loss": "mixture"}},
        }
    )
    assert list(spec.reachable("loss_mix")) == [
        {},
        {"loss_mix.focal": 0.5, "loss_mix.soft_f1": 0.4},
        {"loss_mix.focal": 1.0, "loss_mix.soft_f1": 0.4},
    ]
    assert list(spec.reachable("loss")) == [{"loss": "focal"}, {"loss": "mixture"}]
    assert list(spec.reachable("resize")) == [{}]


@pytest.mark.parametrize(
    ("given", "names"), [("a", ("a",)), (["a", "b", "a"], ("a", "b")), ([], ())]
)
def test_one_sweep_to_learn_from_may_stand_without_brackets(
    make_spec: Make, given: str | list[str], names: tuple[str, ...]
) -> None:
    assert make_spec(warm_start=given).warm_start == names


@pytest.mark.parametrize("cpu", [0.5, 3, "auto"])
def test_a_trial_may_get_a_share_of_a_cpu_or_what_its_gpu_brings(
    make_spec: Make, cpu: float | str
) -> None:
    assert make_spec(resources={"cpu": cpu}).resources.cpu == cpu


def test_a_law_without_bounds_is_reachable_where_it_lies(make_spec: Make) -> None:
    spec = make_spec(parameters={"lr": {"distribution": "normal", "mu": 0.5, "sigma": 0.05}})
    assert [point["lr"] for point in spec.reachable("lr", ends=True)] == pytest.approx(
        [0.5 - 0.0822, 0.5 + 0.0822], abs=1e-3
    )
