"""`python -m trainer --config X.yaml --fold 0`: train one fold, without any sweep.

The YAML file has the sections `data` and `folds`, as in a search space, and any fields of
TrainConfig. A search space in which each parameter has one value, such as `sweeps export --trial`
prints, is read, too. The command writes its progress to stderr and the result as JSON to stdout.
Exit codes: 0 done, 2 wrong input, 130 interrupted.
"""

import argparse
import dataclasses
import json
import signal
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import pydantic
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from trainer.config import TrainConfig, nested
from trainer.cores import cores
from trainer.data.cut import Cut, cut_data
from trainer.data.data_set import ReadOptions
from trainer.data.options import DataOptions, FoldOptions
from trainer.data.sources import read_table
from trainer.errors import ConfigError, TrainerError
from trainer.fields.declare import is_user_function
from trainer.files import fold_directory
from trainer.images.cache import open_images
from trainer.images.crops import require
from trainer.learning.phases import NoPhases, TimedPhases
from trainer.seeds import derive
from trainer.training.fit import Ended, pick_device, run_fold
from trainer.training.fold_setup import FoldSetup
from trainer.training.preflight import remembered_problem, try_functions
from trainer.training.reporter import EpochReport

# type of a pydantic error -> our message, where pydantic's message would name our classes
MESSAGES = {
    "model_type": "must be a mapping",
    "missing": "missing",
    "extra_forbidden": "unknown key",
}
Model = TypeVar("Model", bound=pydantic.BaseModel)


class ConsoleReporter:
    """Prints one line per epoch to stderr. Ctrl-C interrupts the fold run at the next safe point.

    Attributes:
        seconds: the duration of each epoch so far.
    """

    def __init__(self) -> None:
        self._interrupted = False
        self.seconds: list[float] = []

    def epoch(self, report: EpochReport) -> bool:
        """Print the epoch's metrics. The fold run always goes on."""
        m = report.metrics
        self.seconds.append(m["seconds"])
        print(
            f"fold {report.fold}  epoch {report.epoch}/{report.epochs}  "
            f"train loss {m['train_loss']:.4f}  loss {m['loss']:.4f}  "
            f"accuracy {m['accuracy']:.4f}  f1 {m['f1']:.4f}  {m['seconds']:.1f} s",
            file=sys.stderr,
        )
        return True

    def past(self, report: EpochReport) -> bool:
        """Print nothing: the epoch was printed when it was trained. The fold run always goes on."""
        return True

    def interrupted(self) -> bool:
        """Whether the user pressed Ctrl-C."""
        return self._interrupted

    def owns(self) -> bool:
        """Always True: nothing stops a second process from writing into the same directory.

        If a user starts two processes on one directory, the later one overwrites the files.
        """
        return True

    def interrupt(self, *_: object) -> None:
        """Handle SIGINT: ask the fold run to stop."""
        self._interrupted = True


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m trainer", description="Train one fold, without any sweep."
    )
    parser.add_argument(
        "--config", type=Path, required=True, help="YAML with data, folds and TrainConfig fields"
    )
    parser.add_argument(
        "--fold", type=int, default=0, help="the fold to hold out, from 0 (default 0)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        help="directory of the fold run (default runs/<config name>/fold-<fold>)",
    )
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument(
        "--profile", action="store_true", help="say at the end what an epoch's time was spent on"
    )
    parser.add_argument(
        "--threads",
        type=_count,
        default=cores(),
        help="CPU threads (default: all cores)",
    )
    options = parser.parse_args(arguments)
    try:
        return _train(options)
    except TrainerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _train(options: argparse.Namespace) -> int:
    config, cut = _read(options.config)
    folds = cut.folds
    if not 0 <= options.fold < folds.k:
        raise ConfigError(f"--fold {options.fold}: the folds are numbered 0 to {folds.k - 1}")
    for line in (*cut.data.notes, *cut.warnings()):
        print(f"note: {line}", file=sys.stderr)
    streamed = [how.key for how in cut.data.plan.streamed]
    images = [
        open_images(folds.manifest, view, streamed=streamed, threads=options.threads)
        for view in config.views
    ]
    reporter = ConsoleReporter()
    device = pick_device(options.device)
    phases = TimedPhases(device) if options.profile else NoPhases()
    setup = FoldSetup(
        config=config,
        images=images,
        folds=folds,
        fold=options.fold,
        directory=options.out or fold_directory(Path("runs") / options.config.stem, options.fold),
        device=device,
        threads=options.threads,
        code=options.config.parent,
    )
    before = signal.signal(signal.SIGINT, reporter.interrupt)
    try:
        result = run_fold(setup, reporter, phases=phases)
    finally:
        signal.signal(signal.SIGINT, before)
    if isinstance(result, Ended):
        print("interrupted; run the same command again to continue", file=sys.stderr)
        return 130
    if isinstance(phases, TimedPhases):
        _print_profile(phases, reporter.seconds)
    print(json.dumps(dataclasses.asdict(result), indent=2))
    return 0


