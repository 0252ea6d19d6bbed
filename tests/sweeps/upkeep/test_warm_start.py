"""Another sweep's finished trials as history, on SQLite,
with the folders that `sweeps run` makes.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState, create_trial

from sweeps.errors import InputError, LeaseLostError
from sweeps.paths import SweepFiles
from sweeps.preparing.data import cut_sweep, with_folds
from sweeps.preparing.opening import open_sweep
from sweeps.search.distributions import distributions, labels
from sweeps.space.spec import SweepSpec
from sweeps.study.stored_sweep import StoredSweep
from sweeps.upkeep.warm_start import TakenOver, warm_start

Make = Callable[..., SweepSpec]
Begin = Callable[..., StoredSweep]
LR = {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-1}


@pytest.fixture
def begin(sqlite_storage: RDBStorage, tmp_path: Path, images: Path) -> Begin:
    """Open a sweep as `sweeps run` does, with complete trials of these learning rates."""

    def begin(spec: SweepSpec, *rates: float) -> StoredSweep:
        files = SweepFiles.of(tmp_path / "runs", spec.name)
        cut = cut_sweep(spec, files)
        spec = with_folds(spec, cut.folds)
        sweep = open_sweep(
            sqlite_storage, spec, cut, files=files, storage_url="sqlite:///sweeps.db"
        )
        for rate in rates:
            values = {"lr": rate}
            sweep.add(
                create_trial(
                    value=10 * rate,
                    params=labels(spec.space, values),
                    distributions=distributions(spec.space, values),
                    user_attrs={"fold_scores": [9 * rate, 11 * rate], "notes": ["split"]},
                    intermediate_values={1: 9 * rate, 3: 10 * rate},
                )
            )
        return sweep

    return begin


@pytest.fixture
def named(make_spec: Make) -> Make:
    """A search space of one parameter; keywords replace its keys."""
    return lambda name, **changes: make_spec(name=name, **{"parameters": {"lr": LR}, **changes})


def sources(sweep: StoredSweep) -> list[tuple[str, int, float]]:
    taken = [(trial.user_attrs["taken_from"], trial.params["lr"]) for trial in sweep.trials()]
    return [(source["sweep"], source["trial"], lr) for source, lr in taken]


def test_finished_trials_that_fit_are_taken_over_once(
    begin: Begin, named: Make, tmp_path: Path
) -> None:
    begin(named("first"), 0.001, 0.09, 0.002)
    spec = named("second", warm_start="first", parameters={"lr": {**LR, "max": 0.05}})
    second = begin(spec)
    assert warm_start(second, spec, runs=tmp_path / "runs") == {"first": TakenOver(2, unfit=1)}
    assert sources(second) == [("first", 0, 0.001), ("first", 2, 0.002)]  # 0.09 is no value here
    trial = second.trials()[0]
    assert (trial.state, trial.values) == (TrialState.COMPLETE, [0.01])
    assert trial.intermediate_values == pytest.approx({1: 0.009, 3: 0.01})
    assert trial.user_attrs["fold_scores"] == pytest.approx([0.009, 0.011])
    assert second.record().warm_started == {"first": 2}
    assert warm_start(second, spec, runs=tmp_path / "runs") == {}
    assert len(second.trials()) == 2


def test_none_is_taken_over_once_another_driver_has_the_sweep(
    begin: Begin, named: Make, tmp_path: Path
) -> None:
    begin(named("first"), 0.001, 0.002)
    spec = named("second", warm_start="first")
    second = begin(spec)

    def confirm() -> None:
        if second.trials():
            raise LeaseLostError("another driver took over")

    with pytest.raises(LeaseLostError):
        warm_start(second, spec, runs=tmp_path / "runs", confirm=confirm)
    assert sources(second) == [("first", 0, 0.001)]
    assert second.record().warm_started == {}


def test_several_sweeps_are_taken_over_and_one_that_is_named_later_too(
    begin: Begin, named: Make, tmp_path: Path
) -> None:
    begin(named("first"), 0.001)
    begin(named("other"), 0.002, 0.003)
    second = begin(named("second"))
    runs = tmp_path / "runs"
    assert warm_start(second, named("second"), runs=runs) == {}
    assert warm_start(second, named("second", warm_start=["first"]), runs=runs) == {
        "first": TakenOver(1, unfit=0)
    }
    assert warm_start(second, named("second", warm_start=["other", "first"]), runs=runs) == {
        "other": TakenOver(2, unfit=0)
    }
    assert sources(second) == [("first", 0, 0.001), ("other", 0, 0.002), ("other", 1, 0.003)]
    assert second.record().warm_started == {"first": 1, "other": 2}


def test_one_that_was_cut_off_midway_is_completed_without_doubles(
    begin: Begin, named: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(named("first"), 0.001, 0.002, 0.003)
    spec = named("second", warm_start="first")
    second = begin(spec)
    add = StoredSweep.add

    def killed(self: StoredSweep, trial: Any) -> int:
        if len(self.trials()) == 2:
            raise KeyboardInterrupt
        return add(self, trial)

    with monkeypatch.context() as patch:
        patch.setattr(StoredSweep, "add", killed)
        with pytest.raises(KeyboardInterrupt):
            warm_start(second, spec, runs=tmp_path / "runs")
    assert len(second.trials()) == 2
    assert warm_start(second, spec, runs=tmp_path / "runs") == {"first": TakenOver(1, unfit=0)}
    assert second.record().warm_started == {"first": 3}
    assert sources(second) == [("first", 0, 0.001), ("first", 1, 0.002), ("first", 2, 0.003)]


def test_what_a_sweep_has_finished_since_is_taken_over_at_the_next_start(
    begin: Begin, named: Make, tmp_path: Path
) -> None:
    begin(named("first"), 0.001)
    begin(named("other"), 0.09)
    spec = named("second", warm_start=["first", "other"], parameters={"lr": {**LR, "max": 0.05}})
    second = begin(spec)
    runs = tmp_path / "runs"
    assert warm_start(second, spec, runs=runs) == {
        "first": TakenOver(1, unfit=0),
        "other": TakenOver(0, unfit=1),
    }
    begin(named("first"), 0.002, 0.08)
    assert warm_start(second, spec, runs=runs) == {"first": TakenOver(1, unfit=1)}
    assert second.record().warm_started == {"first": 2, "other": 0}
    assert warm_start(second, spec, runs=runs) == {}
    assert sources(second) == [("first", 0, 0.001), ("first", 1, 0.002)]


@pytest.mark.parametrize("what", ["sweep", "files"])
def test_a_sweep_that_is_gone_since_it_was_taken_over_is_passed_over(
    begin: Begin, named: Make, tmp_path: Path, what: str
) -> None:
    first = begin(named("first"), 0.001)
    spec = named("second", warm_start="first")
    second = begin(spec)
    warm_start(second, spec, runs=tmp_path / "runs")
    if what == "sweep":
        first.storage.delete_study(first.study_id)
    else:
        (tmp_path / "runs" / "first").rename(tmp_path / "moved")
    assert warm_start(second, spec, runs=tmp_path / "runs") == {}
    assert second.record().warm_started == {"first": 1}
    assert sources(second) == [("first", 0, 0.001)]


def test_another_constant_does_not_fit_and_a_parameter_that_varies_only_here_does(
    begin: Begin, named: Make, tmp_path: Path
) -> None:
    begin(named("first", parameters={"lr": LR, "epochs": {"value": 1}}), 0.001)
    begin(named("other", parameters={"lr": LR, "epochs": {"value": 3}}), 0.002)
    spec = named(
        "second", warm_start=["first", "other"], parameters={"lr": LR, "epochs": {"values": [2, 3]}}
    )
    second = begin(spec)
    given = warm_start(second, spec, runs=tmp_path / "runs")
    assert given == {"first": TakenOver(0, unfit=1), "other": TakenOver(1, unfit=0)}
    (trial,) = second.trials()
    assert trial.params == {"lr": 0.002, "epochs": 3}


def test_a_sweep_that_is_not_there_is_refused(begin: Begin, named: Make, tmp_path: Path) -> None:
    begin(named("first"), 0.001)
    spec = named("second", warm_start="frist")
    with pytest.raises(
        InputError,
        match=r"^warm_start: no sweep 'frist' in this storage\. Did you mean 'first'\? "
        r"`sweeps list` shows them$",
    ):
        warm_start(begin(spec), spec, runs=tmp_path / "runs")


def test_scores_of_another_metric_are_refused(begin: Begin, named: Make, tmp_path: Path) -> None:
    begin(named("first", metric={"name": "valid/loss", "goal": "minimize"}), 0.001)
    spec = named("second", warm_start="first")
    second = begin(spec)
    with pytest.raises(InputError, match="another kind") as caught:
        warm_start(second, spec, runs=tmp_path / "runs")
    assert str(caught.value) == (
        "warm_start: sweep 'first' has scores of another kind (minimize valid/loss; "
        "here maximize valid/f1). Leave it out"
    )
    assert second.trials() == []


def test_another_target_is_no_other_metric(begin: Begin, named: Make, tmp_path: Path) -> None:
    begin(named("first", metric={"name": "valid/f1", "goal": "maximize", "target": 0.9}), 0.001)
    spec = named("second", warm_start="first")
    assert warm_start(begin(spec), spec, runs=tmp_path / "runs") == {"first": TakenOver(1, unfit=0)}


def test_other_folds_are_refused(begin: Begin, named: Make, tmp_path: Path) -> None:
    begin(named("first", folds={"k": 3}), 0.001)
    spec = named("second", warm_start="first")
    second = begin(spec)
    with pytest.raises(InputError, match="other images, labels or folds") as caught:
        warm_start(second, spec, runs=tmp_path / "runs")
    assert str(caught.value) == (
        "warm_start: sweep 'first' has other images, labels or folds, so its scores cannot be "
        f"compared. Leave it out, or give both the same folds: folds: {{file: "
        f"{tmp_path}/runs/first/folds.npz}}"
    )
    assert second.trials() == []


def test_another_version_of_an_own_function_is_refused(
    begin: Begin, named: Make, tmp_path: Path
) -> None:
    begin(named("first"), 0.001)
    spec = named("second", warm_start="first")
    second = begin(spec)
    for name, text in (("first", "before"), ("second", "after")):
        (tmp_path / "runs" / name / "code").mkdir()
        (tmp_path / "runs" / name / "code" / "task.py").write_text(text)
    with pytest.raises(
        InputError, match=r"sweep 'first' began with another task\.py .*cannot be compared"
    ):
        warm_start(second, spec, runs=tmp_path / "runs")
    (tmp_path / "runs" / "second" / "code" / "task.py").write_text("before")
    assert warm_start(second, spec, runs=tmp_path / "runs") == {"first": TakenOver(1, unfit=0)}


@pytest.mark.parametrize("what", ["gone", "another"])
def test_a_sweep_whose_files_are_elsewhere_is_refused(
    begin: Begin, named: Make, tmp_path: Path, what: str
) -> None:
    begin(named("first"), 0.001)
    spec = named("second", warm_start="first")
    second = begin(spec)
    if what == "gone":
        (tmp_path / "runs" / "first").rename(tmp_path / "moved")
    else:
        (tmp_path / "runs" / "first" / "sweep.json").write_text('{"uuid": "another"}')
    with pytest.raises(
        InputError,
        match=r"runs/first has no files of sweep 'first'\. Give the --runs folder of both$",
    ):
        warm_start(second, spec, runs=tmp_path / "runs")


def test_nothing_is_taken_over_if_one_of_several_is_refused(
    begin: Begin, named: Make, tmp_path: Path
) -> None:
    begin(named("first"), 0.001)
    spec = named("second", warm_start=["first", "nowhere"])
    second = begin(spec)
    with pytest.raises(InputError, match="no sweep 'nowhere'"):
        warm_start(second, spec, runs=tmp_path / "runs")
    assert (second.trials(), second.record().warm_started) == ([], {})
