"""What a sweep would rank although it is an artefact, and no property of what was chosen.

Three kinds are found: trainings that end while their learning rate is still high, rare classes that
are favoured twice, and choices that cannot differ.
"""

import itertools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import pydantic

from sweeps.space.domains import Categorical, Constant, Domain, Numeric, short
from sweeps.space.parameters import Parameter, Space, Values
from sweeps.space.spec import SweepSpec
from trainer.config import TrainConfig, nested
from trainer.learning.schedules import FEEDBACK, lr_at
from trainer.seeds import derive
from trainer.training.likeness import COMPARED, weights_after

HIGH = 0.25  # a last rate above this share of lr counts as high
FINE = 1_000  # steps per epoch, as if training were nearly continuous
MAX_SCHEDULES = 5_000  # at most this many configurations of a schedule are looked at
COMMON = ("scheduler", "epochs", "warmup_epochs", "lr")
# the fields that decide where the rate of a scheduler ends, and what to do about a high end
ENDS = {
    "step": (("step_epochs", "step_gamma"), "leave step_epochs out, or make it smaller"),
    "multistep": (("milestones", "step_gamma"), "give milestones that lie before the last epoch"),
    "exponential": (("epoch_gamma",), "leave epoch_gamma out, or make it smaller"),
    "cosine": (
        ("min_lr", "restart_epochs", "restart_factor"),
        "leave min_lr and restart_epochs out, or let a cycle end with the last epoch",
    ),
    "one_cycle": (("rise",), "lower rise"),
    "cyclic": (
        ("cycle_epochs", "base_lr"),
        "leave cycle_epochs and base_lr out, or let a cycle end with the last epoch",
    ),
}
COMBINATIONS = 12  # of the other parameters' values, in which choices are compared
# The epochs of a training, and in how many combinations. Two steps (one epoch) show nearly every
# difference; choices that are still alike train longer, because some optimizers do a part of their
# work only every few steps.
TRAINED = ((1, COMBINATIONS), (6, 3))

Weights = Callable[[int, TrainConfig], str | None]


def artefacts(spec: SweepSpec) -> Iterator[str]:
    """Yield a warning for each artefact that the search space would make the sweep rank.

    Raises:
        DataError: the cache folder cannot be written.
    """
    yield from high_ends(spec)
    yield from favoured_twice(spec)
    yield from choices_alike(
        spec.space,
        lambda epochs, config: weights_after(config, epochs=epochs, code=spec.folder),
        seed=spec.seed,
    )


def high_ends(spec: SweepSpec) -> Iterator[str]:
    """Yield a warning for each scheduler whose learning rate is high in the last step.

    A scheduler that depends on the losses is left out, and so is `none`, whose rate never moves.
    """
    deciding = tuple(field for fields, _ in ENDS.values() for field in fields)
    highest: dict[str, tuple[float, TrainConfig]] = {}
    points = spec.reachable(*COMMON, *deciding)
    for values in itertools.islice(points, MAX_SCHEDULES):
        config = _config(values)
        if config is None or config.scheduler in ("none", *FEEDBACK):
            continue
        name = config.scheduler
        last = config.epochs * FINE - 1
        share = lr_at(config, step=last, steps_per_epoch=FINE, curve=()) / config.lr
        if share > max(HIGH * (1 + 1e-9), highest.get(name, (0.0, config))[0]):
            highest[name] = share, config
    for scheduler, (share, config) in highest.items():
        fields, advice = ENDS[scheduler]
        settled = config.settled()
        shown = ", ".join(f"{field}={getattr(settled, field)}" for field in ("epochs", *fields))
        advice = "give it more epochs" if config.epochs == 1 else advice
        yield (
            f"scheduler {scheduler}: the learning rate ends at {share:.0%} of lr ({shown}), so "
            f"weights are scored while they still move fast: {advice}"
        )


def favoured_twice(spec: SweepSpec) -> Iterator[str]:
    """Yield a warning if trials can have balanced sampling and class weights at once."""
    both = {
        values["class_weights"]
        for values in spec.reachable("sampling", "class_weights")
        if values.get("sampling") == "balanced" and values.get("class_weights", "none") != "none"
    }
    if both:
        yield (
            f"sampling: balanced with class_weights: {' or '.join(sorted(both))} favours rare "
            "classes twice, by how often they are drawn and by their weight. Use one of the two, "
            "e.g. class_weights with when: {sampling: shuffled}"
        )


