"""Rewrites a file of W&B in our words: `sweeps check FILE --fix`.

The text is edited in place, so comments, order and the way numbers are written stay. What is none
of our parameters becomes a comment.
"""

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sweeps.space.as_meant import value_as_meant
from sweeps.space.fields import (
    RESERVED,
    field_problem,
    field_type,
    parameter_names,
    unknown_parameter,
)
from sweeps.space.kinds import whole
from sweeps.space.space_file import SpaceFile
from sweeps.space.spec import METRIC_NAMES, user_metric
from sweeps.space.spec_reader import problems_of
from sweeps.space.synonyms import meaning_of, metric_of, nearest
from sweeps.space.yaml_file import YamlFile, read_text
from sweeps.space.yaml_marks import (
    Edit,
    Entry,
    block_text,
    edit_of,
    edited,
    entries,
    is_flow,
    items,
    lines_of,
    source,
    top_entries,
    value_lines,
    value_of,
)

METRIC = "metric: {name: valid/f1, goal: maximize}  # of the held-out images\n"
PLACEHOLDER = "PATH-OF-YOUR-DATA"
DATA = f"""\
data:
  source: {PLACEHOLDER}  # a CSV or Parquet file with the columns path and label,
                             # or a folder with one sub-folder per class
"""
RUN_CAP = "run_cap: 20  # the number of trials; or budget: {hours: 8}\n"
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
ABOVE_ZERO = 1000  # a range that may not begin at 0 begins at this part of its end


@dataclasses.dataclass(frozen=True)
class Fixed:
    """A file in our words.

    Attributes:
        text: the content of the new file.
        changes: what was changed; a line each.
        left: what is still wrong; a line each, with the line of the new file.
        needs_data: whether the user must still write where the data are.
    """

    text: str
    changes: tuple[str, ...]
    left: tuple[str, ...]
    needs_data: bool


def fix(path: Path) -> Fixed:
    """Rewrite the file at `path` in our words, and add what a sweep needs.

    Raises:
        SpecError, InputError: see `YamlFile`.
    """
    original = read_text(path)
    YamlFile(path, text=original)  # refuses what is no mapping
    fixer = _Fixer(block_text(original))
    if fixer.text != original:
        fixer.changes.append("the file is written anew, without comments: it had anchors or braces")
    fixer.rewrite_values()
    fixer.rewrite_names()
    fixer.rewrite_metric()
    fixer.add_missing()
    left = problems_of(SpaceFile(path, text=fixer.text), path)
    needs_data = PLACEHOLDER in fixer.text
    return Fixed(fixer.text, tuple(fixer.changes), tuple(map(str, left)), needs_data)