def _print_profile(phases: TimedPhases, epoch_seconds: Sequence[float]) -> None:
    if not epoch_seconds:
        print(
            "nothing was trained, so there is no profile: the fold was done before", file=sys.stderr
        )
        return
    total = statistics.fmean(epoch_seconds)
    parts = {name: seconds / len(epoch_seconds) for name, seconds in phases.seconds.items()}
    parts["other"] = total - sum(seconds for name, seconds in parts.items() if name != "checkpoint")
    print(f"an epoch took {total:.3f} s on average:", file=sys.stderr)
    for name, seconds in parts.items():
        print(f"  {name:10} {seconds:8.3f} s  {seconds / total:6.1%}", file=sys.stderr)


class _File(pydantic.BaseModel):
    """The configuration file: `data`, `folds`, and fields of TrainConfig as extra keys."""

    model_config = pydantic.ConfigDict(extra="allow")

    data: DataOptions
    folds: FoldOptions = FoldOptions()


def _read(path: Path) -> tuple[TrainConfig, Cut]:
    try:
        values = YAML(typ="safe", pure=True).load(path.read_text())
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read ({error})") from None
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise ConfigError(f"{path}: expected a mapping with data, folds and fields of TrainConfig")
    problems: list[str] = []
    if "parameters" in values:
        values = _of_space(values, problems)
    file = _validated(_File, values, problems)
    fields = nested({key: value for key, value in values.items() if key not in _File.model_fields})
    config = _validated(TrainConfig, fields, problems)
    if file is None or config is None or problems:
        raise ConfigError(
            "\n  ".join(
                [f"{path}: {len(problems)} problem{'s' if len(problems) > 1 else ''}", *problems]
            )
        )
    _refuse_impossible(config, file, code=path.parent)
    return config, cut_data(file.data, file.folds, read=ReadOptions(choices=config.views))


def _of_space(space: dict[str, Any], problems: list[str]) -> dict[str, Any]:
    """The content of a search space as that of a configuration file.

    The seed and the metric are those of the sweep's trials. A problem is added for each parameter
    without a single value. The other keys of a search space have no meaning for one fold run.
    """
    fields: dict[str, Any] = {key: space[key] for key in _File.model_fields if key in space}
    parameters = space["parameters"]
    for name, entry in parameters.items() if isinstance(parameters, dict) else ():
        if isinstance(entry, dict) and entry.keys() == {"value"}:
            fields[name] = entry["value"]
        else:
            problems.append(f"parameters.{name}: one fold run needs one value: {{value: ...}}")
    metric = space.get("metric")
    name = str(metric.get("name", "")).removeprefix("valid/") if isinstance(metric, dict) else ""
    if isinstance(metric, dict) and is_user_function(name):
        fields |= {"metric": name, "metric_goal": metric.get("goal")}
    seed = space.get("seed", 0)
    if type(seed) is int:
        return {**fields, "seed": derive(seed)}
    problems.append(f"seed: expected a whole number, got {seed!r}")
    return fields


def _refuse_impossible(config: TrainConfig, file: _File, *, code: Path) -> None:
    """Refuse a configuration that cannot work, before any image is decoded.

    Raises:
        ConfigError: a library or weights are missing, the network cannot be built, or a user
            function fails.
    """
    if config.checkpoint == "best":
        raise ConfigError(
            "checkpoint: best chooses among all folds, and this trains one. Use last or fold_best"
        )
    for view in config.views:
        require(view.crop, view.background, reading=file.data.reading)
    columns = file.data.label_columns if config.heads == "separate" else ("class",)
    problem = remembered_problem(config, dict.fromkeys(columns, 2), code=code)
    if problem:
        raise ConfigError(problem)
    try_functions(
        [config.loss] if is_user_function(config.loss) else [],
        config.metric,
        labels=lambda: read_table(file.data, fold_column=file.folds.column).labels,
        heads=(config.heads,),
        code=code,
    )


def _validated(model: type[Model], values: dict[str, Any], problems: list[str]) -> Model | None:
    try:
        return model(**values)
    except pydantic.ValidationError as error:
        for entry in error.errors():
            where = ".".join(map(str, entry["loc"])) or "config"
            message = MESSAGES.get(entry["type"], entry["msg"].removeprefix("Value error, "))
            problems.append(f"{where}: {message}")
        return None


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text}")
    return number


if __name__ == "__main__":
    sys.exit(main())
