"""The rules that stop a trial before its last fold: `early_terminate` and `folds.race`."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from trainer.data.options import Section


def _whole(value: Any) -> Any:
    """A float without a fraction as int; every other value unchanged."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Epochs = Annotated[int, Field(ge=0)]
# for hyperband, because W&B's JSON schema accepts 2.0 as a whole number
Count = Annotated[int, Field(ge=1), BeforeValidator(_whole)]


class _Rule(Section):
    """The part that is common to all stopping rules."""

    keep_at_least: Annotated[
        int,
        Field(
            ge=0,
            description="The rule stops no trial before this number of trials is complete, so that "
            "an ensemble has enough trials to choose from.",
        ),
    ] = 20


class NoRule(Section):
    """No rule stops a trial between the ends of two folds; the fold race is a separate setting."""

    type: Literal["none"] = "none"


class Hyperband(_Rule):
    """W&B's rule: stop a trial that is not among the best 1/eta of the trials at its last band.

    A band is a number of reported epochs, counted over all folds. The last band of a trial is the
    largest band that the trial has reached. The bands are min_iter, min_iter x eta, ...; or, with
    max_iter and s, they are max_iter / eta^s, ..., max_iter / eta. As in W&B, min_iter has no
    effect if both are given, and s has an effect only with max_iter. W&B's JSON schema accepts
    max_iter without s beside min_iter; then it is min_iter that counts.

    Attributes:
        min_iter: the first band, in epochs.
        max_iter: the epochs that the bands divide, with `s`.
        s: the number of bands, with `max_iter`.
        eta: the factor from one band to the next; the best 1/eta of the trials go on.
        strict: true uses the value of the trial at the band; false uses the best value of the trial
            so far. The default is false, as W&B's documentation says (W&B's open-source code uses
            true).
    """

    type: Literal["hyperband"]
    min_iter: Count | None = None
    max_iter: Count | None = None
    s: Count | None = None
    eta: Annotated[float, Field(gt=1)] = 3
    strict: bool = False

    @model_validator(mode="after")
    def _there_are_bands(self) -> "Hyperband":
        """Check that the settings define at least one band."""
        if self.max_iter is None and self.min_iter is None:
            raise ValueError("hyperband needs min_iter, or max_iter and s")
        if self.min_iter is None and self.s is None:
            raise ValueError("hyperband with max_iter needs s, the number of bands")
        if self.max_iter is not None and self.s is not None and self.max_iter < self.eta:
            raise ValueError(
                f"hyperband: max_iter {self.max_iter} divided by eta {self.eta:g} is less than one "
                "epoch: no band is left. Give a larger max_iter or a smaller eta"
            )
        return self

    def band(self, epochs: int) -> int | None:
        """The last band of a trial with `epochs` reported epochs; None before the first band."""
        last = None
        for band in self._ascending():
            if band > epochs:
                break
            last = band
        return last

    def _ascending(self) -> Iterator[int]:
        """The bands in rising order."""
        # one division or multiplication per band, because W&B rounds in this way
        if self.max_iter is not None and self.s is not None:
            bands = []
            band = float(self.max_iter)
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
    """Stop a trial whose best value so far is worse than a median.

    The median is that of the complete trials at the same step.

    Attributes:
        startup_trials: the rule stops no trial before this number of trials is complete.
        warmup_epochs: the rule ignores this number of epochs at the start of each trial.
    """

    type: Literal["median"]
    startup_trials: Annotated[int, Field(ge=1)] = 5
    warmup_epochs: Epochs = 1


class Percentile(_Rule):
    """The median rule with another share of trials: `percentile` 25 keeps the best quarter.

    Attributes:
        percentile: the share of the complete trials, in percent, that a trial must be among.
        startup_trials: the rule stops no trial before this number of trials is complete.
        warmup_epochs: the rule ignores this number of epochs at the start of each trial.
    """

    type: Literal["percentile"]
    percentile: Annotated[float, Field(gt=0, lt=100)]
    startup_trials: Annotated[int, Field(ge=1)] = 5
    warmup_epochs: Epochs = 1


class Patient(_Rule):
    """Stop a trial that has been worse than its best of the current fold for too many epochs.

    Attributes:
        patience: the largest allowed number of such epochs.
        min_delta: the smallest difference that counts as worse, in units of the score.
    """

    type: Literal["patient"]
    patience: Annotated[int, Field(ge=1)]
    min_delta: Annotated[float, Field(ge=0)] = 0.0


class Threshold(_Rule):
    """Stop a trial whose value is outside the interval from `lower` to `upper`.

    Attributes:
        lower, upper: the ends of the interval, in units of the score; one may be left out.
        warmup_epochs: the rule ignores this number of epochs at the start of each fold.
    """

    type: Literal["threshold"]
    lower: float | None = None
    upper: float | None = None
    warmup_epochs: Epochs = 0

    @model_validator(mode="after")
    def _something_is_given(self) -> "Threshold":
        """Check that at least one end of the interval is given, and that the ends are in order."""
        if self.lower is None and self.upper is None:
            raise ValueError("threshold needs lower, upper or both")
        if self.lower is not None and self.upper is not None and self.lower > self.upper:
            raise ValueError(f"lower must not be above upper, got {self.lower} and {self.upper}")
        return self


class Wilcoxon(_Rule):
    """Stop a trial whose finished folds are worse than the folds of the best trial.

    A signed-rank test compares the two trials. After k folds, the p-value is at least 1 / 2^k. So
    the default threshold of 0.1 can stop a trial only after four folds.

    Attributes:
        p_threshold: a trial is stopped if the p-value of the test is below this.
        startup_folds: the number of finished folds that a trial needs before it can be stopped.
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

    The incumbent is the best complete trial.

    Attributes:
        error_rate: a trial is stopped if its probability of beating the incumbent is below this.
            The default counts on `folds.finish`, which brings back what an ensemble needs of the
            stopped trials (benchmarks/fold_race.py). Without it, 0.005 loses the best trial in less
            than 1 % of sweeps, also if many trials are nearly as good.
        min_folds: the number of finished folds that a trial needs before it can be stopped.
        min_evidence: the degrees of freedom of the pooled residual variance that the race needs
            before it stops any trial. They are (complete trials - 1) x (folds - 1).
        near_tie: the difference to the incumbent, in units of the score, that still counts as
            beating the incumbent. A trial that is within this difference of the incumbent on the
            folds so far is never stopped.
    """

    error_rate: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    min_folds: Annotated[int, Field(ge=1)] = 1
    min_evidence: Annotated[int, Field(ge=1)] = 8
    near_tie: Annotated[float, Field(ge=0)] = 0.0