class _Fixer:
    """The text while it is rewritten, and what was changed.

    Each step reads the text anew, because the marks of its nodes are wrong after an edit.
    """

    def __init__(self, text: str) -> None:
        self.text = text if text.endswith("\n") else f"{text}\n"
        self.changes: list[str] = []
        self._top: dict[str, str] = {}  # keys of the top level that were parameters

    def rewrite_values(self) -> None:
        """Write the values and ranges of parameters as their fields take them."""
        edits: list[Edit] = []
        for name, entry in self._leaves():
            field = _field_of(name)
            if field is None:
                continue
            keys = {key.key: key for key in entries(entry.value, entry.end, self.text)}
            nodes = [keys["value"].value] if "value" in keys else []
            nodes += items(keys["values"].value) if "values" in keys else []
            for node in nodes:
                value = value_of(node, self.text)
                meant = _switch(field, value_as_meant(field, value))
                if meant != value or type(meant) is not type(value):
                    edits.append(edit_of(node, _written(meant)))
                    self.changes.append(f"{name}: {source(node, self.text)} is now {meant}")
            numbers = {key: value_of(each.value, self.text) for key, each in keys.items()}
            for key, value in _range(field, numbers).items():
                edits.append(edit_of(keys[key].value, _written(value)))
                self.changes.append(f"{name}.{key}: was {numbers[key]}, is now {value}")
        self.text = edited(self.text, edits)

    def rewrite_names(self) -> None:
        """Give parameters our names; parameters that are none of ours become comments."""
        top = top_entries(self.text)
        if "parameters" not in top:
            return
        section = top["parameters"]
        ours = {name for name, _ in self._leaves() if _field_of(name) == name}
        taken = dict.fromkeys(ours, "")  # our name -> the name that stands for it
        before = len(self.changes)
        lines: list[str] = []
        for name, entry in self._leaves(keep_groups=True):
            written = lines_of(entry, self.text)
            if name in ours or name == "":
                lines += written
                continue
            field = _field_of(name)
            if field is not None and field not in taken:
                taken[field] = name
                lines += [field + written[0][len(source(entry.at, self.text)) :], *written[1:]]
                self.changes.append(f"{name}: is now called {field}")
                continue
            why = self._moved(name, entry) or (
                _why_not(name)
                if field is None
                else f"{field} is given already{f', by {taken[field]}' if taken[field] else ''}"
            )
            count = value_lines(entry, self.text)
            lines += [f"# {name}: {why}", *(f"# {line}" for line in written[:count])]
            lines += written[count:]
            self.changes.append(f"{name}: is now a comment: {why}")
        if "smoothing" in taken and "loss" not in taken:
            lines.append("loss: {value: label_smoothing}")
            self.changes.append("loss: added, because smoothing counts with loss: label_smoothing")
        if len(self.changes) > before:
            below = "".join(f"  {line}\n" if line.strip() else "\n" for line in lines)
            self.text = self._with_parameters(section, below)

    def _with_parameters(self, section: Entry, below: str) -> str:
        """The text with other lines in its section `parameters`."""
        start = section.at.start_mark.index
        if is_flow(section.value):
            # what stands after the closing brace is a comment, or the end of the line
            after = self.text[section.value.end_mark.index : section.end].rstrip()
            head = f"{self.text[:start]}parameters:{after}\n"
            return f"{head}{below}{self.text[section.end :]}"
        head = self.text[: section.value.start_mark.index]
        return f"{head[: head.rfind(chr(10)) + 1]}{below}{self.text[section.end :]}"

    def rewrite_metric(self) -> None:
        """Give the metric our name and its right goal."""
        metric = top_entries(self.text).get("metric")
        if metric is None:
            return
        keys = {key.key: key for key in entries(metric.value, metric.end, self.text)}
        if "name" not in keys:
            return
        name = str(value_of(keys["name"].value, self.text))
        if user_metric(name) is not None:
            return
        ours = name if name in METRIC_NAMES else metric_of(name) or "valid/f1"
        goal = METRIC_NAMES[ours].value
        edits = []
        if ours != name:
            edits.append(edit_of(keys["name"].value, ours))
            stands = (
                "" if metric_of(name) else ": we have no such metric, or name your own function"
            )
            self.changes.append(f"metric.name: was {name}, is now {ours}{stands}")
        if "goal" not in keys:
            indent = " " * keys["name"].at.start_mark.column
            more = f", goal: {goal}" if is_flow(metric.value) else f"\n{indent}goal: {goal}"
            edits = [edit_of(keys["name"].value, ours + more)]
            self.changes.append(f"metric.goal: {goal} added")
        elif (given := value_of(keys["goal"].value, self.text)) != goal:
            edits.append(edit_of(keys["goal"].value, goal))
            self.changes.append(f"metric.goal: was {given}, is now {goal}")
        self.text = edited(self.text, edits)

    def add_missing(self) -> None:
        """Add metric, data and an end of the sweep, with comments, before the parameters."""
        top = top_entries(self.text)
        given = {key for key, entry in top.items() if value_of(entry.value, self.text) is not None}
        endless = value_of(top["method"].value, self.text) != "grid" if "method" in top else True
        added = {
            "metric": METRIC,
            "data": DATA,
            **({"run_cap": RUN_CAP} if endless and "budget" not in given else {}),
            **self._top,
        }
        added = {key: lines for key, lines in added.items() if key not in given}
        self.changes += [f"{key}: added" for key in added]
        # a key without a value, which counts as missing, makes room for the one with a value
        empty = [top[key] for key in added if key in top]
        self.text = edited(
            self.text, [Edit(entry.at.start_mark.index, entry.end, "") for entry in empty]
        )
        top = top_entries(self.text)
        at = top["parameters"].at.start_mark.index if "parameters" in top else len(self.text)
        self.text = f"{self.text[:at]}{''.join(added.values())}{self.text[at:]}"

    def _moved(self, name: str, entry: Entry) -> str:
        """Why a parameter is no parameter but a key of the top level, which is added; or empty."""
        keys = {key.key: key for key in entries(entry.value, entry.end, self.text)}
        value = value_of(keys["value"].value, self.text) if "value" in keys else None
        values = value_of(keys["values"].value, self.text) if "values" in keys else None
        last = name.rpartition(".")[2].lower()
        if last in SEEDS and type(value) is int:
            self._top["seed"] = f"seed: {value}\n"
            return "it is the top-level key seed"
        k = value if last in FOLDS else len(values or ()) if last in ONE_FOLD else None
        if type(k) is int and k > 1:
            self._top["folds"] = f"folds: {{k: {k}}}\n"
            return "each trial trains all folds; the top-level key folds says how many"
        return ""

    def _leaves(self, *, keep_groups: bool = False) -> Iterator[tuple[str, Entry]]:
        """The parameters with their dotted names.

        Args:
            keep_groups: a nested mapping of which all names are ours comes as one entry, with an
                empty name.
        """
        section = top_entries(self.text).get("parameters")
        if section is not None:
            yield from self._below(section, "", keep_groups)

    def _below(self, section: Entry, prefix: str, keep_groups: bool) -> Iterator[tuple[str, Entry]]:
        for entry in entries(section.value, section.end, self.text):
            name = f"{prefix}{entry.key}"
            inner = {each.key: each for each in entries(entry.value, entry.end, self.text)}
            if "parameters" not in inner:
                yield name, entry
                continue
            below = list(self._below(inner["parameters"], f"{name}.", keep_groups))
            right = all(not leaf or field_type(leaf) is not None for leaf, _ in below)
            if keep_groups and (right or "when" in inner):
                yield "", entry
            else:
                yield from below


