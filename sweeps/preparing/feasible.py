"""Check whether the trials of a search space can work at all, before a GPU is used.

This checks the names of backbones and optimizers, the networks, and the user functions.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import pydantic

from sweeps.errors import KeyPath, Problem, SpecError
from sweeps.preparing.data import check_data
from sweeps.preparing.names import in_timms_words, known_name, renamed
from sweeps.space.as_meant import as_meant
from sweeps.space.domains import Constant
from sweeps.space.spec import SweepSpec
from sweeps.space.yaml_file import YamlFile
from trainer.config import TrainConfig, nested
from trainer.data.sources import read_table
from trainer.errors import ConfigError, TrainerError
from trainer.fields.declare import is_user_function
from trainer.model.timm_names import check_backbone, check_optimizer
from trainer.training.preflight import remembered_problem, try_functions

NAMED = {"backbone": check_backbone, "optimizer": check_optimizer}
# the fields that decide whether a network can be built and can take a batch
NETWORK_FIELDS = (
    "backbone",
    "weights",
    "resize",
    "pooling",
    "drop_path",
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
MAX_NETWORKS = 500  # at most this many different networks are checked


def check_spec(spec: SweepSpec) -> SweepSpec:
    """Check in a moment what needs neither an image nor a network, before anything is written.

    This finds most of a user's mistakes.

    Returns:
        the search space with the names of the installed timm.

    Raises:
        SpecError: unknown names, or user functions that cannot be loaded, with their lines; and
            all that is wrong with data and networks, if the data are wrong, too.
        DataError, ConfigError: see `check_data`.
    """
    spec = in_timms_words(spec)
    problems = _quick_problems(spec)
    try:
        check_data(spec)
    except TrainerError as error:
        problems = problems or list(_network_problems(spec, lambda: False))
        if not problems:
            raise
        problems.append(_data_problem(error))
    refuse(problems, spec)
    return spec


def further_problems(spec: SweepSpec, problems: Iterable[Problem]) -> Iterator[Problem]:
    """What else is wrong with a search space that has problems, see `read_spec`.

    Networks are built only if all parameters are right: a missing one would have its default.
    """
    found = _quick_problems(spec)
    if not found and not any(problem.path[:1] == ("parameters",) for problem in problems):
        found = list(_network_problems(spec, lambda: False))
    yield from found
    try:
        check_data(spec)
    except TrainerError as error:
        yield _data_problem(error)


def check_names(spec: SweepSpec) -> None:
    """Check that timm knows every name in the search space, and that user functions can be loaded.

    Raises:
        SpecError: unknown names, or user functions that cannot be loaded, with their lines.
    """
    refuse(_quick_problems(spec), spec)


def _quick_problems(spec: SweepSpec) -> list[Problem]:
    """See `check_names`."""
    return list(_name_problems(spec)) or list(_user_function_problems(spec))


def check_trainable(spec: SweepSpec, *, lost: Callable[[], bool] = lambda: False) -> None:
    """Check that every network can be built, and call the user functions.

    A network takes up to a second if its answer is not remembered.

    Args:
        lost: is asked before each network; true if the sweep cannot run anyway. Then the other
            networks are not checked.

    Raises:
        SpecError: see `check_networks`.
        DataError, ConfigError: see `try_user_functions`.
    """
    check_networks(spec, lost=lost)
    try_user_functions(spec)


def check_networks(spec: SweepSpec, *, lost: Callable[[], bool] = lambda: False) -> None:
    """Check that every network can be built; `check_names` has found no problem.

    Args:
        lost: see `check_trainable`.

    Raises:
        SpecError: networks that cannot be built, with their lines in the file.
    """
    refuse(list(_network_problems(spec, lost)), spec)


def _data_problem(error: TrainerError) -> Problem:
    """An error of the data as a problem, at the key of the file that its message names first."""
    named = re.search(r"\b(data|folds)\.([a-z_]+)", str(error))
    return Problem((named[1], named[2]) if named else ("data",), str(error))


def try_user_functions(spec: SweepSpec) -> None:
    """Call the user functions for metric and loss with artificial predictions for the classes.

    Raises:
        ConfigError: a user function fails; the message has its file and line.
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
            problem = None if is_user_function(value) else check(known_name(name, value))
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


