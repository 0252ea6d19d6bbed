"""The tables of a sweep: every trial, fold run and epoch, in files of two formats."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from sweeps.errors import InputError
from sweeps.paths import SweepFiles
from sweeps.reporting.export import (
    Table,
    epochs_table,
    folds_table,
    trials_table,
    write_tables,
)
from sweeps.results.view import SweepView, find_sweep
from sweeps.study.records import FOLD_SCORES, INTERRUPTED, REASON, Origin
from sweeps.study.storage import open_storage
from tests.sweeps.conftest import close
from tests.sweeps.fabricated import Fabricated, trial
from trainer.config import TrainConfig
from trainer.training.result import read_curve

Make = Callable[..., Any]


@pytest.fixture
def toy(sqlite_storage: RDBStorage, make_spec: Make, tmp_path: Path) -> Fabricated:
    return Fabricated(sqlite_storage, make_spec(), tmp_path / "runs")


def store(toy: Fabricated, made: FrozenTrial) -> None:
    made._validate()
    toy.sweep.storage.create_new_trial(toy.sweep.study_id, template_trial=made)


def with_params(made: FrozenTrial, **changes: Any) -> FrozenTrial:
    """The trial with labels of the search space of `make_spec`."""
    from sweeps.search.distributions import distributions
    from sweeps.space.language import read_space

    space, _ = read_space(changes.pop("parameters"))
    made.params = changes
    made.distributions = distributions(space, changes)
    return made


def test_every_trial_is_a_row_with_its_state_scores_reason_and_parameters(
    toy: Fabricated, tmp_path: Path
) -> None:
    parameters = toy.sweep.spec["parameters"]
    done = with_params(
        trial(0, score=0.75), parameters=parameters, resize=8, lr=0.01, optimizer="adamw"
    )
    done.user_attrs |= {FOLD_SCORES: [0.5, 1.0], "oof": 0.625, "parameters": 12}
    store(toy, done)
    sgd = {"resize": "8x16", "lr": 0.02, "optimizer": "sgd", "momentum": 0.75}
    pruned = with_params(trial(1, TrialState.PRUNED), parameters=parameters, **sgd)
    pruned.user_attrs |= {FOLD_SCORES: [0.25], REASON: "fold race"}
    pruned.intermediate_values = {1: 0.125, 2: 0.25}
    store(toy, pruned)
    failed = with_params(trial(2, TrialState.FAIL), parameters=parameters, **sgd)
    failed.user_attrs |= {REASON: "nan"}
    store(toy, failed)
    again = with_params(trial(3, TrialState.WAITING, retry_of=2), parameters=parameters, **sgd)
    again.user_attrs |= {INTERRUPTED: True}
    store(toy, again)
    taken = with_params(trial(4, score=0.75, of=Origin("older", 7)), parameters=parameters, **sgd)
    store(toy, taken)
    table = trials_table(toy.view())
    assert table.columns[:8] == (
        "trial", "state", "score", "value", "folds", "std", "worst_fold", "oof",
    )  # fmt: skip
    assert table.columns[-4:] == ("resize", "lr", "optimizer", "momentum")
    rows = [
        {k: v for k, v in row.items() if v is not None and k not in ("started", "ended")}
        for row in table.rows
    ]
    values = {"resize": "8x16", "lr": 0.02, "optimizer": "sgd", "momentum": 0.75}
    assert rows == [
        {
            "trial": 0,
            "state": "completed",
            "score": 0.75,
            "folds": 2,
            "worst_fold": 0.5,
            "std": pytest.approx(0.3535534),
            "oof": 0.625,
            "parameters": 12,
            "resize": 8,
            "lr": 0.01,
            "optimizer": "adamw",
        },
        {
            "trial": 1,
            "state": "pruned",
            "value": 0.25,
            "folds": 1,
            "reason": "fold race",
            **values,
        },
        {"trial": 2, "state": "failed", "folds": 0, "reason": "nan", **values},
        {"trial": 3, "state": "interrupted", "folds": 0, "retries": 2, **values},
        {
            "trial": 4,
            "state": "completed",
            "score": 0.75,
            "folds": 2,
            "worst_fold": 0.75,
            "std": 0.0,
            "of_sweep": "older",
            "of_trial": 7,
            **values,
        },
    ]


def test_folds_and_epochs_of_a_trained_sweep_have_all_metrics(people: Path) -> None:
    storage = open_storage(f"sqlite:///{people}/sweeps.db")
    view = SweepView.read(find_sweep(storage, "people"))
    files = SweepFiles.of(people, "people")
    folds = folds_table(view, files)
    assert [(row["trial"], row["fold"]) for row in folds.rows] == [
        (number, fold) for number in range(len(view.trials)) for fold in range(2)
    ]
    assert all(row["score"] == row["f1"] for row in folds.rows)
    assert {"accuracy", "log_loss", "ece", "seconds", "threads"} <= set(folds.columns)
    epochs = epochs_table(view, files)
    assert len(epochs.rows) == len(view.trials) * 2 * 3
    first = [row for row in epochs.rows if (row["trial"], row["fold"]) == (0, 1)]
    curve = read_curve(files.trial(0).fold(1))
    assert [row["epoch"] for row in first] == [1, 2, 3]
    assert [row["train_loss"] for row in first] == [row["train_loss"] for row in curve]
    reported = view.trials[0].intermediate_values
    assert [row["value"] for row in first] == [reported[step] for step in (4, 5, 6)]
    close(storage)


def test_of_a_trial_without_files_its_scores_and_reports_are_left(toy: Fabricated) -> None:
    stopped = trial(0, TrialState.PRUNED)
    stopped.user_attrs |= {FOLD_SCORES: [0.25]}
    most = TrainConfig.model_fields["epochs"].default  # epochs of a fold by default
    stopped.intermediate_values = {1: 0.125, most: 0.25, most + 3: 0.5}
    store(toy, stopped)
    assert folds_table(toy.view(), toy.files).rows == ({"trial": 0, "fold": 0, "score": 0.25},)
    assert epochs_table(toy.view(), toy.files).rows == (
        {"trial": 0, "fold": 0, "epoch": 1, "value": 0.125},
        {"trial": 0, "fold": 0, "epoch": most, "value": 0.25},
        {"trial": 0, "fold": 1, "epoch": 3, "value": 0.5},
    )


def test_results_that_were_taken_over_are_no_fold_runs_of_this_sweep(toy: Fabricated) -> None:
    toy.add(of=Origin("older", 7))
    assert folds_table(toy.view(), toy.files).rows == ()


TABLE = Table.of(
    ("trial", "resize"),
    [
        {"trial": 0, "resize": 128, "crops": {"b": 1, "a": [2]}, "score": 0.1},
        {"trial": 1, "resize": "280x210", "reason": 'x, "y"'},
    ],
)


def test_a_csv_file_has_full_numbers_and_empty_cells(tmp_path: Path) -> None:
    path = tmp_path / "new" / "trials.csv"
    assert write_tables({path: lambda: TABLE}) == {path: 2}
    with path.open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["trial", "resize", "crops", "score", "reason"],
            ["0", "128", '{"a": [2], "b": 1}', "0.1", ""],
            ["1", "280x210", "", "", 'x, "y"'],
        ]


def test_a_parquet_file_has_typed_columns(tmp_path: Path) -> None:
    path = tmp_path / "trials.parquet"
    write_tables({path: lambda: TABLE})
    frame = pd.read_parquet(path)
    assert list(frame.columns) == ["trial", "resize", "crops", "score", "reason"]
    assert frame["trial"].tolist() == [0, 1]
    assert frame["resize"].tolist() == ["128", "280x210"]
    assert frame["score"][0] == 0.1
    assert frame["score"].isna().tolist() == [False, True]


def test_an_unknown_suffix_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    good = tmp_path / "trials.csv"
    with pytest.raises(
        InputError, match=r"folds\.xlsx: expected a file that ends with \.csv, \.parquet, \.pq$"
    ):
        write_tables({good: lambda: TABLE, tmp_path / "folds.xlsx": lambda: TABLE})
    assert not good.exists()


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(InputError, match=r"taken/t\.csv: cannot be written \(.+\)\. Choose"):
        write_tables({tmp_path / "taken" / "t.csv": lambda: TABLE})
