"""Several machines: a Ray head, Ray nodes and PostgreSQL,
as docker-compose.yml arranges them, without containers.
"""

import dataclasses
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from optuna.trial import FrozenTrial, TrialState

from sweeps.results.view import find_sweep
from sweeps.study.storage import open_storage
from tests.integration.conftest import SWEEPS
from tests.integration.machines import Machine, Machines, mounts_allowed, networks_allowed, wait_for
from tests.sweeps.conftest import close, postgresql_server, postgresql_url  # noqa: F401 - fixtures

Space = Callable[..., Path]
TRIALS = 5
FOLDS = 2


@dataclasses.dataclass
class Running:
    """A cluster whose head runs no trials, and what `sweeps run` is given there."""

    machines: Machines
    head: Machine

    def run(self, *arguments: str | Path, **env: str) -> subprocess.Popen[bytes]:
        """The real command, on the head."""
        address = self.machines.address
        return self.head.start(
            SWEEPS, "run", *arguments, "--address", address, "--plain", log="sweeps.log", **env
        )

    def told(self) -> str:
        """What the command has printed."""
        return (self.head.folder / "sweeps.log").read_text()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Machines(tmp_path_factory.mktemp("machines"), networks=networks_allowed()) as machines:
        head = machines.add("head")
        machines.start_head(head)
        yield Running(machines, head)


def finished_folds(directory: Path) -> dict[Path, tuple[int, str]]:
    """The result of each finished fold run, and when it was written."""
    return {
        path: (path.stat().st_mtime_ns, path.read_text())
        for path in directory.glob("trial-*/fold-*/result.json")
    }


def stored_trials(url: str, name: str) -> list[FrozenTrial]:
    storage = open_storage(url)
    try:
        return list(find_sweep(storage, name).trials())
    finally:
        close(storage)


def test_a_node_that_dies_midway_costs_nothing_but_time(
    cluster: Running,
    space: Space,
    tmp_path: Path,
    postgresql_url: str,  # noqa: F811
):
    """Two nodes with one CPU each, which see runs
    and data but not the driver's own temporary folder.
    """
    machines = cluster.machines
    directory = tmp_path / "runs" / "small"
    own = tmp_path / "own"
    (tmp_path / "empty").mkdir()
    own.mkdir()
    first = machines.add("first")
    second = machines.add("second")
    for machine in (first, second):
        machines.start_worker(machine, mounts={own: tmp_path / "empty"} if mounts_allowed() else {})
    path = space(run_cap=TRIALS, folds={"k": FOLDS, "seed": 1, "race": False})
    process = cluster.run(
        path, "--storage", postgresql_url, "--runs", directory.parent, TMPDIR=str(own)
    )

    wait_for(
        lambda: len(finished_folds(directory)) >= 3 or process.poll() is not None, timeout_s=240
    )
    assert process.poll() is None, cluster.told()
    second.kill()
    before = finished_folds(directory)
    assert len(before) < TRIALS * FOLDS

    assert process.wait(timeout=280) == 0, cluster.told()
    after = finished_folds(directory)
    assert {fold: after[fold] for fold in before} == before  # not trained again
    trials = stored_trials(postgresql_url, "small")
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * TRIALS, cluster.told()
    for trial in trials:
        files = [
            directory / f"trial-{trial.number:04d}" / f"fold-{fold}" / "result.json"
            for fold in range(FOLDS)
        ]
        assert trial.user_attrs["fold_scores"] == [
            json.loads(after[file][1])["metrics"]["f1"] for file in files
        ]
    assert machines.token not in cluster.told()


def test_nodes_that_cannot_take_part_are_named_before_anything_starts(
    cluster: Running, space: Space, tmp_path: Path
):
    """One sees another folder at the path of the runs, one has no foldsweep."""
    if not mounts_allowed():
        pytest.skip("this user may not mount folders, so that no node can see others than this one")
    runs = tmp_path / "runs"
    others = tmp_path / "others"
    broken = tmp_path / "broken"
    for folder in (runs, others, broken / "sweeps"):
        folder.mkdir(parents=True)
    (broken / "sweeps" / "__init__.py").write_text("raise ImportError('nothing is installed here')")
    blind = cluster.machines.add("blind")
    bare = cluster.machines.add("bare", PYTHONPATH=str(broken))
    cluster.machines.start_worker(blind, mounts={runs: others})
    cluster.machines.start_worker(bare)
    process = cluster.run(space(), "--runs", runs)

    assert process.wait(timeout=280) == 2
    told = cluster.told()
    assert re.search(
        r"2 of the cluster's \d nodes cannot run trials of this sweep", told
    )  # a third one can
    assert (
        f"({blind.address}): it sees another folder at {runs / 'small'} than this machine. "
        "Mount the same" in told
    )
    assert (
        f"({bare.address}): foldsweep cannot be imported there (ImportError: "
        "nothing is installed here)" in told
    )
    assert not list((runs / "small").glob("probe-*"))
    assert not list(runs.glob("*/trial-*"))
