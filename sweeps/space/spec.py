"""What a search space file says, validated and frozen. `spec_reader` makes it from YAML."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, ValidationError

from sweeps.space.domains import Categorical, Domain, Numeric, finite_values
from sweeps.space.parameters import Parameter, Space, Values, grid, grid_size
from sweeps.space.stopping import EarlyTerminate, NoRule, Race
from trainer.config import TrainConfig, nested
from trainer.data.options import DataOptions, FoldOptions, Section
from trainer.fields.declare import is_user_function
from trainer.images.preprocessing import Preprocessing
from trainer.metrics import METRICS, Goal

# names in a search space -> the direction in which they get better
METRIC_NAMES = {f"valid/{name}": goal for name, goal in METRICS.items()}


MAX_GRID = 1_000_000  # points that are counted
SamplerName = Literal["tpe", "gp", "cmaes", "qmc", "nsgaii", "random", "grid", "brute_force"]
# by method, its default first; custom is W&B's word for a scheduler of one's own, as this one is
SAMPLERS: dict[str, tuple[SamplerName, ...]] = {
    "bayes": ("tpe", "gp", "cmaes", "nsgaii"),
    "random": ("random", "qmc"),
    "grid": ("grid", "brute_force"),
    "custom": ("tpe", "gp", "cmaes", "qmc", "nsgaii", "random", "grid", "brute_force"),
}


def user_metric(name: str) -> str | None:
    """The user's function that a metric's name refers to, or None for a built-in metric."""
    name = name.removeprefix("valid/")
    return name if is_user_function(name) else None


def result_field(name: str) -> str:
    """What a metric is called in a fold's result."""
    return "metric" if user_metric(name) else name.removeprefix("valid/")


def max_epochs(space: Space) -> int:
    """The largest `epochs` that a trial of a space can have."""
    default = int(TrainConfig.model_fields["epochs"].default)
    if "epochs" not in space:
        return default
    parameter = space["epochs"]
    domain = parameter.domain
    largest = int(domain.high) if isinstance(domain, Numeric) else max(finite_values(domain))
    return (
        max(default, largest) if parameter.when else largest
    )  # where its conditions switch it off, the default holds


def _names(value: Any) -> Any:
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
    """What a trial is scored by: a name of METRIC_NAMES, or the user's own function `my_task.py:my_metric`.

    target: the sweep ends when a trial's score reaches it.
    """

    name: str
    goal: Annotated[Goal, Field(strict=False)]
    target: Annotated[float | None, Field(allow_inf_nan=False)] = None

    @property
    def user_function(self) -> str | None:
        """The user's function, if it is one."""
        return user_metric(self.name)

    @property
    def field(self) -> str:
        """The metric's name in a fold's result: `f1` for `valid/f1`, `metric` for the user's own."""
        return result_field(self.name)


class Resources(Section):
    """What one trial gets. gpu None: one GPU where there is one, else none. cpu auto: its GPU's share of the CPUs."""

    gpu: Annotated[float | None, Field(ge=0, le=1)] = None
    cpu: Annotated[float, Field(gt=0, allow_inf_nan=False)] | Literal["auto"] = 1


class Budget(Section):
    """When a sweep ends besides `run_cap`: wall-clock hours and GPU-hours, both over all continuations."""

    hours: Annotated[float, Field(gt=0)] | None = None
    gpu_hours: Annotated[float, Field(gt=0)] | None = None


class Folds(FoldOptions):
    """How the images are cut, and whether trials race over the folds."""

    race: bool | Race = True

    @property
    def race_rule(self) -> Race | None:
        """The fold race in effect, if any."""
        if isinstance(self.race, Race):
            return self.race
        return Race() if self.race else None


