"""Which points of a search space are rehearsed, and what their failures say about it."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from sweeps.preparing.rehearsal import Combination, Found, combinations, rehearse_space
from sweeps.space.spec import SweepSpec
from tests.rehearsals import measured
from trainer.config import TrainConfig
from trainer.training.rehearsed import Outcome, Refused

MakeSpec = Callable[..., SweepSpec]
PARAMETERS = {
    "backbone": {"values": ["test_resnet", "test_vit"]},
    "resize": {"values": [8, 16, 24]},
    "batch_size": {"values": [2, 4]},
}


class Stage:
    """Rehearses by a rule: a step takes a second per pixel; keeps what was asked."""

    def __init__(self, rule: Callable[[TrainConfig], Refused | None] = lambda config: None) -> None:
        self.configs: list[TrainConfig] = []
        self._rule = rule

    def __call__(self, config: TrainConfig, seconds: float) -> Outcome:
        self.configs.append(config)
        return self._rule(config) or measured(image_s=float(Combination.of(config).pixels))

    @property
    def asked(self) -> list[Combination]:
        return list(map(Combination.of, self.configs))


def rehearsed(spec: SweepSpec, stage: Stage, *, seconds: float = 1e9) -> Found:
    """Each look at the clock takes a second."""
    counter = itertools.count()
    return rehearse_space(
        spec, stage, seconds=seconds, each_s=0.5, clock=lambda: float(next(counter))
    )


def of(backbone: str, side: int, batch_size: int) -> Combination:
    return Combination(backbone, side, side, batch_size)


def test_the_extremes_of_each_backbone_come_first(make_spec: MakeSpec) -> None:
    spec = make_spec(parameters=PARAMETERS)
    order = combinations(spec)
    assert order[:4] == [
        of("test_resnet", 24, 4),
        of("test_vit", 24, 4),
        of("test_resnet", 8, 2),
        of("test_vit", 8, 2),
    ]
    assert len(order) == len(set(order)) == 12


def test_sizes_with_two_sides_and_ends_of_ranges_are_combinations(make_spec: MakeSpec) -> None:
    parameters = {"resize": {"values": ["8x16"]}, "batch_size": {"min": 2, "max": 9}}
    assert {
        (each.size, each.batch_size) for each in combinations(make_spec(parameters=parameters))
    } == {
        ("8x16", 2),
        ("8x16", 9),
    }


def test_only_combinations_that_conditions_allow_are_rehearsed(make_spec: MakeSpec) -> None:
    parameters = {
        **PARAMETERS,
        "resize": {"values": [16, 24], "when": {"backbone": "test_resnet"}},
        "batch_size": {"value": 4},
    }
    stage = Stage()
    found = rehearsed(make_spec(parameters=parameters), stage)
    assert {(each.backbone, each.size) for each in stage.asked} == {
        ("test_resnet", "16"),
        ("test_resnet", "24"),
        ("test_vit", "224"),
    }
    assert not found.untried


def test_every_choice_and_both_ends_of_every_range_are_rehearsed(make_spec: MakeSpec) -> None:
    parameters = {
        "backbone": {"value": "test_resnet"},
        "resize": {"value": 8},
        "optimizer": {"values": ["adamw", "sgd", "madgrad", "adam"]},
        "momentum": {"min": 0.5, "max": 0.9, "when": {"optimizer": "sgd"}},
        "scheduler": {"values": ["cosine", "step", "one_cycle"]},
        "loss": {"values": ["cross_entropy", "focal"]},
        "flip": {"values": [0.0, 0.5]},
        "lr": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-1},
    }
    stage = Stage()
    found = rehearsed(make_spec(parameters=parameters), stage)
    for name, values in {
        "optimizer": {"adamw", "sgd", "madgrad", "adam"},
        "scheduler": {"cosine", "step", "one_cycle"},
        "loss": {"cross_entropy", "focal"},
        "flip": {0.0, 0.5},
    }.items():
        assert {getattr(config, name) for config in stage.configs} == values
    momenta = {config.momentum for config in stage.configs if config.optimizer == "sgd"}
    assert (min(momenta), max(momenta)) == (0.5, pytest.approx(0.9))
    rates = {config.lr for config in stage.configs}
    assert (min(rates), max(rates)) == (pytest.approx(1e-4), pytest.approx(1e-1))
    assert found.untried_values == 0
    assert len(stage.configs) <= 6  # several new choices at once


def test_a_combination_is_rehearsed_three_times_with_other_values(make_spec: MakeSpec) -> None:
    stage = Stage()
    found = rehearsed(make_spec(), stage)
    assert {len(several) for several in found.measured.values()} == {3}
    stage = Stage()
    found = rehearsed(make_spec(parameters=PARAMETERS), stage)  # nothing else varies
    assert {len(several) for several in found.measured.values()} == {1}


def test_a_choice_that_fails_is_a_problem_with_its_place(make_spec: MakeSpec) -> None:
    def rule(config: TrainConfig) -> Refused | None:
        return Refused("error", "KeyError: 'exp_avg'") if config.optimizer == "sgd" else None

    found = rehearsed(make_spec(), Stage(rule))
    (problem,) = found.problems
    assert problem.path == ("parameters", "optimizer", "values", 1)
    assert problem.text == "sgd: KeyError: 'exp_avg'"
    assert not found.warnings


def test_two_choices_that_fail_alike_are_two_problems(make_spec: MakeSpec) -> None:
    parameters = {
        "resize": {"value": 8},
        "optimizer": {"values": ["adam", "sgd", "adamw", "madgrad"]},
        "loss": {"values": ["cross_entropy", "focal"]},
    }

    def rule(config: TrainConfig) -> Refused | None:
        bad = config.optimizer in ("sgd", "madgrad")
        return Refused("error", "not implemented") if bad else None

    found = rehearsed(make_spec(parameters=parameters), Stage(rule))
    assert {problem.path[-1] for problem in found.problems} == {1, 3}
    assert not found.warnings


def test_choices_that_fail_only_together_are_a_warning(make_spec: MakeSpec) -> None:
    parameters = {
        "resize": {"value": 8},
        "loss": {"values": ["cross_entropy", "focal"]},
        "optimizer": {"values": ["adam", "sgd"]},
    }

    def rule(config: TrainConfig) -> Refused | None:
        both = config.loss == "focal" and config.optimizer == "sgd"
        return Refused("error", "these two") if both else None

    warned = 0
    for seed in range(8):  # which of the points come first is drawn
        found = rehearsed(make_spec(parameters=parameters, seed=seed), Stage(rule))
        assert not found.problems
        warned += found.warnings == ["a trial with loss=focal, optimizer=sgd would fail: these two"]
    assert warned


def test_a_choice_that_has_worked_is_not_tried_again_to_find_who_is_to_blame(
    make_spec: MakeSpec,
) -> None:
    parameters = {"resize": {"value": 8}, "optimizer": {"values": ["adam", "sgd"]}}
    calls = itertools.count(1)

    def rule(config: TrainConfig) -> Refused | None:
        return Refused("error", "once") if next(calls) == 3 else None

    stage = Stage(rule)
    found = rehearsed(make_spec(parameters=parameters), stage)
    assert [warning.endswith("would fail: once") for warning in found.warnings] == [True]
    assert len(stage.configs) == 4  # three that worked, and the one that failed


def test_a_loss_that_is_not_finite_is_a_warning(make_spec: MakeSpec) -> None:
    def rule(config: TrainConfig) -> Refused | None:
        return Refused("loss", "the training loss is nan") if config.lr > 0.09 else None

    found = rehearsed(make_spec(), Stage(rule))
    assert not found.problems
    (warning,) = found.warnings
    assert warning.endswith("would fail: the training loss is nan")
    assert "lr=0.0999" in warning


def test_values_that_are_no_configuration_fail_without_a_rehearsal(make_spec: MakeSpec) -> None:
    parameters = {
        "resize": {"value": 8},
        "epochs": {"value": 3},
        "scheduler": {"value": "cosine"},
        "warmup_epochs": {"values": [0.5, 4]},
    }
    stage = Stage()
    found = rehearsed(make_spec(parameters=parameters), stage)
    (problem,) = found.problems
    assert problem.path == ("parameters", "warmup_epochs", "values", 1)
    assert problem.text == (
        "4: warmup_epochs must be below epochs, got warmup_epochs=4.0 and epochs=3"
    )
    assert {config.warmup_epochs for config in stage.configs} == {0.5}


def test_if_nothing_works_the_reason_is_told_once(make_spec: MakeSpec) -> None:
    found = rehearsed(make_spec(), Stage(lambda config: Refused("error", "no such op")))
    (problem,) = found.problems
    assert (problem.path, problem.text) == (("parameters",), "no such op")
    assert not found.measured


def test_what_does_not_fit_into_memory_is_no_problem_and_not_tried_again(
    make_spec: MakeSpec,
) -> None:
    def rule(config: TrainConfig) -> Refused | None:
        big = config.size_HW[0] * config.batch_size > 60
        return Refused("memory", "CUDA out of memory") if big else None

    stage = Stage(rule)
    found = rehearsed(make_spec(parameters={**PARAMETERS, "flip": {"values": [0, 0.5]}}), stage)
    assert set(found.too_large) == {
        of(backbone, side, 4) for backbone in ("test_resnet", "test_vit") for side in (16, 24)
    }
    assert all(stage.asked.count(each) == 1 for each in found.too_large)
    assert not found.problems
    assert not found.warnings


def test_when_the_time_is_up_the_rest_is_named(make_spec: MakeSpec) -> None:
    stage = Stage()
    found = rehearsed(
        make_spec(parameters={**PARAMETERS, "flip": {"values": [0, 0.5]}}), stage, seconds=0
    )
    assert stage.asked == [of("test_resnet", 24, 4)]  # one is always rehearsed
    assert len(found.untried) == 11
    assert found.untried_values == 1


def test_the_points_are_those_of_the_seed(make_spec: MakeSpec) -> None:
    def points(**changes: Any) -> list[str]:
        stage = Stage()
        rehearsed(make_spec(**changes), stage)
        return [config.model_dump_json() for config in stage.configs]

    assert points() == points()
    assert points(seed=1) != points(seed=2)
