"""Rewrites a file of W&B in our words: `sweeps check FILE --fix`.

The text is edited in place, so comments, order and the way numbers are written stay. What is none
of our parameters becomes a comment.
"""

import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml.nodes import Node

from sweeps.errors import InputError
from sweeps.space.fields import field_type
from sweeps.space.fitting import (
    entry_problem,
    field_of,
    fitted_range,
    fitted_value,
    value_problem,
    why_not,
)
from sweeps.space.sections import arguments_of
from sweeps.space.space_file import SpaceFile
from sweeps.space.spec import METRIC_NAMES, user_metric
from sweeps.space.spec_reader import problems_of
from sweeps.space.synonyms import metric_of
from sweeps.space.yaml_file import YamlFile, read_scalar, read_text
from sweeps.space.yaml_marks import (
    Edit,
    Entry,
    block_text,
    comment_of,
    comments_in,
    edit_of,
    edited,
    entries,
    is_flow,
    is_mapping,
    items,
    lines_of,
    nested_edits,
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
    if not original.strip():
        raise InputError(
            f"{path}: the file is empty. A shell empties a file before the command reads it, "
            "so write to another file: --fix > space.yaml"
        )
    YamlFile(path, text=original)  # refuses what is no mapping
    fixer = _Fixer(block_text(original))
    if fixer.text != original:
        fixer.changes.append("the file is written anew, without comments: it had anchors or braces")
    fixer.add_arguments()
    fixer.rewrite_bare()
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
        self._smoothed = False  # whether the file smooths labels

    def add_arguments(self) -> None:
        """Make parameters of the arguments that the command gives in every trial."""
        top = top_entries(self.text)
        names = [name for name, _ in self._leaves()]
        if "command" not in top or not names or is_flow(top["parameters"].value):
            return
        section = top["parameters"]
        indent = " " * next(entries(section.value, 0, self.text)).at.start_mark.column
        given = {field_of(name) for name in names}
        added = ""
        for name, text in arguments_of(value_of(top["command"].value, self.text)):
            field = field_of(name)
            value = True if text is None else _argument(text)
            if field is None or field in given or value_problem(field, fitted_value(field, value)):
                continue
            given.add(field)
            added += f"{indent}{name}: {{value: {_written(value)}}}\n"
            self.changes.append(f"{name}: added, from the command")
        self.text = f"{self.text[: section.end]}{added}{self.text[section.end :]}"

    def rewrite_bare(self) -> None:
        """Write a parameter that is a bare value or list as W&B's language wants it."""
        edits: list[Edit] = []
        for name, entry in self._leaves():
            if is_mapping(entry.value) or not source(entry.value, self.text).strip():
                continue
            key = "values" if items(entry.value) else "value"
            edits += nested_edits(entry, key, self.text)
            self.changes.append(f"{name}: is now written with {key}")
        self.text = edited(self.text, edits)

    def rewrite_values(self) -> None:
        """Write the values and ranges of parameters as their fields take them."""
        edits: list[Edit] = []
        leaves = list(self._leaves())
        self._smoothed = any(field_of(name) == "smoothing" for name, _ in leaves)
        for name, entry in leaves:
            field = field_of(name)
            if field is None:
                continue
            keys = {key.key: key for key in entries(entry.value, entry.end, self.text)}
            numbers = {key: value_of(each.value, self.text) for key, each in keys.items()}
            if "value" in keys:
                edits += self._value_edits(name, field, keys["value"].value)
            if "values" in keys:
                edits += self._list_edits(
                    name, field, keys["values"].value, may_drop="probabilities" not in keys
                )
            for key, value in fitted_range(field, numbers).items():
                edits.append(edit_of(keys[key].value, _written(value)))
                self.changes.append(f"{name}.{key}: was {numbers[key]}, is now {value}")
        self.text = edited(self.text, edits)

    def _value_edits(self, name: str, field: str, node: Node) -> list[Edit]:
        """The edit of one value that its field takes in another form."""
        value = value_of(node, self.text)
        fitted = self._fitted(field, node)
        if fitted == value and type(fitted) is type(value):
            return []
        self.changes.append(f"{name}: {source(node, self.text)} is now {fitted}")
        return [edit_of(node, _written(fitted))]

    def _fitted(self, field: str, node: Node) -> Any:
        """The value of a node as its field takes it."""
        return fitted_value(field, value_of(node, self.text), smoothed=self._smoothed)

    def _list_edits(self, name: str, field: str, node: Node, *, may_drop: bool) -> list[Edit]:
        """The edits of a list of values; values that the field does not take are left out."""
        problems = [value_problem(field, self._fitted(field, item)) for item in items(node)]
        kept = [item for item, problem in zip(items(node), problems, strict=True) if not problem]
        if not kept or not may_drop:
            kept = items(node)
        edits = [edit for item in kept for edit in self._value_edits(name, field, item)]
        if len(kept) == len(problems):
            return edits
        for item, problem in zip(items(node), problems, strict=True):
            if problem:
                self.changes.append(f"{name}: {source(item, self.text)} is left out: {problem}")
                edits.append(comment_of(item, self.text))
        if not is_flow(node):
            return edits
        written = ", ".join(_written(self._fitted(field, item)) for item in kept)
        return [edit_of(node, f"[{written}]")]

    def rewrite_names(self) -> None:
        """Give parameters our names; parameters that are none of ours become comments."""
        top = top_entries(self.text)
        if "parameters" not in top:
            return
        section = top["parameters"]
        ours = {name for name, _ in self._leaves() if field_of(name) == name}
        taken = dict.fromkeys(ours, "")  # our name -> the name that stands for it
        before = len(self.changes)
        lines: list[str] = []
        for name, entry in self._leaves(keep_groups=True):
            written = lines_of(entry, self.text)
            lines += entry.above
            field = field_of(name) if name else None
            why = None
            if name and field is None:
                why = self._moved(name, entry) or why_not(name)
            elif field in taken and name not in ours:
                first = f", by {taken[field]}" if taken[field] else ""
                why = f"{field} is given already{first}"
            elif field is not None:
                why = entry_problem(field, value_of(entry.value, self.text))
            if why is None:
                if field is not None and name != field:
                    taken[field] = name
                    written[0] = field + written[0][len(source(entry.at, self.text)) :]
                    self.changes.append(f"{name}: is now called {field}")
                lines += written
                continue
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
            self._rewrite_bare_metric(metric)
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

    def _rewrite_bare_metric(self, metric: Entry) -> None:
        """Write a metric that is its name alone as a mapping."""
        name = value_of(metric.value, self.text)
        ours = metric_of(name) if isinstance(name, str) else None
        if ours is not None:
            goal = METRIC_NAMES[ours].value
            edit = edit_of(metric.value, f"{{name: {ours}, goal: {goal}}}")
            self.text = edited(self.text, [edit])
            self.changes.append(f"metric: was {name}, is now {ours}, goal {goal}")

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
        self.text = edited(self.text, [self._only_comments(entry) for entry in empty])
        top = top_entries(self.text)
        at = top["parameters"].at.start_mark.index if "parameters" in top else len(self.text)
        self.text = f"{self.text[:at]}{''.join(added.values())}{self.text[at:]}"

    def _only_comments(self, entry: Entry) -> Edit:
        """The edit that leaves nothing of an entry but its comments."""
        start = entry.at.start_mark.index
        kept = comments_in(self.text[start : entry.end])
        return Edit(start, entry.end, "".join(f"{comment}\n" for comment in kept))

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
            elif below:
                (first, leaf), *others = below
                between = self.text[entry.at.start_mark.index : leaf.at.start_mark.index]
                above = () if is_flow(entry.value) else comments_in(between)
                yield first, dataclasses.replace(leaf, above=above)
                yield from others


def _argument(text: str) -> Any:
    """The value of an argument: a number or a switch if it reads like one, else its text."""
    try:
        value = read_scalar(text)
    except ValueError:
        return text
    return value if isinstance(value, int | float) else text


def _written(value: Any) -> str:
    """A value as YAML."""
    if isinstance(value, list):
        return f"[{', '.join(map(_written, value))}]"
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z_][\w./]*(?::\w+)?", value):
        return value
    return json.dumps(value, ensure_ascii=False)
