"""Trials on a real Ray: the same as in one process, and what happens when a worker dies or a node
does not answer.
"""

import dataclasses
import ipaddress
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from optuna.trial import TrialState

from sweeps.errors import InputError
from sweeps.paths import SweepFiles
from sweeps.ray_tune.cluster import Cluster, ray_cluster
from sweeps.ray_tune.probe import probe_nodes
from sweeps.ray_tune.runner import run_on_ray
from sweeps.running.events import EpochFinished, Event, FoldFinished, Notice, TrialEnded
from sweeps.running.local import run_local
from sweeps.study.records import finish_of
from tests.fakes import CURVE_SPACE, curve_trial
from tests.integration import workers
from tests.integration.conftest import opened, record
from tests.sweeps.running.paper_trials import PaperTrials
from trainer.training.oof import read_oof

ONE_WORKER = Cluster(cpus=1, gpus=0)
Space = Callable[..., Path]


@pytest.fixture(scope="module", autouse=True)
def cluster(cache: Path) -> Iterator[Cluster]:
    """One Ray for all tests of this file; it inherits the cache folder, as a user's does.

    Its workers import torch when a trial trains, not as they start: most trials here do not.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWEEPS_CACHE", str(cache))
        patch.setattr("sweeps.ray_tune.cluster.WARM_UP", "tests.integration.workers.stay_cold")
        with ray_cluster() as cluster:
            yield cluster


def test_nobody_else_reaches_ray(cluster: Cluster):
    """Ray is closed to other machines, and asks for a token that is in no file."""
    token = os.environ["RAY_AUTH_TOKEN"]
    ours = psutil.Process().children(recursive=True)
    names = {process.name() for process in ours}
    assert {"raylet", "gcs_server"} <= names
    listening = [
        connection.laddr.ip
        for process in [psutil.Process(), *ours]
        for connection in process.net_connections(kind="tcp")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) > 3
    assert all(ipaddress.ip_address(ip.removeprefix("::ffff:")).is_loopback for ip in listening)
    assert not any(token in word for process in ours for word in process.cmdline())


def test_a_signal_to_this_process_group_does_not_reach_ray(cluster: Cluster):
    ours = psutil.Process().children(recursive=True)
    groups = {process.name(): os.getpgid(process.pid) for process in ours}
    assert {"raylet", "gcs_server", "ray::IDLE"} <= groups.keys()
    assert os.getpgrp() not in groups.values()


def test_local_and_ray_train_the_same_trials_to_the_same_bits(space: Space, tmp_path: Path):
    path = space(
        run_cap=4,
        early_terminate={
            "type": "median",
            "startup_trials": 1,
            "warmup_epochs": 1,
            "keep_at_least": 0,
        },
    )
    with opened(path, tmp_path / "local") as local:
        run_local(local.driver)
    with opened(path, tmp_path / "ray") as on_ray:
        run_on_ray(on_ray.driver, ONE_WORKER)

    assert record(local.trials()) == record(on_ray.trials())
    assert {trial.state for trial in local.trials()} == {TrialState.COMPLETE, TrialState.PRUNED}
    for trial in local.trials():
        name = f"trial-{trial.number:04d}"
        for file in sorted((local.directory / name).rglob("*.safetensors")):
            same = on_ray.directory / file.relative_to(local.directory)
            assert file.read_bytes() == same.read_bytes()


def test_local_and_ray_propose_the_same_points_and_stop_the_same_trials(
    digits: Path, tmp_path: Path
):
    """Thirty trials on closed-form curves: well into TPE's model phase."""
    path = tmp_path / "curve.yaml"
    text = CURVE_SPACE.replace("photos/train.csv", str(digits))
    text = text.replace("{type: none}", "{type: median, startup_trials: 4, warmup_epochs: 1}")
    path.write_text(text.replace("run_cap: 3", "run_cap: 30"))
    with opened(path, tmp_path / "local") as local:
        run_local(local.driver, trial=curve_trial)
    with opened(path, tmp_path / "ray") as on_ray:
        run_on_ray(on_ray.driver, ONE_WORKER, trial=curve_trial)

    assert record(local.trials()) == record(on_ray.trials())
    assert sum(trial.state == TrialState.PRUNED for trial in local.trials()) >= 3


def test_local_and_ray_finish_the_same_pruned_trials(digits: Path, tmp_path: Path):
    path = tmp_path / "curve.yaml"
    text = CURVE_SPACE.replace("photos/train.csv", str(digits)).replace("bayes", "random")
    text = text.replace("values: [sgd, adamw, adam]", "value: adam")
    path.write_text(text.replace("run_cap: 3", "run_cap: 12"))
    with opened(path, tmp_path / "local") as local:
        run_local(local.driver, trial=PaperTrials())
    with opened(path, tmp_path / "ray") as on_ray:
        run_on_ray(on_ray.driver, ONE_WORKER, trial=PaperTrials())

    assert record(local.trials()) == record(on_ray.trials())
    finished, on_ray_finished = (
        [(trial.number, finish_of(trial)) for trial in sweep.trials()[12:]]
        for sweep in (local, on_ray)
    )
    assert finished == on_ray_finished
    assert [number for number, of in finished if of is not None] == [12, 13, 14]


