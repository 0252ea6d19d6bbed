"""What of a search space can be built at all: names, networks, the user's functions. Asked before a GPU is used."""

from collections.abc import Iterator, Mapping
from typing import Any

import pydantic

from sweeps.errors import KeyPath, Problem, SpecError
from sweeps.preparing.data import check_data
from sweeps.space.domains import Constant
from sweeps.space.spec import SweepSpec
from sweeps.space.yaml_file import YamlFile
from trainer.config import TrainConfig, nested
from trainer.data.sources import read_table
from trainer.errors import ConfigError
from trainer.fields.declare import is_user_function
from trainer.model.timm_names import check_backbone, check_optimizer
from trainer.training.preflight import remembered_problem, try_functions

NAMED = {"backbone": check_backbone, "optimizer": check_optimizer}
# what decides whether a network can be built and fed
NETWORK_FIELDS = (
    "backbone",
    "weights",
    "resize",
    "pooling",
    "head_norm",
    "heads",
    "head_weights",
    "head_crops",
    "freeze",
    "unfreeze_epoch",
    "layer_decay",
    "progressive",
    "progressive_epochs",
    "epochs",
    "batch_size",
    "accumulation",
)
MAX_NETWORKS = 500  # combinations that are looked at


def check_spec(spec: SweepSpec) -> None:
    """Everything that can be known before an image is read: most mistakes, before anything is written or started.

    Raises:
        SpecError: names, networks or files of user functions that cannot be, with their lines.
        DataError, ConfigError: see `check_data` and `try_user_functions`.
    """
    check_data(spec)
    check_feasible(spec)
    try_user_functions(spec)


def check_feasible(spec: SweepSpec) -> None:
    """Ask timm for every name of the space, and whether every network of it can be built.

    Raises:
        SpecError: what cannot, with the lines in the file.
    """
    problems = list(_name_problems(spec))
    if not problems:
        problems = list(_user_function_problems(spec)) or list(_network_problems(spec))
    if problems:
        file = YamlFile(spec.path)
        raise SpecError(str(spec.path), [_placed(problem, spec, file) for problem in problems])


def try_user_functions(spec: SweepSpec) -> None:
    """Call the user's metric and losses on made-up predictions of the classes that the data name.

    Raises:
        ConfigError: one of them fails; the text has its file and line.
        DataError: see read_table.
    """
    try_functions(
        [loss for loss in spec.space.values_of("loss") if is_user_function(loss)],
        spec.metric.user_function,
        labels=lambda: read_table(spec.data, fold_column=spec.folds.column).labels,
        heads=spec.space.values_of("heads") or ("joint",),
        code=spec.folder,
    )


def _name_problems(spec: SweepSpec) -> Iterator[Problem]:
    for name, check in NAMED.items():
        default = TrainConfig.model_fields[name].default
        for index, value in enumerate(spec.space.values_of(name) or (default,)):
            problem = None if is_user_function(value) else check(value)
            if problem:
                constant = name not in spec.space or isinstance(spec.space[name].domain, Constant)
                at: KeyPath = ("value",) if constant else ("values", index)
                yield Problem(("parameters", name, *at), problem)


def _user_function_problems(spec: SweepSpec) -> Iterator[Problem]:
    for reference in spec.user_functions():
        from trainer.user_code import load_user_function

        try:
            load_user_function(reference, spec.folder)
        except ConfigError as error:
            field = (
                "metric" if reference == spec.metric.user_function else _field_of(spec, reference)
            )
            yield Problem(
                ("metric", "name") if field == "metric" else ("parameters", field), str(error)
            )


def _network_problems(spec: SweepSpec) -> Iterator[Problem]:
    seen: dict[str, Problem] = {}
    columns = spec.data.label_columns
    if "separate" in spec.space.values_of("heads") and len(columns) < 2:
        text = f"separate needs several label columns (data.label), got {', '.join(columns)}"
        yield Problem(("parameters", "heads"), text)
        return
    for count, config in enumerate(_networks(spec)):
        if count == MAX_NETWORKS:
            break
        problem = remembered_problem(config, _head_sizes(spec, config), code=spec.folder)
        if problem:
            seen.setdefault(problem, Problem(("parameters",), problem))
    yield from seen.values()


def _networks(spec: SweepSpec) -> Iterator[TrainConfig]:
    """Every network that a trial can ask for, each once."""
    seen = set()
    for values in spec.reachable(
        *NETWORK_FIELDS, ends=True
    ):  # nothing here depends on what lies between
        try:
            config = TrainConfig(**_representative(nested(values)))
        except pydantic.ValidationError:  # such a trial fails with that problem
            continue
        key = config.model_dump_json()
        if key not in seen:
            seen.add(key)
            yield config


def _representative(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values that ask the same of a network, so that few networks are built."""
    given = {**{name: TrainConfig.model_fields[name].default for name in NETWORK_FIELDS}, **values}
    part = (
        given["batch_size"] // given["accumulation"]
        if given["batch_size"] % given["accumulation"] == 0
        else 2
    )
    same = {
        "batch_size": min(2, part),
        "accumulation": 1,
        "layer_decay": 1.0 if given["layer_decay"] == 1 else 0.5,
        "unfreeze_epoch": min(1, given["unfreeze_epoch"]),
    }
    if given["progressive"] == 1:
        same |= {"epochs": 1, "progressive_epochs": 0}
    return {**values, **same}


def _head_sizes(spec: SweepSpec, config: TrainConfig) -> dict[str, int]:
    """Two classes per head will do: how many there are is not known before the images are read."""
    columns = spec.data.label_columns
    return dict.fromkeys(columns if config.heads == "separate" else ("class",), 2)


def _field_of(spec: SweepSpec, reference: str) -> str:
    return next(name for name in ("backbone", "loss") if reference in spec.space.values_of(name))


def _placed(problem: Problem, spec: SweepSpec, file: YamlFile) -> Problem:
    """With its line, unless --set changed what it is about."""
    section, name = str(problem.path[0]), problem.path[1] if len(problem.path) > 1 else None
    then, now = file.values.get(section), spec.raw.get(section)
    if name is not None and isinstance(then, Mapping) and isinstance(now, Mapping):
        then, now = then.get(name), now.get(name)
    if then != now:
        return Problem(problem.path, f"{problem.text} (from --set)")
    return Problem(problem.path, problem.text, file.line(problem.path))
