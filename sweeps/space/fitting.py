"""Makes the parameters of other files fit our fields: their names, their values, their ranges.

What `as_meant` reads is another spelling of the same. Here a value may become another one, so only
`sweeps check --fix` does it, and tells each change.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from sweeps.space.as_meant import value_as_meant
from sweeps.space.fields import (
    RESERVED,
    field_problem,
    field_problems,
    field_type,
    parameter_names,
    unknown_parameter,
)
from sweeps.space.kinds import whole
from sweeps.space.language import read_space
from sweeps.space.synonyms import meaning_of, nearest, word
from sweeps.space.yaml_file import read_scalar
from trainer.fields.declare import is_user_function
from trainer.model.timm_names import canonical_backbone, check_backbone, check_optimizer

# what a switch that is on means where ours is a probability, or the decay of an average
ON = {
    "blur": 0.2,
    "cutmix": 0.5,
    "ema": 0.999,
    "erasing": 0.25,
    "flip": 0.5,
    "flip_vertical": 0.5,
    "grey": 0.1,
    "jitter": 0.5,
    "mixup": 0.5,
    "trivial": 1.0,
}
OFF = (*ON, "clip_norm", "dropout", "smoothing", "weight_decay")  # 0 switches them off
SMOOTHABLE = ("loss", "cross_entropy")
NOTHING = (False, None, "None", "none")
SWITCHES = ("class_weights", "normalise", "weights")  # fields of words where 1 and 0 are switches
# a family of networks -> the member that is commonly meant; none of the families is a timm model
FAMILIES = {
    "convnext": "convnext_tiny",
    "deit": "deit_small_patch16_224",
    "deit_base": "deit_base_patch16_224",
    "deit_small": "deit_small_patch16_224",
    "deit_tiny": "deit_tiny_patch16_224",
    "densenet": "densenet121",
    "efficientnet": "efficientnet_b0",
    "efficientnetv2": "tf_efficientnetv2_s",
    "inception": "inception_v3",
    "mobilenet": "mobilenetv3_large_100",
    "regnet": "regnety_016",
    "resnet": "resnet50",
    "resnext": "resnext50_32x4d",
    "swin": "swin_tiny_patch4_window7_224",
    "swin_base": "swin_base_patch4_window7_224",
    "swin_large": "swin_large_patch4_window7_224",
    "swin_small": "swin_small_patch4_window7_224",
    "swin_tiny": "swin_tiny_patch4_window7_224",
    "vgg": "vgg16",
    "vit": "vit_base_patch16_224",
    "vit_base": "vit_base_patch16_224",
    "vit_large": "vit_large_patch16_224",
    "vit_small": "vit_small_patch16_224",
    "vit_tiny": "vit_tiny_patch16_224",
    "wide_resnet": "wide_resnet50_2",
}
# schedules of others -> ours that is nearest: a warmup is a parameter of its own here
SCHEDULES = {
    **dict.fromkeys(("cosbase", "cosinewarmup", "cosinewithwarmup", "tfcosine"), "cosine"),
    **dict.fromkeys(("cosineannealingwarmup", "cosineannealingwarmuprestarts"), "cosine"),
    **dict.fromkeys(("linearwarmupcosineannealing", "warmupcosine", "warmupcosinelr"), "cosine"),
    "constantwithwarmup": "none",
    "plateaureduce": "plateau",
}
SEEDS = ("seed", "random_seed", "manual_seed", "random_state")
FOLDS = (
    *("cv", "cv_folds", "k_fold", "k_folds", "n_fold", "n_folds", "n_splits", "num_fold"),
    *("num_folds", "num_splits"),
)
ONE_FOLD = ("fold", "fold_id", "fold_number", "folds")  # a list of them: all folds
# distributions of W&B -> those that give whole numbers
OF_WHOLE_NUMBERS = {
    "uniform": "int_uniform",
    "log_uniform_values": "q_log_uniform_values",
    "log_uniform": "q_log_uniform",
    "normal": "q_normal",
    "log_normal": "q_log_normal",
}
ABOVE_ZERO = 1000  # a range that may not begin at 0 begins at this part of its end
BELOW_ONE = 0.99  # where a range that may not end at 1 ends


def field_of(name: str) -> str | None:
    """The parameter of ours that a name stands for, if that is sure.

    Example:
        >>> field_of("optimizer.learning_rate"), field_of("backbon"), field_of("gamma")
        ('lr', 'backbone', None)
    """
    if field_type(name) is not None and name not in RESERVED:
        return name
    meaning = meaning_of(name)
    if meaning is not None:
        return meaning.field
    near = nearest(name.rpartition(".")[2], parameter_names())
    return near[0] if len(near) == 1 and name not in RESERVED else None


def field_of_values(name: str, values: Iterable[Any]) -> str | None:
    """The parameter of ours that a name unknown to us stands for, if its values show it.

    Example:
        >>> field_of_values("dino_model", ["vit_base_patch16_dinov3"])
        'backbone'
    """
    if field_type(name) is not None or name in RESERVED or meaning_of(name) is not None:
        return None
    texts = [value_as_meant("backbone", value) for value in values if isinstance(value, str)]
    return "backbone" if any(value_problem("backbone", text) is None for text in texts) else None


@dataclasses.dataclass(frozen=True)
class Moved:
    """A parameter of others that is a key of the top level here, its line, and the reason."""

    key: str
    line: str
    why: str


def moved_to_top(name: str, value: Any, values: Any) -> Moved | None:
    """What a parameter with this constant `value`, or these `values`, is at the top level.

    Example:
        >>> moved_to_top("n_folds", 5, None).line
        'folds: {k: 5}\\n'
    """
    last = name.rpartition(".")[2].lower()
    if last in SEEDS and type(value) is int:
        return Moved("seed", f"seed: {value}\n", "it is the top-level key seed")
    listed = values if isinstance(values, list) else []
    k = value if last in FOLDS else len(listed) if last in ONE_FOLD else None
    if type(k) is int and k > 1:
        why = "each trial trains all folds; the top-level key folds says how many"
        return Moved("folds", f"folds: {{k: {k}}}\n", why)
    return None


def why_not(name: str) -> str:
    """Why a name is none of our parameters."""
    why = RESERVED.get(name) or unknown_parameter(name).removeprefix("unknown parameter. ")
    return f"{why[0].lower()}{why[1:]}"


def fitted_value(field: str, value: Any, *, smoothed: bool = False) -> Any:
    """A value as its field takes it: in our words, and a switch as the number that it stands for.

    Args:
        smoothed: the file smooths labels, which for others is an option of cross entropy.

    Example:
        >>> fitted_value("flip", True), fitted_value("dropout", None), fitted_value("dropout", 0.5)
        (0.5, 0.0, 0.5)
    """
    if field in SWITCHES and type(value) is int and value in (0, 1):
        value = bool(value)
    if field in ON and value is True:
        return ON[field]
    if field in OFF and any(value is nothing or value == nothing for nothing in NOTHING):
        return 0.0 if isinstance(value, str | bool | None) else value
    meant = value_as_meant(field, value)
    if isinstance(meant, str):
        if field == "backbone":
            return FAMILIES.get(meant, meant)
        if field == "scheduler":
            return SCHEDULES.get(word(meant), meant)
    return "label_smoothing" if smoothed and (field, meant) == SMOOTHABLE else meant


def argument_value(text: str) -> Any:
    """The value of an argument: a number or a switch if it reads like one, else its text."""
    try:
        value = read_scalar(text)
    except ValueError:
        return text
    return value if isinstance(value, int | float) else text


def value_problem(field: str, value: Any) -> str | None:
    """Why a field does not take a value, names that timm does not know included; or None."""
    problem = field_problem(field, value)
    if problem is None and field in _TIMM and not is_user_function(value):
        name = canonical_backbone(value) if field == "backbone" else value
        problem = _TIMM[field](name) and f"timm has no {field} {value!r}"
    return problem


# for a field of names of timm: what is wrong with a name
_TIMM = {"backbone": check_backbone, "optimizer": check_optimizer}


def fitted_range(field: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a range that its field does not take, with what it takes.

    Example:
        >>> fitted_range("lr", {"distribution": "uniform", "min": 0, "max": 0.1})
        {'min': 0.0001}
        >>> fitted_range("epochs", {"distribution": "uniform", "min": 5.0, "max": 20})
        {'distribution': 'int_uniform', 'min': 5}
    """
    changed: dict[str, Any] = {}
    low = entry.get("min")
    high = entry.get("max")
    kind = entry.get("distribution")
    of_whole_numbers = field_type(field) is int
    if of_whole_numbers:
        if kind in OF_WHOLE_NUMBERS:
            changed["distribution"] = OF_WHOLE_NUMBERS[kind]
        # the bounds of the deprecated distributions are exponents
        for key in ("q",) if kind in ("log_uniform", "q_log_uniform") else ("min", "max", "q"):
            number = entry.get(key)
            if isinstance(number, float) and isinstance(whole(number), int):
                changed[key] = whole(number)
    if low == 0 and isinstance(high, int | float) and field_problem(field, low) is not None:
        changed["min"] = 1 if of_whole_numbers else float(f"{high / ABOVE_ZERO:.3g}")
    if high == 1 and not of_whole_numbers and field_problem(field, high) is not None:
        changed["max"] = BELOW_ONE
    return changed


def entry_problem(field: str, entry: Any) -> str | None:
    """Why a field does not take the entry of a parameter; None if it does, or it is no entry."""
    space, problems = read_space({field: entry})
    if problems:
        return None
    found = [problem.text for problem in field_problems(space)]
    found += [
        problem
        for value in (space.values_of(field) if field in _TIMM and not found else ())
        if (problem := value_problem(field, value))
    ]
    return next(iter(found), None)