def _network_problems(spec: SweepSpec, lost: Callable[[], bool]) -> Iterator[Problem]:
    seen: dict[str, Problem] = {}
    columns = spec.data.label_columns
    if "separate" in spec.space.values_of("heads") and len(columns) < 2:
        text = f"separate needs several label columns (data.label), got {', '.join(columns)}"
        yield Problem(("parameters", "heads"), text)
        return
    for count, config in enumerate(_networks(spec)):
        if count == MAX_NETWORKS or lost():
            break
        problem = remembered_problem(config, _head_sizes(spec, config), code=spec.folder)
        if problem:
            seen.setdefault(problem, Problem(("parameters",), problem))
    yield from seen.values()


def _networks(spec: SweepSpec) -> Iterator[TrainConfig]:
    """One configuration for each different network that a trial of this search space can have."""
    seen = set()
    # the two ends of a range of whole numbers are enough: values between them are no special case
    for values in spec.reachable(*NETWORK_FIELDS, ends=True):
        try:
            config = TrainConfig(**_representative(nested(values)))
        except pydantic.ValidationError:  # a trial with these values fails with this error
            continue
        key = config.model_dump_json()
        if key not in seen:
            seen.add(key)
            yield config


def _representative(values: Mapping[str, Any]) -> dict[str, Any]:
    """Small values for which the same networks can be built as for `values`.

    Many different values become equal, so that few networks have to be built.
    """
    given = {**{name: TrainConfig.model_fields[name].default for name in NETWORK_FIELDS}, **values}
    part = (
        given["batch_size"] // given["accumulation"]
        if given["batch_size"] % given["accumulation"] == 0
        else 2
    )
    same = {
        "batch_size": min(2, part),
        "accumulation": 1,
        "drop_path": 0.5 if given["drop_path"] else given["drop_path"],
        "layer_decay": 1.0 if given["layer_decay"] == 1 else 0.5,
        "unfreeze_epoch": min(1, given["unfreeze_epoch"]),
    }
    if given["progressive"] == 1:
        same |= {"epochs": 1, "progressive_epochs": 0}
    return {**values, **same}


def _head_sizes(spec: SweepSpec, config: TrainConfig) -> dict[str, int]:
    """Number of classes per head for the check: always two.

    The real number is not known before the images are read.
    """
    columns = spec.data.label_columns
    return dict.fromkeys(columns if config.heads == "separate" else ("class",), 2)


def _field_of(spec: SweepSpec, reference: str) -> str:
    """The parameter, `backbone` or `loss`, that names this user function."""
    return next(name for name in ("backbone", "loss") if reference in spec.space.values_of(name))


def refuse(problems: list[Problem], spec: SweepSpec) -> None:
    """Raise a SpecError with these problems and their lines in the file, if there are any."""
    if problems:
        file = YamlFile(spec.path, text=spec.text)
        raise SpecError(str(spec.path), [_placed(problem, spec, file) for problem in problems])


def _placed(problem: Problem, spec: SweepSpec, file: YamlFile) -> Problem:
    """The problem with its line in the file; without a line if --set changed the faulty value."""
    section = str(problem.path[0])
    name = problem.path[1] if len(problem.path) > 1 else None
    in_file = renamed(as_meant(file.values, spec.path)[0]).get(section)
    used = spec.raw.get(section)
    if name is not None and isinstance(in_file, Mapping) and isinstance(used, Mapping):
        in_file = in_file.get(name)
        used = used.get(name)
    if in_file != used:
        return Problem(problem.path, f"{problem.text} (from --set)")
    return Problem(problem.path, problem.text, file.line(problem.path))
