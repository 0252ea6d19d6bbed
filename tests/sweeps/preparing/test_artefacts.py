"""Warnings about schedules that end high, and about choices that cannot differ."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sweeps.preparing.artefacts import (
    COMBINATIONS,
    artefacts,
    choices_alike,
    favoured_twice,
    high_ends,
)
from sweeps.space.language import read_space
from sweeps.space.spec import SweepSpec
from sweeps.space.spec_reader import read_spec
from trainer.config import TrainConfig

ROOT = Path(__file__).parents[3]
HEAD = """\
name: toy
metric: {name: valid/f1, goal: maximize}
run_cap: 10
data: {source: train.csv}
parameters:
"""
Read = Callable[..., SweepSpec]


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Read:
    """A search space with these parameters, one a line."""
    monkeypatch.setenv("SWEEPS_CACHE", str(tmp_path / "cache"))
    torch.set_num_threads(1)

    def read(*parameters: str) -> SweepSpec:
        (tmp_path / "space.yaml").write_text(HEAD + "".join(f"  {line}\n" for line in parameters))
        return read_spec(tmp_path / "space.yaml")

    return read


# --- rare classes


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        (("sampling: {value: balanced}",), None),
        (("sampling: {value: balanced}", "class_weights: {value: none}"), None),
        (("class_weights: {value: balanced}",), None),
        (
            ("sampling: {value: balanced}", "class_weights: {value: balanced}"),
            "class_weights: balanced",
        ),
        (
            (
                "sampling: {values: [shuffled, balanced]}",
                "class_weights: {values: [none, effective_number, balanced]}",
            ),
            "class_weights: balanced or effective_number",
        ),
        (
            (
                "sampling: {values: [shuffled, balanced]}",
                "class_weights: {values: [none, balanced], when: {sampling: shuffled}}",
            ),
            None,
        ),
    ],
)
def test_rare_classes_that_are_favoured_twice_are_a_warning(read: Read, parameters, told):
    expected = f"sampling: balanced with {told} favours rare classes twice, by how often they are "
    expected += "drawn and by their weight. Use one of the two, "
    expected += "e.g. class_weights with when: {sampling: shuffled}"
    assert list(favoured_twice(read(*parameters))) == ([expected] if told else [])


# --- where the learning rate ends


@pytest.mark.parametrize(
    ("parameters", "end", "advice"),
    [
        (
            ("scheduler: {value: cyclic}", "cycle_epochs: {value: 2}"),
            "cyclic: the learning rate ends at 100% of lr "
            "(epochs=5, cycle_epochs=2.0, base_lr=1e-05)",
            "leave cycle_epochs and base_lr out, or let a cycle end with the last epoch",
        ),
        (
            ("scheduler: {value: cyclic}", "base_lr: {value: 5e-4}"),
            "cyclic: the learning rate ends at 50% of lr "
            "(epochs=5, cycle_epochs=2.5, base_lr=0.0005)",
            "leave cycle_epochs and base_lr out, or let a cycle end with the last epoch",
        ),
        (
            ("scheduler: {value: step}", "step_epochs: {value: 7}"),
            "step: the learning rate ends at 100% of lr (epochs=5, step_epochs=7, step_gamma=0.1)",
            "leave step_epochs out, or make it smaller",
        ),
        (
            ("scheduler: {value: multistep}", "milestones: {value: [5]}"),
            "multistep: the learning rate ends at 100% of lr "
            "(epochs=5, milestones=[5.0], step_gamma=0.1)",
            "give milestones that lie before the last epoch",
        ),
        (
            ("scheduler: {value: exponential}", "epoch_gamma: {value: 0.9}"),
            "exponential: the learning rate ends at 66% of lr (epochs=5, epoch_gamma=0.9)",
            "leave epoch_gamma out, or make it smaller",
        ),
        (
            ("scheduler: {value: cosine}", "restart_epochs: {value: 2}"),
            "cosine: the learning rate ends at 50% of lr "
            "(epochs=5, min_lr=0.0, restart_epochs=2.0, restart_factor=1.0)",
            "leave min_lr and restart_epochs out, or let a cycle end with the last epoch",
        ),
        (
            ("scheduler: {value: step}", "epochs: {value: 1}"),
            "step: the learning rate ends at 100% of lr (epochs=1, step_epochs=1, step_gamma=0.1)",
            "give it more epochs",
        ),
        (  # with five epochs a whole cycle fits, with six it does not
            ("scheduler: {value: cyclic}", "cycle_epochs: {value: 5}", "epochs: {min: 5, max: 6}"),
            "cyclic: the learning rate ends at 41% of lr "
            "(epochs=6, cycle_epochs=5.0, base_lr=1e-05)",
            "leave cycle_epochs and base_lr out, or let a cycle end with the last epoch",
        ),
    ],
)
def test_a_rate_that_ends_high_is_told_with_what_to_do(
    read: Read, parameters: tuple[str, ...], end: str, advice: str
) -> None:
    base = () if "base_lr" in " ".join(parameters) else ("base_lr: {value: 1e-5}",)
    assert list(high_ends(read(*parameters, *base))) == [
        f"scheduler {end}, so weights are scored while they still move fast: {advice}"
    ]


@pytest.mark.parametrize("epochs", ["{value: 2}", "{values: [3, 5]}", "{min: 6, max: 30}"])
@pytest.mark.parametrize("warmup", ["0", "0.5"])
def test_no_schedule_ends_high_by_default(read: Read, epochs: str, warmup: str) -> None:
    names = "none, step, exponential, cosine, one_cycle, cyclic, plateau, two_stage"
    schedules = f"scheduler: {{values: [{names}]}}"
    spec = read(schedules, f"epochs: {epochs}", f"warmup_epochs: {{value: {warmup}}}")
    assert list(high_ends(spec)) == []


def test_each_scheduler_is_told_once_by_its_highest_end(read: Read) -> None:
    spec = read(
        "scheduler: {values: [step, cosine, none]}",
        "step_epochs: {values: [2, 3, 20], when: {scheduler: step}}",
        "step_gamma: {values: [0.1, 0.5]}",
        "epochs: {values: [4, 10]}",
    )
    (told,) = high_ends(spec)
    assert told.startswith(
        "scheduler step: the learning rate ends at 100% of lr (epochs=4, step_epochs=20, "
    )


def test_a_quarter_is_low(read: Read) -> None:
    drops = ("scheduler: {value: step}", "epochs: {value: 5}", "step_epochs: {value: 2}")
    assert list(high_ends(read(*drops, "step_gamma: {value: 0.5}"))) == []
    assert len(list(high_ends(read(*drops, "step_gamma: {value: 0.51}")))) == 1


# --- choices that cannot differ, by a stand-in for the weights


def alike(raw: dict[str, Any], weights: Callable[[TrainConfig], object]) -> list[str]:
    """The warnings, cut to the names of the choices, if these are the weights."""
    space, problems = read_space(raw)
    assert problems == []

    def answer(epochs: int, config: TrainConfig) -> str | None:
        found = weights(config)
        return None if found is None else str(found)

    told = list(choices_alike(space, answer, seed=0))
    assert all("cannot differ: trained on made-up images" in line for line in told)
    return [line.partition(" cannot differ")[0] for line in told]


MANY = {"optimizer": {"values": ["adam", "adamw", "sgd", "lion"]}}


def test_choices_with_the_same_weights_are_named_together() -> None:
    same = {"adam": 1, "adamw": 1, "sgd": 2, "lion": 2}
    assert alike(MANY, lambda config: same[config.optimizer]) == [
        "optimizer: adam and adamw",
        "optimizer: sgd and lion",
    ]
    assert alike(MANY, lambda config: 1) == ["optimizer: adam, adamw, sgd and lion"]
    assert alike(MANY, lambda config: config.optimizer) == []


def test_one_combination_in_which_they_differ_is_enough() -> None:
    raw = {**MANY, "weight_decay": {"values": [0.0, 0.1, 0.2, 0.5]}}
    told = alike(raw, lambda config: config.weight_decay > 0.4 and config.optimizer)
    assert told == ["weight_decay: 0, 0.1 and 0.2"]


def test_of_a_range_the_ends_are_compared() -> None:
    raw = {"momentum": {"min": 0.8, "max": 0.95}}
    assert alike(raw, lambda config: 1) == ["momentum: 0.8 and 0.95"]
    assert alike(raw, lambda config: config.momentum) == []


def test_a_condition_holds_in_every_combination() -> None:
    """Nested conditions, too; and what another choice switches on comes with it."""
    raw = {
        "loss": {"values": ["cross_entropy", "focal", "soft_f1", "label_smoothing"]},
        "class_weights": {"values": ["none", "effective_number"], "when": {"loss": "focal"}},
        "effective_beta": {"values": [0.9, 0.99], "when": {"class_weights": "effective_number"}},
    }
    seen = []

    def weights(config: TrainConfig) -> object:
        seen.append(config)
        return config.loss, config.class_weights

    assert alike(raw, weights) == ["effective_beta: 0.9 and 0.99"]
    compared = [config for config in seen if config.effective_beta in (0.9, 0.99)]
    assert len(compared) >= 2 * COMBINATIONS
    assert {config.loss for config in compared} == {"focal"}


@pytest.mark.parametrize("name", ["scheduler", "patience", "ema", "clip_norm", "backbone", "flip"])
def test_what_shows_later_or_elsewhere_is_not_judged(name: str) -> None:
    values = {"scheduler": ["none", "cosine"], "backbone": ["resnet18", "resnet50"]}
    assert alike({name: {"values": values.get(name, [0, 1 / 2])}}, lambda config: 1) == []


def test_choices_that_cannot_be_trained_are_not_judged() -> None:
    assert alike(MANY, lambda config: None) == []
    assert alike(MANY, lambda config: None if config.optimizer == "lion" else 1) == []


def test_a_difference_that_comes_after_a_few_steps_is_waited_for() -> None:
    space, _ = read_space(MANY)
    late = choices_alike(space, lambda epochs, config: config.optimizer * (epochs > 1), seed=0)
    assert list(late) == []


# --- both, with real trainings


def test_choices_that_are_one_are_told_and_others_are_not(read: Read) -> None:
    spec = read(
        "optimizer: {values: [adam, adamw]}",
        "weight_decay: {value: 0.0}",
        "loss: {values: [cross_entropy, soft_f1]}",
        "scheduler: {values: [cosine, none]}",
    )
    assert list(artefacts(spec)) == [
        "optimizer: adam and adamw cannot differ: trained on made-up images they gave the same "
        "weights, bit for bit, whatever the other parameters were. "
        "Keep one of them, or let a parameter vary that tells them apart"
    ]


def test_adam_and_adamw_differ_by_default(read: Read) -> None:
    assert list(artefacts(read("optimizer: {values: [adam, adamw]}"))) == []


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(ROOT.glob("search_spaces/*.yaml")), ids=lambda p: p.stem)
def test_the_search_spaces_rank_no_artefact(read: Read, path: Path) -> None:
    assert list(artefacts(read_spec(path))) == []
