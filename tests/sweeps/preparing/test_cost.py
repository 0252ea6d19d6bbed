"""What trials and sweeps cost, from rehearsals on paper."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps.paths import SweepFiles
from sweeps.preparing.cost import (
    START_S,
    Cost,
    Machine,
    as_json,
    cost,
    drawn,
    keep,
    kept_trial_s,
    nearest,
    raced_fold_runs,
)
from sweeps.preparing.rehearsal import Combination, Found
from sweeps.space.spec import SweepSpec
from tests.rehearsals import measured
from trainer.config import TrainConfig
from trainer.training.rehearsed import Size

MakeSpec = Callable[..., SweepSpec]
SIZE = Size(trained=100, scored=50)
ALONE = Machine("cpu", threads=1, at_once=1)
FIXED = {
    "backbone": {"value": "test_resnet"},
    "weights": {"value": "none"},
    "resize": {"value": 8},
    "batch_size": {"value": 4},
    "epochs": {"value": 2},
}


def combination(side: int = 8, batch_size: int = 4, backbone: str = "test_resnet") -> Combination:
    return Combination(backbone, side, side, batch_size)


def found(spec: SweepSpec, **seconds: float) -> Found:
    """Rehearsals of both sizes; a step takes so many seconds per image."""
    rehearsals = {}
    for side, image_s in seconds.items():
        config = TrainConfig(
            backbone="test_resnet",
            weights="none",
            resize=int(side.removeprefix("side")),
            batch_size=4,
            epochs=2,
        )
        rehearsals[Combination.of(config)] = [(config, measured(image_s=image_s))]
    return Found(measured=rehearsals)


def estimated(spec: SweepSpec, *, machine: Machine = ALONE, **seconds: float) -> Cost:
    estimate = cost(spec, found(spec, **seconds), size=SIZE, machine=machine)
    assert estimate is not None
    return estimate


def test_a_trial_costs_all_its_folds_and_epochs(make_spec: MakeSpec) -> None:
    spec = make_spec(parameters=FIXED, folds={"k": 2})
    estimate = estimated(spec, side8=0.01)
    assert estimate.trial_s == (pytest.approx(4), pytest.approx(4), pytest.approx(4))
    (line,) = estimate.lines
    assert line.images_s == pytest.approx(100)
    assert line.fold_run_s == pytest.approx(2)


def test_least_median_and_most_follow_the_probabilities_of_the_space(make_spec: MakeSpec) -> None:
    sizes = {"values": [8, 16], "probabilities": [0.9, 0.1]}
    spec = make_spec(parameters={**FIXED, "resize": sizes})
    estimate = estimated(spec, side8=0.01, side16=0.1)
    assert estimate.trial_s == (pytest.approx(4), pytest.approx(4), pytest.approx(40))
    assert 5 < estimate.mean_s < 11


def test_the_sweep_costs_its_trials_and_the_start(make_spec: MakeSpec) -> None:
    spec = make_spec(parameters=FIXED, run_cap=10, folds={"k": 2, "race": False})
    estimate = estimated(spec, side8=0.01)
    assert estimate.sweep_s(raced=False) == pytest.approx(START_S + 40)
    assert estimate.sweep_s(raced=True) == estimate.sweep_s(raced=False)
    two = estimated(spec, machine=Machine("cpu", 1, at_once=2, slowdown=1.5), side8=0.01)
    # half the trials each, every one slower, and half a trial in which one worker is idle
    assert two.sweep_s(raced=False) == pytest.approx(START_S + 40 * 1.5 / 2 + 6 / 4)


def test_without_a_cap_the_sweep_has_no_cost_of_its_own(make_spec: MakeSpec) -> None:
    spec = make_spec(parameters=FIXED, run_cap=None, budget={"hours": 1})
    estimate = estimated(spec, side8=0.01)
    assert estimate.sweep_s(raced=False) is None
    assert estimate.trials_in(1) == (3600 - START_S) // 4


def test_the_race_saves_nothing_before_it_has_its_evidence(make_spec: MakeSpec) -> None:
    # with five folds, three complete trials have eight degrees of freedom
    folds = {"k": 5}
    model = make_spec(folds=folds)
    assert raced_fold_runs(model, trials=3) == 15
    assert raced_fold_runs(model, trials=60) == pytest.approx(300 * (1 - 0.37))
    at_random = make_spec(folds=folds, method="random")
    assert raced_fold_runs(at_random, trials=60) == pytest.approx(300 * (1 - 0.62))
    off = make_spec(folds={"k": 5, "race": False})
    assert raced_fold_runs(off, trials=60) == 300


def test_trials_that_finish_pruned_ones_train_half_of_their_folds(make_spec: MakeSpec) -> None:
    spec = make_spec(folds={"k": 4})
    without = raced_fold_runs(spec, trials=20)
    assert raced_fold_runs(spec, trials=20, finishes=3) == pytest.approx(without + 6)
    assert raced_fold_runs(spec, trials=4, finishes=4) == 16  # never more than without the race


def test_the_race_never_saves_the_folds_that_it_waits_for(make_spec: MakeSpec) -> None:
    spec = make_spec(folds={"k": 2}, method="random")
    assert raced_fold_runs(spec, trials=10) == pytest.approx(20 - 2 * 0.5)  # nine come first


def test_what_was_not_rehearsed_is_estimated_from_what_is_most_alike() -> None:
    means = {combination(8): measured(image_s=1), combination(32): measured(image_s=10, look_s=4)}
    assert nearest(combination(8), means) == means[combination(8)]
    like = nearest(combination(64), means)
    assert like is not None
    assert (like.image_s, like.look_s) == (40, 16)
    assert nearest(combination(8, backbone="other"), means) is None


def test_points_that_fail_and_points_that_are_not_known_are_shares(make_spec: MakeSpec) -> None:
    grid = {"backbone": {"values": ["test_resnet", "test_vit"]}, "resize": {"values": [8, 16]}}
    spec = make_spec(parameters={**FIXED, **grid}, method="grid", run_cap=None)
    known = found(spec, side8=0.01)
    known.too_large[combination(16)] = "CUDA out of memory"
    estimate = cost(spec, known, size=SIZE, machine=ALONE)
    assert estimate is not None
    assert (estimate.unfit, estimate.unknown) == (0.25, 0.5)
    assert "does not fit: CUDA out of memory" in [line.note for line in estimate.lines]


def test_nothing_is_said_if_no_rehearsal_succeeded(make_spec: MakeSpec) -> None:
    assert cost(make_spec(), Found(), size=SIZE, machine=ALONE) is None


def test_the_points_of_a_small_grid_are_all_counted(make_spec: MakeSpec) -> None:
    parameters = {"resize": {"values": [8, 16]}, "lr": {"values": [0.1, 0.2, 0.3]}}
    spec = make_spec(parameters=parameters, method="grid", run_cap=None)
    assert len(drawn(spec)) == 6
    assert len(drawn(make_spec(parameters=parameters))) == 500
    assert drawn(make_spec()) == drawn(make_spec())


def test_the_estimate_is_kept_for_the_same_space_and_share(
    make_spec: MakeSpec, tmp_path: Path
) -> None:
    files = SweepFiles(tmp_path / "runs" / "toy")
    spec = make_spec(parameters=FIXED, run_cap=10, folds={"k": 2, "race": False})
    beside = Machine("cpu", 1, at_once=2, slowdown=1.5)
    assert kept_trial_s(files, spec, device="cpu", threads=1) is None
    keep(files, spec, estimated(spec, machine=beside, side8=0.01))
    assert kept_trial_s(files, spec, device="cpu", threads=1) == pytest.approx(4 * 1.5)
    assert kept_trial_s(files, spec, device="cuda", threads=1) is None
    assert kept_trial_s(files, spec, device="cpu", threads=2) is None
    other = make_spec(parameters={**FIXED, "epochs": {"value": 3}}, folds={"k": 2, "race": False})
    assert kept_trial_s(files, other, device="cpu", threads=1) is None
    files.check.cost.write_text("{")
    assert kept_trial_s(files, spec, device="cpu", threads=1) is None


def test_the_kept_time_counts_the_race(make_spec: MakeSpec) -> None:
    spec = make_spec(parameters=FIXED, run_cap=60, folds={"k": 5})
    assert estimated(spec, side8=0.01).raced_trial_s == pytest.approx(10 * 0.63)


def test_as_json_it_is_plain(make_spec: MakeSpec) -> None:
    spec = make_spec(parameters=FIXED, run_cap=10, folds={"k": 2, "race": False})
    values = json.loads(json.dumps(as_json(estimated(spec, side8=0.01))))
    assert values["combinations"] == [
        {
            "backbone": "test_resnet",
            "resize": "8",
            "batch_size": 4,
            "images_per_s": pytest.approx(100),
            "fold_run_s": pytest.approx(2),
            "memory_bytes": 2**30,
            "note": "",
        }
    ]
    assert values["trials"] == 10
    assert values["sweep_s"]["without_race"] == pytest.approx(START_S + 40)
    assert {name: values[name] for name in dataclasses.asdict(ALONE)} == dataclasses.asdict(ALONE)
