"""The text of a first search space: YAML with comments that say why each line is there."""

import dataclasses
import json
import re
import shlex
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from sweeps.preparing.drafting import Machine, Training, are_long, are_uneven
from sweeps.preparing.grouping import Grouped
from sweeps.space.schema import HEADER
from trainer.images.manifest import number_of

WIDTH = 100  # of a comment, in letters
MAX_CLASSES = 30  # that a comment counts one by one
PLAIN = re.compile(r"(\.{0,2}/|\.)?[^\W\d_]([\w ./-]*[\w/.-])?")  # a text of YAML without quotes
WORDS_OF_YAML = ("true", "false", "null", "yes", "no", "on", "off", ".nan", ".inf")


@dataclasses.dataclass(frozen=True)
class Draft:
    """All that a first search space says.

    Attributes:
        name: the sweep's name.
        source: the data as the user named them.
        what: one line about the layout.
        pretrained: whether pretrained weights can be had on this machine.
        weights_why: one sentence about that.
    """

    name: str
    source: str
    what: str
    grouped: Grouped
    training: Training
    machine: Machine
    hours: float
    pretrained: bool
    weights_why: str


def draft_text(draft: Draft, *, path: str) -> str:
    """The whole file.

    Args:
        path: where the file will lie, for the commands in its first lines.
    """
    lines = [
        HEADER,
        *_head(draft, path),
        "",
        f"name: {draft.name}",
        "method: bayes",
        *_metric(draft),
        *_comment(
            f"The sweep ends after {draft.training.run_cap} trials or {draft.hours:g} h, whatever "
            f"comes first ({_machine(draft.machine)} here). With more of both it goes on where it "
            "stopped."
        ),
        f"run_cap: {draft.training.run_cap}",
        f"budget: {{hours: {draft.hours:g}}}",
        "seed: 1",
        "",
        *_data(draft.grouped),
        "",
        *_folds(draft.grouped),
        "",
        "parameters:",
        *_parameters(draft),
    ]
    return "\n".join(lines) + "\n"


def _head(draft: Draft, path: str) -> Iterator[str]:
    yield from _comment(
        f"Written by `sweeps init {shlex.quote(draft.source)}`. It runs as it is; change what you "
        "know better."
    )
    yield "#"
    yield f"#   sweeps check {path}   classes, folds, leaks, and a page with pictures"
    yield f"#   sweeps run {path}"
    yield "#"
    manifest = draft.grouped.read.found.manifest
    counts = np.bincount(manifest.labels_N, minlength=len(manifest.classes)).tolist()
    named = [f"{name} {count:,}" for name, count in zip(manifest.classes, counts, strict=True)]
    shown = ", ".join(named[:MAX_CLASSES])
    more = f", and {len(named) - MAX_CLASSES:,} more" if len(named) > MAX_CLASSES else ""
    yield from _comment(f"Layout: {draft.what}.")
    yield from _comment(f"{len(manifest):,} images in {len(named):,} classes: {shown}{more}.")
    rejected = len(draft.grouped.read.found.rejected)
    if rejected:
        yield from _comment(f"{rejected:,} rows cannot be used; `sweeps check` says which and why.")
    for line in draft.grouped.advice:
        yield "#"
        yield from _comment(f"Look at this: {line}")


def _metric(draft: Draft) -> Iterator[str]:
    classes = draft.grouped.read.found.manifest.classes
    ordered = len(classes) > 2 and all(number_of(name) is not None for name in classes)
    name = "f1"
    if "rare" in draft.grouped.read.options:
        name = "balanced_accuracy"
        yield from _comment(
            "The mean over the classes that are held out; f1 would count 0 for each of the others."
        )
    elif ordered:
        yield from _comment(
            "f1 counts every class alike. If the classes are steps of a scale: valid/qwk."
        )
    else:
        yield from _comment("f1 counts every class alike, valid/accuracy every image.")
    yield f"metric: {{name: valid/{name}, goal: maximize}}"


def _data(grouped: Grouped) -> Iterator[str]:
    yield "data:"
    for key, value in grouped.data.items():
        remark = grouped.remarks.get(key)
        if remark is not None:
            end = " Delete the line if that is not so." if key == "group" else ""
            stop = "" if remark.endswith(("?", ".")) else "."
            yield from _comment(f"{key}: {remark}{stop}{end}", indent=2)
        yield f"  {key}: {_value(value)}"
    if "group" not in grouped.data:
        yield from _comment(
            "Do several images show one person, one object or one video? Then a group keeps them "
            "on one side of every split: a column's name, folder, file_name or near_duplicates.",
            indent=2,
        )
        yield "  # group: folder"


