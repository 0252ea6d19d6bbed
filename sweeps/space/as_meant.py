"""Reads what a file says in other words than ours: the content in our words, with a note of each.

Only spellings of the same thing are read in another way: `AdamW`, `ResNet50`, `[128, 96]`, a value
that is listed twice, a caption as a name. A parameter with another name is an error (see
`synonyms`), because it would be guessed what its values mean.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from sweeps.space.fields import field_problem, field_type
from sweeps.space.kinds import shown
from sweeps.space.points import KEY as START_WITH
from sweeps.space.sweep_names import sweep_name_of
from trainer.fields.declare import is_user_function
from trainer.fields.network import FREEZE

# what others write for a value of ours: in lower case, without marks between the words
WORDS: dict[str, dict[str, str]] = {
    "weights": {
        **dict.fromkeys(("true", "yes", "default", "imagenet", "imagenet1k"), "pretrained"),
        **dict.fromkeys(("imagenet1kv1", "imagenet1kv2"), "pretrained"),
        **dict.fromkeys(("false", "no", "scratch", "random"), "none"),
    },
    "loss": {
        **dict.fromkeys(("ce", "crossentropyloss", "categoricalcrossentropy"), "cross_entropy"),
        **dict.fromkeys(("sparsecategoricalcrossentropy", "nll", "nllloss"), "cross_entropy"),
        "focalloss": "focal",
        **dict.fromkeys(("labelsmoothingcrossentropy", "labelsmoothingloss"), "label_smoothing"),
        **dict.fromkeys(("f1", "f1loss", "softf1loss"), "soft_f1"),
    },
    "freeze": {"true": "backbone", "false": "none"},
    "class_weights": {"true": "balanced", "false": "none"},
    "normalise": {"true": "backbone", "false": "none"},
    "pooling": dict.fromkeys(("mean", "average", "gap"), "avg"),
    "scheduler": {
        **dict.fromkeys(("cosineannealing", "cosineannealinglr", "coslr", "cos"), "cosine"),
        "steplr": "step",
        "multisteplr": "multistep",
        **dict.fromkeys(("exponentiallr", "exp"), "exponential"),
        "onecyclelr": "one_cycle",
        "cycliclr": "cyclic",
        **dict.fromkeys(("cosineannealingwarmrestarts", "cosinewarmrestarts"), "cosine"),
        **dict.fromkeys(("reducelronplateau", "reduceonplateau", "reduce"), "plateau"),
        **dict.fromkeys(("constant", "constantlr", "no", "false"), "none"),
    },
}
# names of torchvision and Keras -> timm's name of the same architecture
ARCHITECTURES = {
    "efficientnet_v2_s": "tf_efficientnetv2_s",
    "efficientnet_v2_m": "tf_efficientnetv2_m",
    "efficientnet_v2_l": "tf_efficientnetv2_l",
    "inceptionv3": "inception_v3",
    "mnasnet1_0": "mnasnet_100",
    "mobilenet_v2": "mobilenetv2_100",
    "mobilenetv2": "mobilenetv2_100",
    "mobilenet_v3_large": "mobilenetv3_large_100",
    "mobilenetv3large": "mobilenetv3_large_100",
    "mobilenet_v3_small": "mobilenetv3_small_100",
    "mobilenetv3small": "mobilenetv3_small_100",
    "regnet_x_400mf": "regnetx_004",
    "regnet_x_800mf": "regnetx_008",
    "regnet_y_400mf": "regnety_004",
    "regnet_y_800mf": "regnety_008",
    "regnet_y_16gf": "regnety_160",
    "swin_t": "swin_tiny_patch4_window7_224",
    "swin_s": "swin_small_patch4_window7_224",
    "swin_b": "swin_base_patch4_window7_224",
    "swin_v2_t": "swinv2_tiny_window8_256",
    "vit_b_16": "vit_base_patch16_224",
    "vit_b_32": "vit_base_patch32_224",
    "vit_l_16": "vit_large_patch16_224",
}
# other names of an optimizer of timm
OPTIMIZERS = {
    **dict.fromkeys(("nesterov_sgd", "nesterovsgd", "sgd_nesterov", "sgd-nesterov"), "nesterov"),
    **dict.fromkeys(("momentum_sgd", "sgd-m", "sgd_momentum", "sgd-momentum", "sgdm"), "momentum"),
}
# keys whose values are words of the language, which are lower case
LOWER = (("method", ""), ("sampler", ""), ("metric", "goal"), ("early_terminate", "type"))
_PREFIXES = r"(?:hf[-_]hub:)?timm[/:.]|torchvision\.models\.|torch\.optim\.|optim\."
_NUMBERED = r"efficientnet[-_]?(b[0-8])"  # EfficientNetB0, efficientnet-b0
_DEEP = r"(densenet|resnet|vgg)[-_](\d+)"  # ResNet-50
MARKS = r"[\s_.\-]*"  # what may stand between the letters of a word
SIZE = r"[\[(]?\s*(\d+)\s*[xX×*,]\s*(\d+)\s*[\])]?"  # noqa: RUF001  the sign of multiplication


def as_meant(raw: Mapping[str, Any], path: Path) -> tuple[dict[str, Any], list[str]]:
    """The content of a search space in our words, and a note of what is written otherwise.

    Args:
        path: the path of the file, whose stem is the name if the file has none.
    """
    read, notes = _named(raw, path)
    once, twice = listed_once(read)
    meant: dict[str, dict[str, str]] = {}  # for each parameter: what is written -> how it is read
    for keys in LOWER:
        notes += _lowered(once, *keys)
    parameters = once.get("parameters")
    if isinstance(parameters, Mapping):
        once["parameters"] = _parameters(parameters, "", meant)
    points = once.get(START_WITH)
    if isinstance(points, list):
        once[START_WITH] = [_point(point, "", meant) for point in points]
    others = once.get("warm_start")
    if isinstance(others, str | list):
        once["warm_start"] = [
            sweep_name_of(other) if isinstance(other, str) else other
            for other in (others if isinstance(others, list) else [others])
        ]
    for name, words in meant.items():
        size = " (height x width)" if name == "resize" else ""
        is_read = "is read" if len(words) == 1 else "are read"
        notes.append(f"{name}: {', '.join(words)} {is_read} as {', '.join(words.values())}{size}")
    once, again = listed_once(once)  # AdamW and adamw are one value
    return once, [*notes, *twice, *again]


def _lowered(raw: dict[str, Any], section: str, key: str) -> list[str]:
    """Write a word of the language in lower case, and return a note if it was not."""
    values = raw.get(section) if key else raw
    value = values.get(key or section) if isinstance(values, Mapping) else None
    if not isinstance(value, str) or value == value.lower():
        return []
    raw[section] = {**raw[section], key: value.lower()} if key else value.lower()
    name = f"{section}.{key}" if key else section
    return [f"{name}: {value} is read as {value.lower()}"]


def listed_once(raw: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The content of a file with each value of a parameter once, and a note of each repetition.

    A repeated value has the sum of its probabilities. Other files of W&B are read so, too.
    """
    notes: list[str] = []

    def read(entries: Mapping[str, Any], prefix: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, entry in entries.items():
            if isinstance(entry, Mapping) and isinstance(entry.get("parameters"), Mapping):
                inner = read(entry["parameters"], f"{prefix}{key}.")
                found[key] = {**entry, "parameters": inner}
            elif isinstance(entry, Mapping) and isinstance(entry.get("values"), list):
                found[key], repeated = _once(entry)
                notes.extend(
                    f"{prefix}{key}: {shown(value)} is listed twice, and is read once"
                    for value in repeated
                )
            else:
                found[key] = entry
        return found

    parameters = raw.get("parameters")
    if not isinstance(parameters, Mapping):
        return dict(raw), []
    return {**raw, "parameters": read(parameters, "")}, notes


def _once(entry: Mapping[str, Any]) -> tuple[dict[str, Any], list[Any]]:
    """The entry of a parameter with each of its values once, and the values that were repeated."""
    values = entry["values"]
    labels = [json.dumps(value, sort_keys=True, default=str) for value in values]
    first = {label: index for index, label in reversed([*enumerate(labels)])}
    kept = [index for index, label in enumerate(labels) if first[label] == index]
    result = {**entry, "values": [values[index] for index in kept]}
    weights = entry.get("probabilities")
    if isinstance(weights, list) and len(weights) == len(values):
        numbers = [weight for weight in weights if isinstance(weight, int | float)]
        if len(numbers) == len(values):
            result["probabilities"] = [
                sum(n for n, label in zip(numbers, labels, strict=True) if label == labels[index])
                for index in kept
            ]
    return result, [values[index] for index in kept if labels.count(labels[index]) > 1]


def _named(raw: Mapping[str, Any], path: Path) -> tuple[dict[str, Any], list[str]]:
    """The content with a name that a folder can have; a caption moves to the description."""
    caption = raw.get("name")
    given = path.stem if caption is None else caption
    if not isinstance(given, str):
        return dict(raw), []
    name = sweep_name_of(given)
    if name == given:
        return dict(raw), []
    read = {**raw, "name": name}
    described = raw.get("description")
    if caption is not None and (described is None or isinstance(described, str)):
        read["description"] = f"{given}: {described}" if described else given
    return read, [f"name: {given!r} is a caption; the sweep and its folder are called {name}"]


def _parameters(
    entries: Mapping[str, Any], prefix: str, meant: dict[str, dict[str, str]]
) -> dict[str, Any]:
    """A mapping of parameters with their values in our words."""
    found: dict[str, Any] = {}
    for key, entry in entries.items():
        name = f"{prefix}{key}"
        if not isinstance(entry, Mapping):
            found[key] = entry
            continue
        read = dict(entry)
        if isinstance(entry.get("parameters"), Mapping):
            read["parameters"] = _parameters(entry["parameters"], f"{name}.", meant)
        else:
            if "value" in entry:
                read["value"] = _noted(name, entry["value"], meant)
            if isinstance(entry.get("values"), list):
                read["values"] = [_noted(name, value, meant) for value in entry["values"]]
        if isinstance(entry.get("when"), Mapping):
            read["when"] = {
                other: [_noted(other, value, meant) for value in allowed]
                if isinstance(allowed, list)
                else _noted(other, allowed, meant)
                for other, allowed in entry["when"].items()
            }
        found[key] = read
    return found


def _point(point: Any, prefix: str, meant: dict[str, dict[str, str]]) -> Any:
    """A point of `start_with` with its values in our words."""
    if not isinstance(point, Mapping):
        return point
    return {
        key: _point(value, f"{prefix}{key}.", meant)
        if isinstance(value, Mapping)
        else _noted(f"{prefix}{key}", value, meant)
        for key, value in point.items()
    }


def _noted(name: str, value: Any, meant: dict[str, dict[str, str]]) -> Any:
    """The value of a parameter in our words; a change is noted in `meant`."""
    read = value_as_meant(name, value)
    if read != value:
        written = value if isinstance(value, str) else shown(value)
        meant.setdefault(name, {})[written] = str(read)
    return read


def value_as_meant(name: str, value: Any) -> Any:
    """The value of a parameter in our words; the value itself if it is one of ours or unknown.

    Example:
        >>> value_as_meant("optimizer", "AdamW"), value_as_meant("resize", [128, 96])
        ('adamw', '128x96')
        >>> value_as_meant("scheduler", "CosineAnnealingLR"), value_as_meant("lr", "fast")
        ('cosine', 'fast')
    """
    if name == "backbone" or name == "optimizer":
        return _library_name(name, value) if isinstance(value, str) else value
    if name == "weights" and isinstance(value, str) and ("~" in value or "$" in value):
        value = os.path.expanduser(os.path.expandvars(value))
    if field_type(name) is None or field_problem(name, value) is None:
        return value
    return next(
        (read for read in _readings(name, value) if field_problem(name, read) is None), value
    )


def _readings(name: str, value: Any) -> Iterator[Any]:
    """What a value may mean that its field does not accept as it is written."""
    if name == "resize":
        sides = value if isinstance(value, list) else [value]
        if 1 <= len(sides) <= 2 and all(isinstance(s, int | float) and s == int(s) for s in sides):
            high, *wide = map(int, sides)
            yield high if wide in ([], [high]) else f"{high}x{wide[0]}"
        if isinstance(value, str) and (match := re.fullmatch(SIZE, value.strip())):
            yield f"{match[1]}x{match[2]}"
        return
    if not isinstance(value, str | bool | None):
        return
    word = _word("none" if value is None else str(value))
    yield from (choice for choice in choices_of(name) if _word(choice) == word)
    if word in WORDS.get(name, {}):
        yield WORDS[name][word]


def choices_of(name: str) -> tuple[str, ...]:
    """The words that are values of a field; empty for a field of numbers or other text."""
    of_text = {"weights": ("pretrained", "none"), "freeze": FREEZE}
    return of_text.get(name) or tuple(_words_of(field_type(name)))


def words_for(name: str) -> tuple[str, ...]:
    """The words that are read as a value of a field: its own, and those of others.

    They stand for all their spellings, see `pattern_of`.
    """
    return tuple(dict.fromkeys([*map(_word, choices_of(name)), *WORDS.get(name, {})]))


def pattern_of(words: Iterable[str], *, marks: str = "") -> str:
    """A regular expression of all spellings of some words, with small and capital letters.

    Args:
        marks: what may stand between the letters, such as `MARKS`.

    Example:
        >>> bool(re.search(pattern_of(["onecycle"], marks=MARKS), "One-Cycle"))
        True
    """
    spelt = (marks.join(map(_in_any_case, word)) for word in words)
    return f"^{marks}({'|'.join(spelt)}){marks}$"


def _in_any_case(letter: str) -> str:
    return f"[{letter}{letter.upper()}]" if letter.isalpha() else letter


def _words_of(kind: Any) -> Iterator[str]:
    """The words of a type such as `Literal["a", "b"] | UserFunction`."""
    for part in get_args(kind):
        if get_origin(kind) is Literal and isinstance(part, str):
            yield part
        yield from _words_of(part)


def _library_name(name: str, value: str) -> str:
    """The name of a backbone or optimizer as timm writes it: all names of timm are lower case."""
    if is_user_function(value):
        return value
    lower = re.sub(f"^(?:{_PREFIXES})", "", value.strip().lower())
    if name == "optimizer":
        return OPTIMIZERS.get(lower, lower)
    if match := re.fullmatch(_NUMBERED, lower):
        lower = f"efficientnet_{match[1]}"
    if match := re.fullmatch(_DEEP, lower):
        lower = f"{match[1]}{match[2]}"
    lower = lower.replace("-", "_")
    return ARCHITECTURES.get(lower, lower)


def _word(text: str) -> str:
    return re.sub(MARKS, "", text.lower())