def test_every_completed_trial_has_all_fold_scores_and_predicts_every_image_once(
    space: Space, tmp_path: Path
):
    events: list[Event] = []
    with opened(space(run_cap=2), tmp_path / "runs", listener=events.append) as sweep:
        run_on_ray(sweep.driver, Cluster(cpus=2, gpus=0))

    folds = SweepFiles(sweep.directory).folds()
    for trial in sweep.trials():
        assert trial.state == TrialState.COMPLETE
        assert len(trial.user_attrs["fold_scores"]) == 2
        probs_NK = read_oof(sweep.directory / f"trial-{trial.number:04d}", folds)
        assert probs_NK.shape == (200, 10)
        assert abs(probs_NK.sum(axis=1) - 1).max() < 1e-5
    assert sorted((e.number, e.fold) for e in events if isinstance(e, FoldFinished)) == [
        (0, 0),
        (0, 1),
        (1, 0),
        (1, 1),
    ]


def test_one_worker_process_serves_many_trials(space: Space, tmp_path: Path):
    with opened(space(run_cap=6), tmp_path / "runs") as sweep:
        run_on_ray(sweep.driver, ONE_WORKER, trial=workers.writes_its_process_id)

    assert len({path.read_text() for path in sweep.directory.glob("trial-*/pid")}) == 1
    assert len(sweep.trials()) == 6


def test_a_worker_whose_trial_left_memory_behind_is_replaced(space: Space, tmp_path: Path):
    """The first two trials leave some: each has a process of its own, the other two share one."""
    with opened(space(run_cap=4), tmp_path / "runs") as sweep:
        run_on_ray(sweep.driver, ONE_WORKER, trial=workers.leaves_memory_behind_twice)

    assert [trial.state for trial in sweep.trials()] == [TrialState.COMPLETE] * 4
    pids = [path.read_text() for path in sorted(sweep.directory.glob("trial-*/pid"))]
    assert len(set(pids)) == 3
    assert pids[2] == pids[3]


def test_a_trial_that_fails_says_why_and_the_sweep_goes_on(space: Space, tmp_path: Path):
    with opened(space(run_cap=3), tmp_path / "runs") as sweep:
        run_on_ray(sweep.driver, ONE_WORKER, trial=workers.raises_in_trial_1)

    first, second, third = sweep.trials()
    assert (first.state, third.state) == (TrialState.COMPLETE, TrialState.COMPLETE)
    assert second.state == TrialState.FAIL
    assert second.user_attrs["reason"].startswith("backbone: timm has no model 'no_such_model'")


def test_a_worker_that_dies_once_costs_nothing_but_time(space: Space, tmp_path: Path):
    path = space(run_cap=1)
    with opened(path, tmp_path / "undisturbed") as undisturbed:
        run_local(undisturbed.driver)
    with opened(path, tmp_path / "runs") as sweep:
        run_on_ray(sweep.driver, ONE_WORKER, trial=workers.dies_once)

    assert (sweep.directory / "trial-0000" / workers.KILLED).exists()
    assert record(sweep.trials()) == record(undisturbed.trials())


def test_a_worker_that_keeps_dying_fails_its_trial_only(space: Space, tmp_path: Path):
    with opened(space(run_cap=2, retries=1), tmp_path / "runs") as sweep:
        run_on_ray(sweep.driver, ONE_WORKER, trial=workers.dies_in_trial_0)

    dead, alive = sweep.trials()
    assert (dead.state, alive.state) == (TrialState.FAIL, TrialState.COMPLETE)
    assert "its worker process died" in dead.user_attrs["reason"]


def test_a_stopped_sweep_leaves_its_trial_interrupted_and_goes_on_with_it(
    space: Space, tmp_path: Path
):
    path = space(run_cap=2)

    def stop_at_the_first_trial(event: Event) -> None:
        sweep.driver.stop()

    with opened(path, tmp_path / "runs", listener=stop_at_the_first_trial) as sweep:
        run_on_ray(sweep.driver, ONE_WORKER, trial=workers.waits_to_be_interrupted)
    (interrupted,) = sweep.trials()
    assert interrupted.state == TrialState.WAITING
    assert not (sweep.directory / "stop").exists()

    with opened(path, tmp_path / "runs") as again:
        run_on_ray(again.driver, ONE_WORKER)
    first, second = again.trials()
    assert first.params == interrupted.params
    assert (first.state, second.state) == (TrialState.COMPLETE, TrialState.COMPLETE)