def choices_alike(space: Space, weights: Weights, *, seed: int) -> Iterator[str]:
    """Yield a warning for each parameter with choices that gave the same weights everywhere.

    All fields that `trainer.training.likeness` compares are judged; of a range its two ends.

    Args:
        weights: returns what identifies the weights that a configuration gives after a number of
            epochs, or None if the training failed.
        seed: the seed of the combinations of the other parameters.
    """
    for parameter in space.varying():
        if parameter.name.partition(".")[0] not in COMPARED:
            continue
        combinations = list(_combinations(space, parameter, seed=seed))
        groups = [list(_choices(parameter.domain))]
        for epochs, count in TRAINED:
            groups = _still_alike(
                space, parameter, groups, combinations[:count], partial(weights, epochs)
            )
        for group in groups:
            names = [short(value) if isinstance(value, float) else str(value) for value in group]
            yield (
                f"{parameter.name}: {', '.join(names[:-1])} and {names[-1]} cannot differ: trained "
                "on made-up images they gave the same weights, bit for bit, whatever the other "
                f"parameters were. {_advice(parameter)}"
            )


def _advice(parameter: Parameter) -> str:
    if isinstance(parameter.domain, Numeric):
        return "Leave it out, or give it a condition (when) under which it counts"
    return "Keep one of them, or let a parameter vary that tells them apart"


def _choices(domain: Domain) -> Sequence[Any]:
    assert not isinstance(domain, Constant)
    if isinstance(domain, Categorical):
        return domain.values
    ends = (0.0, 1.0) if domain.law is None else (0.05, 0.95)
    return tuple(dict.fromkeys(map(domain.draw, ends)))


def _still_alike(
    space: Space,
    parameter: Parameter,
    groups: list[list[Any]],
    combinations: Sequence[Values],
    weights: Callable[[TrainConfig], str | None],
) -> list[list[Any]]:
    """Split groups of choices by the weights that they give, in one combination after another.

    Returns:
        The groups of two or more choices that no combination told apart. No group is left if no
        combination could be trained, because nothing is known then.
    """
    tried = False
    for others in combinations:
        groups = [group for group in groups if len(group) > 1]
        found = [
            [_weights_of(space, parameter, value, others, weights) for value in group]
            for group in groups
        ]
        if any(answer is None for answers in found for answer in answers):
            continue
        tried = True
        groups = [
            [value for value, answer in zip(group, answers, strict=True) if answer == common]
            for group, answers in zip(groups, found, strict=True)
            for common in dict.fromkeys(answers)
        ]
    return [group for group in groups if len(group) > 1] if tried else []


def _weights_of(
    space: Space,
    parameter: Parameter,
    value: Any,
    others: Mapping[str, Any],
    weights: Callable[[TrainConfig], str | None],
) -> str | None:
    """What identifies the weights that a choice gives; None if it cannot be trained."""
    values = space.resolve(lambda p: value if p.name == parameter.name else others[p.name])
    config = _config(values)
    return None if config is None or parameter.name not in values else weights(config)


def _config(values: Values) -> TrainConfig | None:
    """The configuration with these values, or None if a trial with them would fail."""
    try:
        # the metric belongs to the sweep; a configuration that monitors it needs a name of one
        return TrainConfig(**nested({**values, "metric": "any.py:metric"}))
    except pydantic.ValidationError:
        return None


def _combinations(space: Space, parameter: Parameter, *, seed: int) -> Iterator[Values]:
    """Values of all other parameters, such that `parameter` is active.

    The combinations are a Latin hypercube: of every parameter, each part of its domain occurs
    equally often. A parameter that a condition names has only the values that the condition allows.
    """
    needed = dict(_conditions(space, parameter))
    columns: dict[str, list[Any]] = {}
    for other in space.varying():
        rng = random.Random(derive(seed, "alike", parameter.name, other.name))
        order = rng.sample(range(COMBINATIONS), COMBINATIONS)
        allowed = needed.get(other.name)
        if allowed is None and isinstance(other.domain, Categorical):
            allowed = other.domain.values
        columns[other.name] = (
            [other.domain.draw((index + 0.5) / COMBINATIONS) for index in order]
            if allowed is None
            else [allowed[index % len(allowed)] for index in order]
        )
    for row in range(COMBINATIONS):
        yield {name: column[row] for name, column in columns.items()}


def _conditions(space: Space, parameter: Parameter) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """The names in the conditions of a parameter, and of the parameters that they name."""
    for name, allowed in parameter.when:
        yield name, allowed
        yield from _conditions(space, space[name])