def _field_of(name: str) -> str | None:
    """The parameter of ours that a name stands for, if that is sure."""
    if field_type(name) is not None and name not in RESERVED:
        return name
    meaning = meaning_of(name)
    if meaning is not None:
        return meaning.field
    near = nearest(name.rpartition(".")[2], parameter_names())
    return near[0] if len(near) == 1 and name not in RESERVED else None


def _why_not(name: str) -> str:
    """Why a name is none of our parameters."""
    why = RESERVED.get(name) or unknown_parameter(name).removeprefix("unknown parameter. ")
    return f"{why[0].lower()}{why[1:]}"


def _switch(field: str, value: Any) -> Any:
    """The number that a switch stands for, where it is on or off; other values unchanged."""
    return (ON[field] if value else 0.0) if field in ON and isinstance(value, bool) else value


def _range(field: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a range that its field does not take, with what it takes."""
    changed: dict[str, Any] = {}
    low = entry.get("min")
    high = entry.get("max")
    kind = entry.get("distribution")
    if field_type(field) is int:
        if kind in OF_WHOLE_NUMBERS:
            changed["distribution"] = OF_WHOLE_NUMBERS[kind]
        for key in ("min", "max", "q") if kind not in ("log_uniform", "q_log_uniform") else ("q",):
            number = entry.get(key)
            if isinstance(number, float) and isinstance(whole(number), int):
                changed[key] = whole(number)
    if low == 0 and isinstance(high, int | float) and field_problem(field, low) is not None:
        changed["min"] = float(f"{high / ABOVE_ZERO:.3g}")
    return changed


def _written(value: Any) -> str:
    """A value as YAML."""
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z_][\w./]*", value):
        return value
    return json.dumps(value, ensure_ascii=False)