def test_a_trial_that_hangs_is_killed_after_the_grace_and_continued_later(
    space: Space, tmp_path: Path
):
    path = space(run_cap=1)
    notices: list[str] = []

    def stop_after_the_first_epoch(event: Event) -> None:
        if isinstance(event, EpochFinished):
            sweep.driver.stop()
        if isinstance(event, Notice):
            notices.append(event.text)

    listener = stop_after_the_first_epoch
    with opened(path, tmp_path / "runs", grace_s=0.5, listener=listener) as sweep:
        run_on_ray(sweep.driver, ONE_WORKER, trial=workers.hangs)
    assert sweep.driver.interrupted
    assert [trial.state for trial in sweep.trials()] == [TrialState.WAITING]
    assert notices == [
        "trial 0 has not ended within 0.5 s of the stop: "
        "killed, to be continued from the last checkpoint"
    ]
    with opened(path, tmp_path / "runs") as again:
        run_on_ray(again.driver, ONE_WORKER, trial=workers.writes_its_process_id)
    assert [trial.state for trial in again.trials()] == [TrialState.COMPLETE]
    # killed on purpose, and only once
    attempt = json.loads(SweepFiles(again.directory).trial(0).attempt.read_text())
    assert (attempt["number"], attempt["in_vain"]) == (2, 0)


def test_a_trial_that_has_not_reported_for_too_long_is_begun_anew(
    space: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("sweeps.running.patience.LEAST_SILENCE_S", 0.2)
    notices: list[str] = []

    def listener(event: Event) -> None:
        if isinstance(event, Notice):
            notices.append(event.text)

    path = space(run_cap=1, stuck_after=1.5)
    with opened(path, tmp_path / "runs", expected_trial_s=0.4, listener=listener) as sweep:
        run_on_ray(sweep.driver, ONE_WORKER, trial=workers.hangs_once)
    assert [trial.state for trial in sweep.trials()] == [TrialState.COMPLETE]
    (notice,) = notices
    assert notice.startswith("trial 0 has not reported for ")
    assert notice.endswith(
        " (a usual epoch takes 0.1 s): its worker is replaced, and goes on from the last checkpoint"
    )
    files = SweepFiles(sweep.directory).trial(0)
    assert json.loads(files.attempt.read_text())["deaths"] == 1
    assert "killed by the driver: trial 0 has not reported for " in files.log.read_text()


def test_a_single_trial_is_stopped_and_the_sweep_goes_on(space: Space, tmp_path: Path):
    def stop_after_the_first_epoch(event: Event) -> None:
        if isinstance(event, EpochFinished):
            sweep.driver.stop_trials([event.number], reason="stopped in W&B")

    listener = stop_after_the_first_epoch
    with opened(space(run_cap=2), tmp_path / "runs", listener=listener) as sweep:
        run_on_ray(sweep.driver, ONE_WORKER, trial=workers.waits_to_be_interrupted)
    assert [trial.state for trial in sweep.trials()] == [TrialState.PRUNED] * 2
    assert {trial.user_attrs["reason"] for trial in sweep.trials()} == {"stopped in W&B"}
    assert list(sweep.directory.glob("trial-*/stop-*")) == []


def test_a_sweep_that_is_paused_while_nothing_runs_goes_on_when_it_is_asked_to(
    space: Space, tmp_path: Path
):
    def pause_after_the_first_trial(event: Event) -> None:
        if isinstance(event, TrialEnded) and event.number == 0:
            sweep.driver.pause(True)
            timer.start()

    listener = pause_after_the_first_trial
    with opened(space(run_cap=2), tmp_path / "runs", listener=listener) as sweep:
        timer = threading.Timer(3.0, sweep.driver.pause, [False])
        run_on_ray(sweep.driver, ONE_WORKER, trial=workers.writes_its_process_id)
        assert timer.finished.is_set()
    assert [trial.state for trial in sweep.trials()] == [TrialState.COMPLETE] * 2


def test_a_node_that_does_not_answer_is_named(cluster: Cluster, tmp_path: Path):
    probe_nodes(cluster, directory=tmp_path, paths=[tmp_path])
    (node,) = cluster.nodes
    gone = dataclasses.replace(node, id="1f" * (len(node.id) // 2), host="gone")
    with pytest.raises(
        InputError,
        match=r"1 of the cluster's 2 nodes .*\n  node gone .*: a task cannot run there",
    ):
        probe_nodes(Cluster.of([node, gone]), directory=tmp_path, paths=[])
    with pytest.raises(
        InputError, match=r"it did not answer within 0 s\. Look at it with `ray status`"
    ):
        probe_nodes(cluster, directory=tmp_path, paths=[], timeout_s=0)
    assert list(tmp_path.iterdir()) == []
