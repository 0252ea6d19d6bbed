"""What `sweeps check --fix` rewrites at the top level of a file: the metric, and unknown keys."""

from sweeps.space.sections import is_foreign, known_keys
from sweeps.space.spec import METRIC_NAMES, user_metric
from sweeps.space.synonyms import metric_of, top_key_of
from sweeps.space.yaml_marks import (
    Edit,
    Entry,
    commented,
    edit_of,
    entries,
    is_flow,
    lines_of,
    top_entries,
    value_of,
)

Changes = tuple[list[Edit], list[str]]  # the edits, and a line that tells each


def metric_changes(text: str) -> Changes:
    """Give the metric our name and its right goal."""
    metric = top_entries(text).get("metric")
    if metric is None:
        return [], []
    keys = {key.key: key for key in entries(metric.value, metric.end, text)}
    if "name" not in keys:
        return _bare_metric(metric, text)
    name = str(value_of(keys["name"].value, text))
    if user_metric(name) is not None:
        return [], []
    ours = name if name in METRIC_NAMES else metric_of(name) or "valid/f1"
    goal = METRIC_NAMES[ours].value
    edits = []
    told = []
    if ours != name:
        edits.append(edit_of(keys["name"].value, ours))
        stands = "" if metric_of(name) else ": we have no such metric, or name your own function"
        told.append(f"metric.name: was {name}, is now {ours}{stands}")
    if "goal" not in keys:
        indent = " " * keys["name"].at.start_mark.column
        more = f", goal: {goal}" if is_flow(metric.value) else f"\n{indent}goal: {goal}"
        edits = [edit_of(keys["name"].value, ours + more)]
        told.append(f"metric.goal: {goal} added")
    elif (given := value_of(keys["goal"].value, text)) != goal:
        edits.append(edit_of(keys["goal"].value, goal))
        told.append(f"metric.goal: was {given}, is now {goal}")
    return edits, told


def _bare_metric(metric: Entry, text: str) -> Changes:
    """Write a metric that is its name alone as a mapping."""
    name = value_of(metric.value, text)
    ours = metric_of(name) if isinstance(name, str) else None
    if ours is None:
        return [], []
    goal = METRIC_NAMES[ours].value
    edit = edit_of(metric.value, f"{{name: {ours}, goal: {goal}}}")
    return [edit], [f"metric: was {name}, is now {ours}, goal {goal}"]


def key_changes(text: str) -> Changes:
    """Make comments of keys that the top level does not have, of which W&B only warns.

    A key that may be meant for one of ours stays, with the problem that names ours; but a number
    of trials is sure to be `run_cap`.
    """
    top = top_entries(text)
    edits = []
    told = []
    for key, entry in top.items():
        capping = key not in known_keys() and top_key_of(key) == "Write run_cap"
        if capping and "run_cap" not in top and type(value_of(entry.value, text)) is int:
            edits.append(edit_of(entry.at, "run_cap"))
            told.append(f"{key}: is now called run_cap")
        elif is_foreign(key):
            lines = commented(entry, f"{key}: unknown key", lines_of(entry, text))
            below = "".join(f"{line}\n" for line in lines)
            edits.append(Edit(entry.at.start_mark.index, entry.end, below))
            told.append(f"{key}: is now a comment: unknown key")
    return edits, told