class SweepSpec(Section):
    """A validated search space.

    Attributes:
        space: the parameters; absent `TrainConfig` fields keep their defaults.
        retries: times that a trial whose worker process died is tried again.
        keep: best trials whose weights are kept.
        start_with: points to try first, once in the sweep's life; what a point leaves out is sampled.
        warm_start: sweeps whose finished trials are taken over as history.
        notices: what is odd but allowed.
        path: of the file; user functions are relative to its folder.
        raw: the file's content after `--set`, as plain JSON-like values.
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
    early_terminate: EarlyTerminate = NoRule()
    retries: Annotated[int, Field(ge=0)] = 2
    keep: Annotated[int, Field(ge=1)] = 20
    start_with: tuple[dict[str, Any], ...] = ()
    warm_start: Annotated[tuple[str, ...], BeforeValidator(_names)] = ()
    space: Space
    notices: tuple[str, ...] = ()
    path: Path = Path("space.yaml")
    raw: dict[str, Any]

    @property
    def folder(self) -> Path:
        """The absolute folder of the file, to which user functions are relative."""
        return self.path.absolute().parent

    @property
    def search(self) -> SamplerName:
        """The sampler in effect: the one named, else the method's."""
        return self.sampler or SAMPLERS[self.method][0]

    @property
    def finite(self) -> bool:
        """Whether every point is tried once, and the sweep then ends."""
        return self.search in ("grid", "brute_force")

    @property
    def max_epochs(self) -> int:
        """E: the largest `epochs` in the space; step = fold x E + epoch."""
        return max_epochs(self.space)

    @property
    def folds_comparable(self) -> bool:
        """Whether a running trial's fold scores mean what those of complete ones do.

        With `checkpoint: best` one epoch is chosen for all folds at the end.
        """
        return "best" not in self.space.values_of("checkpoint")

    @property
    def trial_cap(self) -> int | None:
        """Trials in all: `run_cap`, and for a grid at most its points."""
        return (
            grid_size(self.space, at_most=self.run_cap or MAX_GRID) if self.finite else self.run_cap
        )

    def choices(self) -> tuple[Preprocessing, ...]:
        """Every way of looking at the images that a trial can ask for."""
        choices: dict[Preprocessing, None] = {}  # 224 and "224x224" are one
        for values in self.reachable(
            "resize", "resize_mode", "crop", "background", "heads", "head_crops"
        ):
            try:
                choices.update(dict.fromkeys(TrainConfig(**nested(values)).views))
            except ValidationError:  # such a trial fails before it looks at an image
                continue
        return tuple(choices)

    def user_functions(self) -> tuple[str, ...]:
        """The user's functions that backbone, loss and metric name, as `FILE.py:FUNCTION`."""
        found = [self.metric.user_function] if self.metric.user_function else []
        for name in ("backbone", "loss"):
            found += [value for value in self.space.values_of(name) if is_user_function(value)]
        return tuple(dict.fromkeys(found))

    def reachable(self, *fields: str, ends: bool = False) -> Iterator[Values]:
        """Every combination of these fields of TrainConfig that conditions allow; what is switched off is left out.

        Args:
            ends: a range of whole numbers stands for its two ends, as a continuous one always does.
        """
        names = {p.name for p in self.space.parameters if p.name.partition(".")[0] in fields}
        needed = set(names)
        for parameter in reversed(self.space.parameters):  # each comes after those its `when` names
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
        """The domain as a list: of a range its ends, and the values on which other parameters depend."""
        domain = parameter.domain
        if not isinstance(domain, Numeric) or (not ends and domain.stepped):
            return domain
        named = [
            v
            for p in self.space.parameters
            for name, values in p.when
            if name == parameter.name
            for v in values
        ]
        reached = (
            (domain.draw(0.0), domain.draw(1.0))
            if domain.law is None
            else (domain.draw(0.05), domain.draw(0.95))
        )
        return Categorical(tuple(dict.fromkeys((*reached, *named))))

    def local_weights(self) -> tuple[str, ...]:
        """The files that `weights` may name."""
        return tuple(
            value
            for value in self.space.values_of("weights")
            if value not in ("pretrained", "none")
        )

    def fixed_part(self) -> dict[str, Any]:
        """What must not change while a sweep goes on, or its trials could not be compared."""
        # the data are compared by the hash of the folds, wherever they lie
        fixed = ("method", "metric", "seed", "folds", "early_terminate")
        part = self.model_dump(
            mode="json", include=set(fixed), exclude={"folds": {"file"}, "metric": {"target"}}
        )
        race = self.folds.race_rule
        part["folds"]["race"] = (
            None if race is None else race.model_dump(mode="json")
        )  # `true` is a rule with defaults
        weights = self.data.model_dump(mode="json", include={"face_weights", "background_weights"})
        return {
            **part,
            "sampler": self.search,
            "data": weights,
            "parameters": self.raw["parameters"],
        }
