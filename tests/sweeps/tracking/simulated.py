"""A sweep whose trials train nothing, but report and leave files as trained ones do."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path

from sweeps.paths import SweepFiles
from sweeps.preparing.opening import write_spec
from sweeps.running.messages import Assignment, Outcome, TrialReport, TrialReporter
from sweeps.tracking.lines import Start
from sweeps.tracking.recorded import facts_of
from sweeps.tracking.tracker import SweepFacts
from tests.fakes import K, curve_score
from tests.sweeps.running.curve_sweep import NO_RACE, Sweep
from trainer.files import write_csv, write_json
from trainer.training.result import CURVE, RESULT

EPOCHS = 2
STEPS = [fold * EPOCHS + epoch for fold in range(K) for epoch in range(1, EPOCHS + 1)]


class SimulatedTrials:
    """Evaluates trials as `run_trial` does, with the score of a learning curve for training.

    Attributes:
        before: called with number, fold and epoch before each epoch.
    """

    def __init__(self) -> None:
        self.before: Callable[[int, int, int], None] = lambda number, fold, epoch: None

    def __call__(self, assignment: Assignment, reporter: TrialReporter) -> Outcome:
        write_json(assignment.files.config, assignment.values)
        scores: list[float] = []
        for fold in range(K):
            rows = []
            for epoch in range(1, EPOCHS + 1):
                self.before(assignment.number, fold, epoch)
                if reporter.interrupted():
                    return Outcome("interrupted", tuple(scores))
                lr, optimizer = assignment.values["lr"], assignment.values["optimizer"]
                score = curve_score(lr=lr, optimizer=optimizer, fold=fold, epoch=epoch)
                metrics = {"f1": score, "loss": 1 - score, "seconds": 0.5}
                rows.append([epoch, *metrics.values()])
                step = fold * assignment.max_epochs + epoch
                if step < assignment.reported:
                    continue
                report = TrialReport(
                    step=step,
                    value=statistics.fmean([*scores, score]),
                    fold=fold,
                    epoch=epoch,
                    epochs=EPOCHS,
                    fold_scores=tuple(scores),
                    metrics=tuple(metrics.items()),
                    time=time.time(),
                )
                if not reporter.report(report):
                    return Outcome("stopped", tuple(scores))
            scores.append(score)
            directory = assignment.files.fold(fold)
            write_csv(directory / CURVE, ["epoch", *metrics], rows)
            result = {"metrics": {"f1": score}, "seconds": 0.5 * EPOCHS}
            write_json(directory / RESULT, result)
        return Outcome("completed", tuple(scores))


class TrackedSweep(Sweep):
    """A stored sweep in its folder below a runs folder, as a tracker process finds it."""

    def __init__(self, runs: Path, *settings: str) -> None:
        folder = runs / "curve"
        folder.mkdir(parents=True)
        super().__init__(folder, NO_RACE, *settings)
        self.files = SweepFiles(folder)
        write_spec(self.files, self.spec)

    def start(self, *trackers: str) -> Start:
        """The first line that a tracker process reads."""
        url = f"sqlite:///{self.folder}/sweeps.db"
        return Start(self.folder.parent, "curve", url, trackers)

    @property
    def facts(self) -> SweepFacts:
        return facts_of(self.stored, self.files)
