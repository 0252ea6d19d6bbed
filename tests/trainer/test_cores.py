import os
from pathlib import Path

import pytest

from trainer.cores import cores


@pytest.fixture(autouse=True)
def eight(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 128 cores, of which this process is bound to eight."""
    monkeypatch.setattr(os, "cpu_count", lambda: 128)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)


def files(root: Path, **texts: str) -> Path:
    """A folder with these files; a name has `__` for a slash."""
    for name, text in texts.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_those_that_the_process_is_bound_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert cores(root=tmp_path, environ={}) == 8
    monkeypatch.delattr(os, "sched_getaffinity")  # macOS
    assert cores(root=tmp_path, environ={}) == 128
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores(root=tmp_path, environ={}) == 1


@pytest.mark.parametrize(
    ("quota", "count"),
    [("400000 100000", 4), ("250000 100000", 2), ("50000 100000", 1), ("max 100000", 8), ("?", 8)],
)
def test_as_many_as_the_quota_of_a_container_pays_for(tmp_path: Path, quota: str, count: int):
    root = files(tmp_path, proc__self__cgroup="0::/\n")
    files(root / "sys/fs/cgroup", **{"cpu.max": quota})
    assert cores(root=root, environ={}) == count


def test_a_group_has_at_most_what_the_groups_above_it_have(tmp_path: Path):
    root = files(tmp_path, proc__self__cgroup="0::/jobs/mine/step\n")
    folder = root / "sys/fs/cgroup/jobs"
    files(folder, **{"cpu.max": "300000 100000", "mine__cpu.max": "600000 100000"})
    assert cores(root=root, environ={}) == 3


@pytest.mark.parametrize("controllers", ["cpu", "cpu,cpuacct"])
def test_the_first_version_of_control_groups(tmp_path: Path, controllers: str):
    text = f"9:name=systemd:/\n3:cpuset:/\n2:{controllers}:/docker/1\n0::/\n"
    root = files(tmp_path, proc__self__cgroup=text)
    folder = root / f"sys/fs/cgroup/{controllers}/docker"
    files(folder, **{"cpu.cfs_quota_us": "-1", "cpu.cfs_period_us": "100000"})
    files(folder / "1", **{"cpu.cfs_quota_us": "600000", "cpu.cfs_period_us": "100000"})
    assert cores(root=root, environ={}) == 6


@pytest.mark.parametrize(
    ("environ", "count"),
    [
        ({"SLURM_JOB_ID": "7", "SLURM_CPUS_ON_NODE": "4"}, 4),
        ({"SLURM_JOB_ID": "7", "SLURM_CPUS_ON_NODE": "64"}, 8),
        ({"SLURM_JOB_ID": "7"}, 8),
        ({"SLURM_CPUS_ON_NODE": "4"}, 8),  # left over in the environment of no job
    ],
)
def test_what_slurm_has_allocated(tmp_path: Path, environ: dict[str, str], count: int):
    assert cores(root=tmp_path, environ=environ) == count
