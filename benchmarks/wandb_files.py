"""What becomes of W&B's sweep files: does the language accept them, does `--fix` make them run?

    python benchmarks/wandb_files.py FOLDER --schema schema.json [--show]

FOLDER has one sub-folder per repository, with sweep files from public repositories (they have
their own licences, so they are not kept here). The schema is W&B's own:
`src/sweeps/config/schema.json` of github.com/wandb/sweeps. Its verdict, on a file that is read as
YAML 1.2, says whether a file is valid; so 1e-4 is a number, which W&B's YAML 1.1 reads as text.
A grid with a continuous range is invalid, too: W&B's grid search refuses it.

accepted    `sweeps check FILE --space-only` shows the file
fixed       `sweeps check FILE --fix` writes a file, which then passes `sweeps check` with the path
            of a small folder of images as data.source and without pretrained weights
timm        a parameter lists a value that the installed timm knows as a model, in our spelling
kept        the fixed file searches all these models

The kinds of failure are printed without the content of the files, unless --show asks for it.
"""

import argparse
import collections
import contextlib
import io
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
from photos import photo
from report import print_header
from ruamel.yaml import YAML, YAMLError

from sweeps.cli.check import check
from sweeps.errors import InputError, SpecError
from sweeps.space.as_meant import value_as_meant
from sweeps.space.fixing import PLACEHOLDER, Fixed, fix
from sweeps.space.space_only import read_space_only
from trainer.errors import TrainerError
from trainer.model.timm_names import canonical_backbone, check_backbone


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--schema", type=Path, required=True)
    parser.add_argument("--show", action="store_true", help="print each failure with its file")
    options = parser.parse_args()
    print_header("timm")
    files = sorted(path for path in options.folder.resolve().rglob("*.y*ml"))
    schema = json.loads(options.schema.read_text())
    counts: collections.Counter[str] = collections.Counter()
    failures: collections.Counter[tuple[str, str]] = collections.Counter()
    repositories = collections.defaultdict(set)
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        _write_images(Path("images"))
        for path in files:
            for step, failure in _results(path, schema):
                counts[step] += 1
                repositories[step].add(path.parent)
                if failure is not None:
                    counts[f"{step} failed"] += 1
                    failures[step, _kind(failure)] += 1
                    if options.show:
                        print(f"{path.parent.name}/{path.name}  {step}: {failure}")
    for step in ("valid", "accepted", "fixed", "timm, fixed", "timm, kept"):
        good = counts[step] - counts[f"{step} failed"]
        print(
            f"{step:12} {good:4} of {counts[step]:4} files, {len(repositories[step])} repositories"
        )
    for (step, kind), count in failures.most_common():
        print(f"{count:4}  {step}: {kind}")


def _results(path: Path, schema: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    """Each step that is asked of a file, with the reason why it failed, or None."""
    invalid = _why_invalid(path, schema)
    yield "valid", invalid
    refused = _failure(lambda: read_space_only(path))
    yield "accepted" if invalid is None else "accepted, though invalid", refused
    models = _timm_models(path)
    fixed: list[Fixed] = []
    failed = _failure(lambda: fixed.append(fix(path))) or _check_failure(fixed[0])
    if invalid is None:
        yield "fixed", failed
    else:
        yield "fixed, though invalid", failed
    if models:
        yield "timm, fixed", failed
        lost = models - _timm_models(Path("space.yaml")) if failed is None else models
        yield "timm, kept", f"lost {', '.join(sorted(lost))}" if lost else None


def _why_invalid(path: Path, schema: Mapping[str, Any]) -> str | None:
    """Why W&B's schema refuses a file, or None."""
    try:
        content = YAML(typ="safe", pure=True).load(path.read_text())
    except (YAMLError, UnicodeDecodeError) as error:
        return f"no YAML: {error}"
    for error in jsonschema.Draft7Validator(schema).iter_errors(content):
        return f"{error.json_path}: {error.message}"
    if content["method"] == "grid" and any(map(_is_continuous, _entries(content["parameters"]))):
        return "a grid with a continuous range"
    return None


def _is_continuous(entry: Mapping[str, Any]) -> bool:
    """Whether W&B's grid search refuses the entry of a parameter."""
    kinds = ("constant", "categorical", "int_uniform", "q_uniform")
    whole = all(isinstance(entry.get(key, 0), int) for key in ("min", "max"))
    listed = "value" in entry or "values" in entry
    return not (entry["distribution"] in kinds if "distribution" in entry else listed or whole)


def _failure(call: Any) -> str | None:
    """The message of the error that a call ends with, or None."""
    try:
        call()
    except (InputError, SpecError, TrainerError) as error:
        return str(error)
    return None


def _check_failure(fixed: Fixed) -> str | None:
    """What `sweeps check` says against a fixed file that has its data; None if it passes."""
    Path("space.yaml").write_text(fixed.text.replace(PLACEHOLDER, "images"))
    if fixed.left:
        return f"left:\n{fixed.left[0]}"
    settings = ["parameters.weights={value: none}"]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return _failure(lambda: check(Path("space.yaml"), settings=settings, runs=Path("runs")))


def _timm_models(path: Path) -> set[str]:
    """The models of timm among the values of a file's parameters."""
    try:
        content = YAML(typ="safe", pure=True).load(path.read_text())
    except (YAMLError, UnicodeDecodeError):
        return set()
    found = set()
    parameters = content.get("parameters") if isinstance(content, dict) else None
    listed = _entries(parameters if isinstance(parameters, dict) else {})
    for value in (each for entry in listed for each in _values(entry)):
        if isinstance(value, str) and len(value) > 3:
            name = canonical_backbone(value_as_meant("backbone", value))
            if check_backbone(name) is None:
                found.add(name)
    return found


def _entries(parameters: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The entries of all parameters, those of nested mappings included."""
    for entry in parameters.values():
        if isinstance(entry, dict):
            nested = entry.get("parameters")
            yield from _entries(nested) if isinstance(nested, dict) else (entry,)


def _values(entry: Mapping[str, Any]) -> Iterator[Any]:
    values = entry.get("values")
    yield from values if isinstance(values, list) else ()
    yield entry.get("value")


def _kind(failure: str) -> str:
    """The first problem of a message without its line, and what the file calls its things."""
    lines = failure.splitlines()
    placed = re.compile(r"\s*(?:line \d+ +)?(?:[\w.$+-]+: )?(.*)")
    first = next((line for line in lines[1:] if line.startswith(("  ", "line "))), lines[0])
    text = placed.fullmatch(first)[1] if placed.fullmatch(first) else first
    return re.sub(r"'[^']*'|\S*[._]\S+|=\S+", "…", text.partition(" Allowed")[0])[:90]


def _write_images(folder: Path) -> None:
    """Three classes with 20 images each."""
    for number in range(60):
        path = folder / "abc"[number % 3] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        photo(number, height=64, width=64).save(path)


if __name__ == "__main__":
    main()
