"""A validated and frozen search space, `SweepSpec`. `spec_reader` makes a `SweepSpec` from YAML."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from sweeps.space.domains import Categorical, Domain, Numeric, finite_values
from sweeps.space.parameters import Parameter, Space, Values, grid, grid_size
from sweeps.space.stopping import EarlyTerminate, NoRule, Race
from sweeps.space.tracking import TrackerName, Tracking
from trainer.config import TrainConfig, nested
from trainer.data.options import DataOptions, FoldOptions, Section
from trainer.fields.declare import is_user_function
from trainer.images.preprocessing import Preprocessing
from trainer.metrics import METRICS, Goal

# each metric's name in a search space -> the direction in which the metric gets better
METRIC_NAMES = {f"valid/{name}": goal for name, goal in METRICS.items()}
MAX_GRID = 1_000_000  # the points of a grid are counted up to this number
SamplerName = Literal["tpe", "gp", "cmaes", "qmc", "nsgaii", "random", "grid", "brute_force"]
# the samplers of each method, the default first; W&B uses the word "custom" for schedulers that are
# not part of W&B, such as foldsweep
SAMPLERS: dict[str, tuple[SamplerName, ...]] = {
    "bayes": ("tpe", "gp", "cmaes", "nsgaii"),
    "random": ("random", "qmc"),
    "grid": ("grid", "brute_force"),
    "custom": ("tpe", "gp", "cmaes", "qmc", "nsgaii", "random", "grid", "brute_force"),
}


def user_metric(name: str) -> str | None:
    """The user function that a metric's name refers to, or None for a built-in metric."""
    name = name.removeprefix("valid/")
    return name if is_user_function(name) else None


def result_field(name: str) -> str:
    """The key of a metric in a fold's result: `f1` for `valid/f1`, `metric` for a user function."""
    return "metric" if user_metric(name) else name.removeprefix("valid/")


def max_epochs(space: Space) -> int:
    """The largest number of epochs that a trial of the space can have."""
    default = int(TrainConfig.model_fields["epochs"].default)
    if "epochs" not in space:
        return default
    parameter = space["epochs"]
    domain = parameter.domain
    largest = int(domain.high) if isinstance(domain, Numeric) else max(finite_values(domain))
    # if the conditions exclude `epochs` from a trial, the trial has the default number of epochs
    return max(default, largest) if parameter.when else largest


def _names(value: Any) -> Any:
    """One name or a list of names as a tuple, each name once.

    Raises:
        ValueError: `value` is neither a name nor a list of names.
    """
    names = (
        (value,)
        if isinstance(value, str)
        else tuple(value)
        if isinstance(value, list | tuple)
        else ()
    )
    if not all(isinstance(name, str) and name for name in names) or (
        not names and value not in ([], ())
    ):
        raise ValueError(f"expected a sweep's name, or a list of them, got {value!r}")
    return tuple(dict.fromkeys(names))


class Metric(Section):
    """The metric that gives the score of a trial.

    Attributes:
        name: a built-in metric such as `valid/f1`, or a user function, `my_task.py:my_metric`.
        goal: the direction in which the metric gets better.
        target: the sweep ends when the score of a trial reaches this value.
    """

    name: str
    goal: Annotated[Goal, Field(strict=False)]
    target: Annotated[float | None, Field(allow_inf_nan=False)] = None

    @property
    def user_function(self) -> str | None:
        """The user function that computes the metric, or None for a built-in metric."""
        return user_metric(self.name)

    @property
    def field(self) -> str:
        """The key of the metric in the result of a fold, see `result_field`."""
        return result_field(self.name)


class Resources(Section):
    """The resources of one trial.

    Attributes:
        gpu: the share of one GPU. None means one GPU if there is a GPU, and otherwise no GPU.
        cpu: the number of CPUs. "auto" divides the CPUs of a node equally among the trials that
            fit on the GPUs of the node; without a GPU, "auto" means 1.
    """

    gpu: Annotated[float | None, Field(ge=0, le=1)] = None
    cpu: Annotated[float, Field(gt=0, allow_inf_nan=False)] | Literal["auto"] = 1


class Budget(Section):
    """The limits that end a sweep, in addition to `run_cap`.

    Attributes:
        hours: wall-clock hours, summed over all continuations of the sweep.
        gpu_hours: GPU-hours, summed over all continuations of the sweep.
    """

    hours: Annotated[float, Field(gt=0)] | None = None
    gpu_hours: Annotated[float, Field(gt=0)] | None = None


class Notify(Section):
    """Who is told about a sweep.

    Attributes:
        webhook: the URL of a webhook, a secret: it is in no file of the sweep.
    """

    webhook: SecretStr | None = None


