"""Rewrites a file of W&B in our words: `sweeps check FILE --fix`.

The text is edited in place, so comments, order and the way numbers are written stay. What is none
of our parameters becomes a comment.
"""

import dataclasses
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml.nodes import Node

from sweeps.errors import InputError
from sweeps.space.fields import field_type
from sweeps.space.fitting import (
    argument_value,
    entry_problem,
    field_of,
    field_of_values,
    fitted_range,
    fitted_value,
    moved_to_top,
    value_problem,
    why_not,
)
from sweeps.space.fixing_top import key_changes, metric_changes
from sweeps.space.schema import with_header
from sweeps.space.sections import arguments_of
from sweeps.space.space_file import SpaceFile
from sweeps.space.spec_reader import problems_of
from sweeps.space.yaml_file import YamlFile, read_text
from sweeps.space.yaml_marks import (
    Edit,
    Entry,
    block_text,
    comment_of,
    commented,
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
    value_of,
    written,
)
from trainer.config import TrainConfig

METRIC = "metric: {name: valid/f1, goal: maximize}  # of the held-out images\n"
PLACEHOLDER = "PATH-OF-YOUR-DATA"
DATA = f"""\
data:
  source: {PLACEHOLDER}  # a CSV or Parquet file with the columns path and label,
                             # or a folder with one sub-folder per class
"""
RUN_CAP = "run_cap: 20  # the number of trials; or budget: {hours: 8}\n"
DEFAULT = TrainConfig.model_fields["backbone"].default
BACKBONE = f"backbone: {{value: {DEFAULT}}}  # the default; the file names no model of timm"


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
    block = block_text(original)
    fixer = _Fixer(block)
    if block != original:
        fixer.changes.append("the file is written anew, without comments: it had anchors or braces")
    fixer.add_arguments()
    fixer.rewrite_bare()
    fixer.rewrite_values()
    fixer.rewrite_names()
    fixer.rewrite_top()
    fixer.add_missing()
    text = with_header(fixer.text)
    left = problems_of(SpaceFile(path, text=text), path)
    needs_data = PLACEHOLDER in text
    return Fixed(text, tuple(fixer.changes), tuple(map(str, left)), needs_data)


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
            value = True if text is None else argument_value(text)
            if field is None or field in given or value_problem(field, fitted_value(field, value)):
                continue
            given.add(field)
            added += f"{indent}{name}: {{value: {written(value)}}}\n"
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
            field = self._field(name, entry)
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
                edits.append(edit_of(keys[key].value, written(value)))
                self.changes.append(f"{name}.{key}: was {numbers[key]}, is now {value}")
        self.text = edited(self.text, edits)

    def _value_edits(self, name: str, field: str, node: Node) -> list[Edit]:
        """The edit of one value that its field takes in another form."""
        value = value_of(node, self.text)
        fitted = self._fitted(field, node)
        same = fitted == value and type(fitted) is type(value)
        if same or value_problem(field, fitted) is not None:
            return []
        self.changes.append(f"{name}: {source(node, self.text)} is now {fitted}")
        return [edit_of(node, written(fitted))]

    def _fitted(self, field: str, node: Node) -> Any:
        """The value of a node as its field takes it."""
        return fitted_value(field, value_of(node, self.text), smoothed=self._smoothed)

    def _list_edits(self, name: str, field: str, node: Node, *, may_drop: bool) -> list[Edit]:
        """The edits of a list of values; values that the field does not take are left out.

        A list without a value that the field takes stays as it is, and becomes a comment later.
        """
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
        listed = ", ".join(written(self._fitted(field, item)) for item in kept)
        return [edit_of(node, f"[{listed}]")]

    def rewrite_names(self) -> None:
        """Give parameters our names; parameters that are none of ours become comments."""
        top = top_entries(self.text)
        if "parameters" not in top:
            return
        section = top["parameters"]
        ours = {name for name, _ in self._leaves() if field_of(name) == name}
        taken = dict.fromkeys(ours, "")  # our name -> the name that stands for it
        kept: set[str | None] = set()
        before = len(self.changes)
        lines: list[str] = []
        for name, entry in self._leaves(keep_groups=True):
            own = lines_of(entry, self.text)
            lines += entry.above
            field = self._field(name, entry) if name else None
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
                    own[0] = field + own[0][len(source(entry.at, self.text)) :]
                    self.changes.append(f"{name}: is now called {field}")
                lines += own
                kept.add(field)
                continue
            lines += commented(entry, f"{name}: {why}", own)
            self.changes.append(f"{name}: is now a comment: {why}")
        blank = list(itertools.takewhile(lambda line: not line.strip(), reversed(lines)))
        del lines[len(lines) - len(blank) :]
        if "smoothing" in kept and "loss" not in kept:
            lines.append("loss: {value: label_smoothing}")
            self.changes.append("loss: added, because smoothing counts with loss: label_smoothing")
        if lines and "backbone" not in kept:
            lines.append(BACKBONE)
            told = f"the default {DEFAULT}, because the file names no model of timm"
            self.changes.append(f"backbone: added, {told}")
        lines += blank
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

    def rewrite_top(self) -> None:
        """Rewrite the metric, and the keys that the top level does not have."""
        for found in (metric_changes, key_changes):
            edits, told = found(self.text)
            self.text = edited(self.text, edits)
            self.changes += told

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

    def _field(self, name: str, entry: Entry) -> str | None:
        """The parameter of ours that an entry stands for, by its name or else by its values."""
        keys = {key.key: key.value for key in entries(entry.value, entry.end, self.text)}
        listed = [keys["value"]] if "value" in keys else items(keys.get("values", entry.value))
        return field_of(name) or field_of_values(
            name, (value_of(node, self.text) for node in listed)
        )

    def _moved(self, name: str, entry: Entry) -> str:
        """Why a parameter is no parameter but a key of the top level, which is added; or empty."""
        keys = {key.key: key.value for key in entries(entry.value, entry.end, self.text)}
        value = value_of(keys["value"], self.text) if "value" in keys else None
        values = value_of(keys["values"], self.text) if "values" in keys else None
        moved = moved_to_top(name, value, values)
        if moved is None:
            return ""
        self._top[moved.key] = moved.line
        return moved.why

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
