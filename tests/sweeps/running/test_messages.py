"""What travels between the driver and a trial."""

import dataclasses
import pickle

import pytest

from sweeps.running.messages import Assignment, Measured, Outcome, TrialReport
from tests.fakes import curve_trial


def assignment(number: int = 7) -> Assignment:
    return Assignment(
        number=number,
        values={"lr": 0.003, "optimizer": "adam", "epochs": 2, "seed": 1},
        sweep_directory="/runs/curve",
        metric="f1",
        max_epochs=2,
        device="cpu",
        threads=1,
    )


@pytest.mark.parametrize(
    ("number", "expected"),
    [(0, "/runs/curve/trial-0000"), (7, "/runs/curve/trial-0007"), (12345, None)],
)
def test_a_trial_has_a_directory_of_its_own(number: int, expected: str | None):
    assert str(assignment(number).files.directory) == (expected or "/runs/curve/trial-12345")


@pytest.mark.parametrize(
    "message",
    [
        assignment(),
        TrialReport(3, 0.5, 1, 1, 2, fold_scores=(0.4,), metrics=(("f1", 0.6),), time=1.5),
        Outcome("failed", (0.4,), reason="KeyError: 'x'", traceback="Traceback ..."),
        Outcome("completed", (0.4, 0.5), measured=Measured(oof=0.45, parameters=12)),
    ],
    ids=lambda message: type(message).__name__,
)
def test_messages_travel_whole_between_processes(message: Assignment | TrialReport | Outcome):
    assert pickle.loads(pickle.dumps(message)) == message
    assert type(message)(**dataclasses.asdict(message)) == message  # Ray carries them as mappings


class TestTheCurveThatStandsInForTraining:
    """The fake is used as an oracle, so it keeps its own promises."""

    def test_reports_as_a_trial_does(self):
        reports: list[TrialReport] = []
        folds: list[TrialReport] = []

        class Reporter:
            def report(self, report: TrialReport) -> bool:
                (folds if report.fold_finished else reports).append(report)
                return True

            def owns(self) -> bool:
                return True

            def interrupted(self) -> bool:
                return False

        outcome = curve_trial(assignment(), Reporter())
        assert [(r.step, r.fold, r.epoch, r.epochs) for r in reports] == [
            (1, 0, 1, 2),
            (2, 0, 2, 2),
            (3, 1, 1, 2),
            (4, 1, 2, 2),
            (5, 2, 1, 2),
            (6, 2, 2, 2),
        ]
        # 0.9 is what the best point is worth, half of it learned in each epoch;
        # folds are 0.02 apart
        assert [r.value for r in reports] == pytest.approx(
            [
                0.43,
                0.655,
                (0.655 + 0.45) / 2,
                (0.655 + 0.675) / 2,
                (0.655 + 0.675 + 0.47) / 3,
                0.675,
            ]
        )
        assert outcome == Outcome("completed", pytest.approx((0.655, 0.675, 0.695)))

    @pytest.mark.parametrize(
        "change",
        [
            {"backbone": "resnet18"},
            {"optimizer": "madgrad"},
            {"lr": -1.0},
            {"epochs": 3},
            {"epochs": 0},
        ],
        ids=str,
    )
    def test_refuses_what_it_does_not_know(self, change: dict[str, object]):
        unknown = dataclasses.replace(assignment(), values={**assignment().values, **change})
        with pytest.raises(ValueError, match="learning curve"):
            curve_trial(unknown, None)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="learning curve has f1 and loss"):
            curve_trial(dataclasses.replace(assignment(), metric="accuracy"), None)  # type: ignore[arg-type]

    def test_can_be_sent_to_a_worker(self):
        assert pickle.loads(pickle.dumps(curve_trial)) is curve_trial