class Folds(FoldOptions):
    """How the images are cut into folds, and how trials are compared on them.

    Attributes:
        race: whether the fold race stops trials, or its settings.
        paired_seeds: whether all trials share the random numbers of a fold: the order of the
            images, the first weights of the heads, and augmentation, where their shapes agree.
            Differences between trials then carry less noise.
        finish: at the end of a sweep, at most this number of pruned trials are finished because
            they help the ensemble most, and at most a quarter of the trials; 0 finishes none.
    """

    race: bool | Race = True
    paired_seeds: bool = True
    finish: Annotated[int, Field(ge=0)] = 4

    @property
    def race_rule(self) -> Race | None:
        """The settings of the fold race, or None if the fold race is off."""
        if isinstance(self.race, Race):
            return self.race
        return Race() if self.race else None


class SweepSpec(Section):
    """A validated search space.

    Attributes:
        name: the name of the sweep and of its folder; without one, that of the file.
        description: what the sweep is to find out.
        method: how points are proposed.
        sampler: what proposes the points; None for the first sampler of the method.
        run_cap: the number of trials, repeated ones not counted.
        seed: every other seed derives from it.
        space: the parameters; a `TrainConfig` field that is no parameter keeps its default.
        retries: the number of retries of a trial whose worker process died.
        stuck_after: a trial that has not reported for as long as this many of its usual epochs,
            and for at least 10 minutes, gets another worker process; None waits for ever.
        keep: the number of best trials whose weights are kept.
        start_with: the points that the sweep tries first. A continuation does not try them again.
            The sampler chooses the parameters that a point does not name.
        warm_start: names of other sweeps; the sampler learns from the finished trials of these
            sweeps.
        tracking: the programs of others that show the sweep.
        notices: messages about content that is allowed but may not be intended.
        path: the path of the file; a path of a user function is relative to the folder of the file.
        text: what stands in for the content of the file, as in a notebook; None if there is a file.
        raw: the content of the file after the `--set` overrides, as JSON-like values, without
            `notify`.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, arbitrary_types_allowed=True
    )

    name: str
    description: str = ""
    method: Literal["bayes", "random", "grid", "custom"] = "bayes"
    sampler: SamplerName | None = None
    metric: Metric
    run_cap: Annotated[int, Field(ge=1)] | None = None
    seed: Annotated[int, Field(ge=0)] = 0
    data: DataOptions
    folds: Folds = Folds()
    resources: Resources = Resources()
    budget: Budget = Budget()
    notify: Notify = Notify()
    early_terminate: EarlyTerminate = NoRule()
    retries: Annotated[int, Field(ge=0)] = 2
    stuck_after: Annotated[float | None, Field(gt=1, allow_inf_nan=False)] = 10.0
    keep: Annotated[int, Field(ge=1)] = 20
    start_with: tuple[dict[str, Any], ...] = ()
    warm_start: Annotated[
        tuple[str, ...], BeforeValidator(_names, json_schema_input_type=str | tuple[str, ...])
    ] = ()
    tracking: Tracking = Tracking()
    space: Space
    notices: tuple[str, ...] = ()
    path: Path = Path("space.yaml")
    text: str | None = None
    raw: dict[str, Any]

    @property
    def folder(self) -> Path:
        """The absolute folder of the file, to which the paths of user functions are relative."""
        return self.path.absolute().parent

    @property
    def search(self) -> SamplerName:
        """The sampler that proposes the points: `sampler`, or the default sampler of the method."""
        return self.sampler or SAMPLERS[self.method][0]

    @property
    def finite(self) -> bool:
        """Whether the sampler tries each point of the space once, and the sweep then ends."""
        return self.search in ("grid", "brute_force")

    @property
    def max_epochs(self) -> int:
        """E, the largest number of epochs in the space; a report has the step fold x E + epoch."""
        return max_epochs(self.space)

    @property
    def folds_comparable(self) -> bool:
        """Whether the fold scores of a running trial can be compared with those of complete trials.

        With `checkpoint: best` they cannot, because one epoch for all folds is chosen at the end.
        """
        return "best" not in self.space.values_of("checkpoint")

    @property
    def judges_epochs(self) -> bool:
        """Whether `early_terminate` may stop a trial after any epoch, and not only after a fold."""
        return self.early_terminate.type not in ("none", "wilcoxon")

    @property
    def trial_cap(self) -> int | None:
        """The largest number of trials: `run_cap`, and for a grid at most the number of points."""
        return (
            grid_size(self.space, at_most=self.run_cap or MAX_GRID) if self.finite else self.run_cap
        )

    def choices(self) -> tuple[Preprocessing, ...]:
        """Every preprocessing of the images that a trial of the space can need."""
        choices: dict[Preprocessing, None] = {}  # a dict, because 224 and "224x224" are equal
        for values in self.reachable(
            "resize",
            "resize_mode",
            "resampling",
            "crop",
            "background",
            "heads",
            "head_crops",
        ):
            try:
                choices.update(dict.fromkeys(TrainConfig(**nested(values)).views))
            except ValidationError:  # a trial with these values fails before it reads an image
                continue
        return tuple(choices)

    def user_functions(self) -> tuple[str, ...]:
        """The user functions that backbone, loss and metric name, as `FILE.py:FUNCTION`."""
        found = [self.metric.user_function] if self.metric.user_function else []
        for name in ("backbone", "loss"):
            found += [value for value in self.space.values_of(name) if is_user_function(value)]
        return tuple(dict.fromkeys(found))

    def reachable(self, *fields: str, ends: bool = False) -> Iterator[Values]:
        """Every combination of the values of some TrainConfig fields that the conditions allow.

        A field that the conditions exclude from a combination is left out of the combination. A
        continuous range is represented by its two ends.

        Args:
            ends: a range of whole numbers is also represented by its two ends only.
        """
        names = {p.name for p in self.space.parameters if p.name.partition(".")[0] in fields}
        needed = set(names)
        # in a space, each parameter comes after the parameters that its `when` names
        for parameter in reversed(self.space.parameters):
            if parameter.name in needed:
                needed |= {other for other, _ in parameter.when}
        part = tuple(
            dataclasses.replace(parameter, domain=self._listed(parameter, ends=ends))
            for parameter in self.space.parameters
            if parameter.name in needed
        )
        for point in grid(Space(part)):
            yield {name: value for name, value in point.items() if name in names}

    def _listed(self, parameter: Parameter, *, ends: bool) -> Domain:
        """The domain as a list of values.

        A range becomes its two ends, and the values of the range that conditions of other
        parameters name. The ends of a law are its quantiles 0.05 and 0.95.
        """
        domain = parameter.domain
        if not isinstance(domain, Numeric) or (not ends and domain.stepped):
            return domain
        named = [
            value
            for other in self.space.parameters
            for name, values in other.when
            if name == parameter.name
            for value in values
        ]
        ends_of_range = (
            (domain.draw(0.0), domain.draw(1.0))
            if domain.law is None
            else (domain.draw(0.05), domain.draw(0.95))
        )
        return Categorical(tuple(dict.fromkeys((*ends_of_range, *named))))

    def local_weights(self) -> tuple[str, ...]:
        """The files of weights that the values of `weights` name."""
        return tuple(
            value
            for value in self.space.values_of("weights")
            if value not in ("pretrained", "none")
        )

    @property
    def prunes(self) -> bool:
        """Whether a rule may stop a trial before its last fold."""
        raced = self.folds.race_rule is not None and self.folds_comparable
        return raced or self.early_terminate.type != "none"

    def as_begun(self, identity: Mapping[str, Any]) -> "SweepSpec":
        """This search space as it is for a stored sweep, which another version may have begun.

        What the file does not say about the fold race and `folds.finish` stays as it was when the
        sweep began: this version may have other defaults. The trials of format 1 have seeds of
        their own.

        Args:
            identity: see `SweepRecord.identity`.
        """
        folds = self.folds
        changes: dict[str, Any] = {}
        rule = folds.race_rule
        begun = identity["spec"]["folds"].get("race")
        if rule is not None and begun:
            known = {name: begun[name] for name in Race.model_fields if name in begun}
            changes["race"] = Race(**{**known, **rule.model_dump(exclude_unset=True)})
        if "finish" not in folds.model_fields_set:
            changes["finish"] = identity.get("finish", 0)
        if identity.get("format", 1) == 1:
            changes["paired_seeds"] = False
        return self.model_copy(update={"folds": folds.model_copy(update=changes)})

    def tracked_by(self, names: Iterable[TrackerName]) -> "SweepSpec":
        """This search space with some trackers more, as if its file named them."""
        tracking = self.tracking.also(names)
        if tracking == self.tracking:
            return self
        section = tracking.model_dump(mode="json", exclude_defaults=True)
        return self.model_copy(
            update={"tracking": tracking, "raw": {**self.raw, "tracking": section}}
        )

    def fixed_part(self) -> dict[str, Any]:
        """The settings that a continuation must not change, so that all trials can be compared."""
        # the data are not listed: the hash of the folds identifies them, wherever the files are
        fixed = ("method", "metric", "seed", "folds", "early_terminate")
        part = self.model_dump(
            mode="json",
            include=set(fixed),
            exclude={"folds": {"file", "finish"}, "metric": {"target"}},
        )
        race = self.folds.race_rule
        # `race: true` means the race with its defaults
        part["folds"]["race"] = None if race is None else race.model_dump(mode="json")
        if not self.folds.paired_seeds:  # sweeps of format 1 do not name it
            del part["folds"]["paired_seeds"]
        if self.folds.rare is None:  # nor do sweeps of earlier versions name this
            del part["folds"]["rare"]
        weights = self.data.model_dump(mode="json", include={"face_weights", "background_weights"})
        return {
            **part,
            "sampler": self.search,
            "data": weights,
            "parameters": self.raw["parameters"],
        }
