"""A sweep whose trials were never trained: rows in a storage,
and directories with a few bytes in each file.
"""

import json
import os
from pathlib import Path
from typing import Any

from optuna.distributions import FloatDistribution
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeps.paths import SweepFiles
from sweeps.preparing.opening import write_spec
from sweeps.results.view import SweepView
from sweeps.space.spec import SweepSpec
from sweeps.study.records import FOLD_SCORES, RETRY_OF, TAKEN_FROM, WARM_STARTED, Origin
from sweeps.study.stored_sweep import StoredSweep
from trainer.training.kept_epochs import FOLDER as EPOCHS
from trainer.training.oof import OOF
from trainer.training.result import CHECKPOINT, CURVE, RESULT, WEIGHTS

RESULTS = {RESULT, CURVE, OOF}


def trial(
    number: int,
    state: TrialState = TrialState.COMPLETE,
    *,
    score: float | None = None,
    of: Origin | None = None,
    retry_of: int | None = None,
) -> FrozenTrial:
    """A trial as a storage gives it, with a parameter of its own;
    a complete one scores 0.5 unless told.
    """
    attributes: dict[str, Any] = {
        TAKEN_FROM: None if of is None else {"sweep": of.sweep, "trial": of.number}
    }
    attributes[RETRY_OF] = retry_of
    if state == TrialState.COMPLETE:
        score = 0.5 if score is None else score
        attributes[FOLD_SCORES] = [score, score]
    made = create_trial(
        state=state,
        value=score,
        params={"lr": 1 / (2 + number)},
        distributions={"lr": FloatDistribution(0, 1)},
        user_attrs={key: value for key, value in attributes.items() if value is not None},
    )
    made.number = number
    return made


class Fabricated:
    """A sweep in a storage and under a runs folder."""

    def __init__(self, storage: RDBStorage, spec: SweepSpec, runs: Path) -> None:
        self.runs, self.name, self.files = runs, spec.name, SweepFiles.of(runs, spec.name)
        self.sweep = StoredSweep.create(storage, spec, identity=f"uuid of {spec.name}")
        self.files.directory.mkdir(parents=True)
        (self.files.directory / "sweep.json").write_text(json.dumps({"uuid": self.sweep.uuid}))
        write_spec(self.files, spec)

    def add(self, state: TrialState = TrialState.COMPLETE, **what: Any) -> int:
        """Store one more trial, see `trial`; returns its number."""
        number = len(self.sweep.trials())
        template = trial(number, state, **what)
        self.sweep.storage.create_new_trial(self.sweep.study_id, template_trial=template)
        if "of" in what and what["of"].sweep != self.name:
            self.sweep.set_attribute(WARM_STARTED, {what["of"].sweep: 1})
        return number

    def add_with_files(self, state: TrialState = TrialState.COMPLETE, **what: Any) -> int:
        """A trial with two finished folds, kept epochs and a checkpoint in the second included."""
        number = self.add(state, **what)
        self.write(number, 0, *RESULTS, WEIGHTS)
        self.write(number, 1, *RESULTS, WEIGHTS, CHECKPOINT, f"{EPOCHS}/0001.safetensors")
        return number

    def directory(self, number: int) -> Path:
        """A trial's."""
        return self.files.directory / f"trial-{number:04d}"

    def write(self, number: int, fold: int, *names: str) -> None:
        """Write files of a fold run, ten bytes each."""
        for name in names:
            path = self.directory(number) / f"fold-{fold}" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{number:4d} {fold:4d}\n")

    def found(self, number: int) -> set[str]:
        """The names of the files in a trial's directory, of all its folds."""
        return {name for _, _, names in os.walk(self.directory(number)) for name in names}

    def view(self) -> SweepView:
        """As it is now."""
        return SweepView.read(self.sweep)
