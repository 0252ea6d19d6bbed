"""What a search space says of trials that are stopped before their last fold: `early_terminate` and `folds.race`."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from trainer.data.options import Section


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


Epochs = Annotated[int, Field(ge=0)]
# of hyperband, where W&B's JSON schema takes 2.0 for a whole number
Count = Annotated[int, BeforeValidator(_whole), Field(ge=1)]


class _Rule(Section):
    """A rule by name.

    Attributes:
        keep_at_least: complete trials before it stops any, so that an ensemble has something to choose from.
    """

    keep_at_least: Annotated[int, Field(ge=0)] = 20


class NoRule(Section):
    """Nothing is stopped between two folds' ends; the fold race is a matter of its own."""

    type: Literal["none"] = "none"


class Hyperband(_Rule):
    """W&B's rule: stop a trial that is not among the best 1/eta of those that reached its last band.

    Bands are counted in epochs reported, over all folds: min_iter, min_iter x eta, ..., or max_iter / eta^s, ...,
    max_iter / eta. As in W&B, max_iter goes before min_iter, and s is of use with max_iter only.

    Attributes:
        strict: the value at the band counts; else the best one so far. False if left out, as W&B's documentation says
            (its open-source code fills in true).
    """

    type: Literal["hyperband"]
    min_iter: Count | None = None
    max_iter: Count | None = None
    s: Count | None = None
    eta: Annotated[float, Field(gt=1)] = 3
    strict: bool = False

    @model_validator(mode="after")
    def _there_are_bands(self) -> "Hyperband":
        if self.max_iter is None and self.min_iter is None:
            raise ValueError("hyperband needs min_iter, or max_iter and s")
        if self.max_iter is not None and self.s is None:
            raise ValueError("hyperband with max_iter needs s, the number of bands")
        if self.max_iter is not None and self.max_iter < self.eta:
            raise ValueError(
                f"hyperband: max_iter {self.max_iter} divided by eta {self.eta:g} is less than one epoch: no band is "
                "left. Give a larger max_iter or a smaller eta"
            )
        return self

    def band(self, epochs: int) -> int | None:
        """The last band that a trial with so many reported epochs has reached."""
        last = None
        for band in self._ascending():
            if band > epochs:
                break
            last = band
        return last

    def _ascending(self) -> Iterator[int]:
        # dividing and multiplying one by one rounds as W&B does
        if self.max_iter is not None and self.s is not None:
            bands, band = [], float(self.max_iter)
            for _ in range(self.s):
                band /= self.eta
                if band < 1:
                    break
                bands.append(int(band))
            yield from sorted(bands)
        elif self.min_iter is not None:
            band = float(self.min_iter)
            for _ in range(100):
                yield int(band)
                band *= self.eta


class Median(_Rule):
    """Stop a trial whose best value so far is worse than the median of the complete trials at the same step."""

    type: Literal["median"]
    startup_trials: Annotated[int, Field(ge=1)] = 5
    warmup_epochs: Epochs = 1


class Percentile(_Rule):
    """As median, with another share: 25 keeps the best quarter."""

    type: Literal["percentile"]
    percentile: Annotated[float, Field(gt=0, lt=100)]
    startup_trials: Annotated[int, Field(ge=1)] = 5
    warmup_epochs: Epochs = 1


class Patient(_Rule):
    """Stop a trial that has been below its best of the current fold for more than `patience` epochs.

    Attributes:
        min_delta: how far below counts, in units of the score.
    """

    type: Literal["patient"]
    patience: Annotated[int, Field(ge=1)]
    min_delta: Annotated[float, Field(ge=0)] = 0.0


class Threshold(_Rule):
    """Stop a trial whose value leaves the interval from `lower` to `upper` after a fold's `warmup_epochs`."""

    type: Literal["threshold"]
    lower: float | None = None
    upper: float | None = None
    warmup_epochs: Epochs = 0

    @model_validator(mode="after")
    def _something_is_given(self) -> "Threshold":
        if self.lower is None and self.upper is None:
            raise ValueError("threshold needs lower, upper or both")
        if self.lower is not None and self.upper is not None and self.lower > self.upper:
            raise ValueError(f"lower must not be above upper, got {self.lower} and {self.upper}")
        return self


class Wilcoxon(_Rule):
    """Stop a trial whose finished folds are worse than the best trial's by a signed-rank test.

    After k folds p is at least 1 / 2^k: the default can act after four.
    """

    type: Literal["wilcoxon"]
    p_threshold: Annotated[float, Field(gt=0, lt=1)] = 0.1
    startup_folds: Annotated[int, Field(ge=1)] = 2


EarlyTerminate = Annotated[
    NoRule | Hyperband | Median | Percentile | Patient | Threshold | Wilcoxon,
    Field(discriminator="type"),
]
RULES: dict[str, type[BaseModel]] = {
    "none": NoRule,
    "hyperband": Hyperband,
    "median": Median,
    "percentile": Percentile,
    "patient": Patient,
    "threshold": Threshold,
    "wilcoxon": Wilcoxon,
}


class Race(Section):
    """The fold race: after each finished fold, stop a trial that is unlikely to beat the incumbent.

    Attributes:
        error_rate: probability of beating the incumbent below which a trial is stopped. The default loses the best
            trial in less than 1 % of sweeps, also where many are nearly as good (benchmarks/fold_race.py).
        min_folds: finished folds before a trial can be stopped.
        min_evidence: degrees of freedom of the pooled residual variance before any trial is stopped: complete trials
            less one, times folds less one.
        near_tie: how far below the incumbent a trial may end, in units of the score, and still be wanted: "beating"
            it begins there, and a trial within this of the incumbent on the folds so far is never stopped.
    """

    error_rate: Annotated[float, Field(gt=0, lt=0.5)] = 0.005
    min_folds: Annotated[int, Field(ge=1)] = 1
    min_evidence: Annotated[int, Field(ge=1)] = 8
    near_tie: Annotated[float, Field(ge=0)] = 0.0