def _folds(grouped: Grouped) -> Iterator[str]:
    options = grouped.read.options
    manifest = grouped.read.found.manifest
    fewest = int(np.bincount(manifest.labels_N, minlength=len(manifest.classes)).min())
    what = "groups" if manifest.groups is not None else "images"
    if "folds" in grouped.remarks:
        yield from _comment(grouped.remarks["folds"])
    if "column" in options and "valid" in grouped.data:
        yield from _comment(
            "The second source is held out. Without this line the two are one data set, cut into "
            "5 folds, which tells small differences better."
        )
    elif "column" in options:
        yield from _comment("The folds are those of the column.")
    elif "rare" in options:
        yield from _comment(
            f"rare: the smallest class has {fewest:,} image{'' if fewest == 1 else 's'}, fewer "
            f"{what} than folds. Such classes are always trained on and never held out; `exclude` "
            "below data would leave them out."
        )
    elif options["k"] < 5:
        yield from _comment(f"No more folds than {what} of the smallest class.")
    yield f"folds: {_value(options)}"


def _parameters(draft: Draft) -> Iterator[str]:
    training = draft.training
    minutes = ", ".join(f"{name} {_duration(s)}" for name, s in training.trial_s.items())
    yield from _comment(f"About what a trial takes here that trains all its folds: {minutes}.", 2)
    if not training.fits:
        yield from _comment(
            f"That is long for {draft.hours:g} h: give more time (`sweeps init --hours`, and "
            "`hours` above), or train where there is a GPU.",
            2,
        )
    yield f"  backbone: {{values: [{', '.join(training.backbones)}]}}"
    yield from _comment(draft.weights_why, 2)
    yield f"  weights: {{value: {'pretrained' if draft.pretrained else 'none'}}}"
    yield from _sizes(draft)
    yield f"  batch_size: {{value: {training.batch_size}}}"
    yield f"  epochs: {{value: {training.epochs}}}"
    yield "  optimizer: {values: [adamw, sgd]}"
    low, high = ("1e-4", "1e-2") if draft.pretrained else ("5e-4", "2e-2")
    yield f"  lr: {{distribution: log_uniform_values, min: {low}, max: {high}}}"
    yield (
        "  weight_decay: {distribution: log_uniform_values, min: 1e-4, max: 1e-1, "
        "when: {optimizer: adamw}}"
    )
    yield "  momentum: {value: 0.9, when: {optimizer: sgd}}"
    yield "  scheduler: {value: cosine}"
    yield "  warmup_epochs: {value: 0.5}"
    yield "  loss: {values: [cross_entropy, label_smoothing]}"
    manifest = draft.grouped.read.found.manifest
    counts = np.bincount(manifest.labels_N, minlength=len(manifest.classes)).tolist()
    if are_uneven(counts):
        yield f"  class_weights: {{values: [none, balanced]}}   # {_share(counts)}"
    if manifest.class_parts:
        columns = ", ".join(manifest.label_columns)
        yield from _comment(f"heads: one classifier, or one for each of {columns}", 2)
        yield "  heads: {values: [joint, separate]}"
    if "box" in draft.grouped.data:
        yield "  crop: {values: [box, none]}   # what lies in the box, or the whole image"
    yield "  flip: {values: [0.0, 0.5]}   # delete if left and right differ, as in digits and text"
    yield "  jitter: {values: [0.0, 0.5]}   # brightness, contrast, saturation, hue"


def _sizes(draft: Draft) -> Iterator[str]:
    height, width = np.median(draft.grouped.read.found.sizes_N2, axis=0).tolist()
    side = draft.training.side
    yield from _comment(
        f"The images are {height:.0f} x {width:.0f} pixels (median); {side} x {side} is what is "
        "trained.",
        2,
    )
    yield f"  resize: {{value: {side}}}"
    if are_long(height, width):
        yield "  resize_mode: {values: [stretch, fit, crop]}   # to a square"


def _share(counts: list[int]) -> str:
    return f"the largest class has {max(counts):,} images, the smallest {min(counts):,}"


def _machine(machine: Machine) -> str:
    one, several = (
        ("GPU", "GPUs") if machine.device == "cuda" else ("CPU and no GPU", "CPUs and no GPU")
    )
    return f"1 {one}" if machine.at_once == 1 else f"{machine.at_once} {several}"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _comment(text: str, indent: int = 0) -> Iterator[str]:
    """A comment of one or more lines. Names of classes may hold anything, also line breaks."""
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    head = f"{' ' * indent}# "
    yield from textwrap.wrap(
        plain,
        WIDTH,
        initial_indent=head,
        subsequent_indent=head,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _value(value: Any) -> str:
    """A value in YAML on one line."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {_value(entry)}' for key, entry in value.items())}}}"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Iterable):
        return f"[{', '.join(map(_value, value))}]"
    return str(value)


def _text(text: str) -> str:
    """A text in YAML, in quotation marks where it would mean something else without them.

    Example:
        >>> _text("../data/train.csv"), _text("0x1F"), _text("{id}.png"), _text("사진 1")
        ('../data/train.csv', '"0x1F"', '"{id}.png"', '사진 1')
    """
    if PLAIN.fullmatch(text) and text.casefold() not in WORDS_OF_YAML:
        return text
    return json.dumps(text, ensure_ascii=False)
