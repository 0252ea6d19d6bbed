"""`sweeps export --trial N`: one trial as a file that trains it again, alone.

The file is a search space in which each parameter has one value. `sweeps run` evaluates it as a
sweep of one trial, and `python -m trainer --config` trains one of its folds. Both have the seed,
the images and the folds of the trial's own fold runs, so on the CPU they give the same bits.
"""

import dataclasses
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from sweeps.paths import SweepFiles, TrialFiles
from sweeps.results.view import SweepView
from sweeps.search.distributions import values_of
from sweeps.space.spec import SweepSpec
from sweeps.space.spec_reader import read_spec
from trainer.data.fold_files import load_reading
from trainer.data.image_files import existing
from trainer.data.options import FoldOptions
from trainer.training.result import RESULT

PATHS = ("source", "valid", "corrections", "face_weights", "background_weights")


@dataclasses.dataclass(frozen=True)
class TrialFile:
    """A trial as a search space of one point.

    Attributes:
        content: the search space, as JSON-like values.
        text: the YAML of it.
        notes: what a user has to do, or to know, before the file gives the same results.
    """

    content: Mapping[str, Any]
    text: str
    notes: tuple[str, ...]


def trial_file(view: SweepView, files: SweepFiles, number: int) -> TrialFile:
    """The file of a trial.

    Args:
        files: the directory of the sweep.
        number: the trial's number.

    Raises:
        InputError: there is no such trial, or the sweep's copy of its search space is missing or
            damaged.
    """
    trial = view.trial(number)
    spec = read_spec(files.spec)
    values = {**view.record.defaults, **values_of(spec.space, trial.params)}
    content = _content(view, spec, files, values, name=f"{view.name}-trial-{number}")
    text = _head(view, trial, _threads(files.trial(number))) + _yaml(content)
    return TrialFile(content, text, tuple(_notes(view, spec, files, values)))


def _content(
    view: SweepView,
    spec: SweepSpec,
    files: SweepFiles,
    values: Mapping[str, Any],
    *,
    name: str,
) -> dict[str, Any]:
    weights = values.get("weights")
    if weights not in (None, "pretrained", "none"):
        values = {**values, "weights": str(Path(str(weights)).resolve())}
    return {
        "name": name,
        "method": "grid",
        "metric": spec.metric.model_dump(mode="json", include={"name", "goal"}),
        "seed": spec.seed,
        "data": _data(spec, files),
        "folds": _folds(spec, files),
        "resources": {key: value for key, value in spec.resources if value is not None},
        "parameters": {field: {"value": _plain(value)} for field, value in values.items()},
    }


def _data(spec: SweepSpec, files: SweepFiles) -> dict[str, Any]:
    """The section `data` with absolute paths, and with the levels that the sweep has chosen."""
    data = dict(spec.raw["data"])
    for key in PATHS:
        path = getattr(spec.data, key)
        if path is not None:
            data[key] = str(existing(path).resolve())
    if spec.data.folder is not None:
        # folders beside the table stay relative to it: a second table has its own beside it
        beside = Path(data["source"]).parent
        data["folder"] = [
            folder if (beside / folder).is_dir() else str(Path(folder).resolve())
            for folder in spec.data.folder
        ]
    reading = load_reading(files.folds_file)
    if data.get("levels") is None and reading is not None and reading.levels is not None:
        data["levels"] = list(reading.levels)
    return data


def _folds(spec: SweepSpec, files: SweepFiles) -> dict[str, Any]:
    """The section `folds`: the images keep the sweep's own folds."""
    given = {
        key: value
        for key, value in (spec.raw.get("folds") or {}).items()
        if key in FoldOptions.model_fields
    }
    if spec.folds.column is not None:
        return given
    return {**given, "file": str(files.folds_file)}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _head(view: SweepView, trial: FrozenTrial, threads: int | None) -> str:
    score = f": {view.metric} {trial.values[0]:.4f}" if trial.state == TrialState.COMPLETE else ""
    # another number of threads adds numbers in another order
    option = "" if threads is None else f" --threads {threads}"
    return (
        f"# trial {trial.number} of sweep {view.name}{score}\n"
        f"# one fold:  python -m trainer --config THIS_FILE --fold 0{option}\n"
        "# all folds: sweeps run THIS_FILE\n"
    )


def _threads(files: TrialFiles) -> int | None:
    """The number of CPU threads of the trial's fold runs; None if none is finished."""
    for fold in files.folds():
        try:
            return int(json.loads((fold / RESULT).read_text())["threads"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None


def _notes(
    view: SweepView,
    spec: SweepSpec,
    files: SweepFiles,
    values: Mapping[str, Any],
) -> list[str]:
    """What stands between the file and the same results."""
    notes = []
    used = (spec.metric.user_function, values.get("backbone"), values.get("loss"))
    functions = [str(name) for name in used if name in spec.user_functions()]
    for name in dict.fromkeys(reference.rpartition(":")[0] for reference in functions):
        notes.append(f"put the file of the user function beside it: {files.code / name}")
    if not spec.as_begun(view.record.identity).folds.paired_seeds:
        notes.append(
            "an earlier version of foldsweep began the sweep, and each trial had a seed of its "
            "own: the scores will differ a little"
        )
    if values.get("checkpoint") == "best":
        notes.append(
            "checkpoint: best chooses among all folds, so only `sweeps run` can train this trial"
        )
    return notes


def _yaml(content: Mapping[str, Any]) -> str:
    from ruamel.yaml import YAML

    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = None
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    stream = io.BytesIO()
    writer.dump(dict(content), stream)
    return stream.getvalue().decode()
