"""`python -m trainer --config X.yaml --fold 0`: train one fold, without any sweep.

The YAML file has `data` and `folds` as a search space does, and any field of TrainConfig.
Progress goes to stderr, the result as JSON to stdout. Exit codes: 0 done, 2 wrong input, 130 interrupted.
"""

import argparse
import dataclasses
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, TypeVar

import pydantic
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from trainer.config import TrainConfig
from trainer.data.cache import open_images
from trainer.data.crops import require
from trainer.data.cut import Cut, cut_data
from trainer.data.options import DataOptions, FoldOptions
from trainer.errors import ConfigError, TrainerError
from trainer.fit import Ended, pick_device, run_fold
from trainer.reporter import EpochReport

MESSAGES = {  # where pydantic's own words name our classes
    "model_type": "must be a mapping",
    "missing": "missing",
    "extra_forbidden": "unknown key",
}
Model = TypeVar("Model", bound=pydantic.BaseModel)


class ConsoleReporter:
    """One line per epoch on stderr; Ctrl-C interrupts at the next safe point."""

    def __init__(self) -> None:
        self._interrupted = False

    def epoch(self, report: EpochReport) -> bool:
        """Print and go on."""
        m = report.metrics
        print(
            f"fold {report.fold}  epoch {report.epoch}/{report.epochs}  train loss {m['train_loss']:.4f}  "
            f"loss {m['loss']:.4f}  accuracy {m['accuracy']:.4f}  f1 {m['f1']:.4f}  {m['seconds']:.1f} s",
            file=sys.stderr,
        )
        return True

    def interrupted(self) -> bool:
        """Whether Ctrl-C was pressed."""
        return self._interrupted

    def interrupt(self, *_: object) -> None:
        """Handle SIGINT."""
        self._interrupted = True


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m trainer", description="Train one fold, without any sweep.")
    parser.add_argument("--config", type=Path, required=True, help="YAML with data, folds and TrainConfig fields")
    parser.add_argument("--fold", type=int, default=0, help="the fold to hold out, from 0 (default 0)")
    parser.add_argument("--out", type=Path, help="directory of the fold run (default runs/<config name>/fold-<fold>)")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--threads", type=_count, default=os.cpu_count() or 1, help="CPU threads (default: all cores)")
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
    streamed = [how.key for how in cut.data.plan.streamed]
    images = open_images(folds.manifest, config.preprocessing, streamed=streamed, threads=options.threads)
    reporter = ConsoleReporter()
    before = signal.signal(signal.SIGINT, reporter.interrupt)
    try:
        result = run_fold(
            config,
            images,
            folds,
            fold=options.fold,
            directory=options.out or Path("runs") / options.config.stem / f"fold-{options.fold}",
            reporter=reporter,
            device=pick_device(options.device),
            threads=options.threads,
        )
    finally:
        signal.signal(signal.SIGINT, before)
    if isinstance(result, Ended):
        print("interrupted; run the same command again to continue", file=sys.stderr)
        return 130
    print(json.dumps(dataclasses.asdict(result), indent=2))
    return 0


class _File(pydantic.BaseModel):
    """The configuration file: `data`, `folds`, and the fields of TrainConfig."""

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
    file = _validated(_File, values, problems)
    config = _validated(TrainConfig, {k: v for k, v in values.items() if k not in _File.model_fields}, problems)
    if file is None or config is None:
        raise ConfigError(
            "\n  ".join([f"{path}: {len(problems)} problem{'s' if len(problems) > 1 else ''}", *problems])
        )
    require(config.crop, config.background, reading=file.data.reading)
    return config, cut_data(file.data, file.folds, choices=[config.preprocessing])


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
