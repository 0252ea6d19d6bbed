"""What keeps a node from taking part in a sweep, and how it is told.

Real nodes: tests/integration/test_cluster.py.
"""

import dataclasses
from pathlib import Path

import pytest

from sweeps.ray_tune.cluster import Node
from sweeps.ray_tune.probe import FOLDER, NodeView, differences, report

HERE = NodeView(
    content="1f2e",
    unwritable="",
    unimportable="",
    versions={"python": "3.11.7", "foldsweep": "0.1.0", "ray": "2.60.0", "torch": "2.15.0"},
    sizes_bytes={"/data/train.csv": 120, "/data/images": FOLDER, "/data/gone.csv": None},
)
DIRECTORY = Path("/runs/mask")
SAME_FOLDER = "Mount the same folder at this path on every node, or choose another with --runs"
SAME_DATA = "Make the data visible at the same path on every node"
SAME_VERSIONS = "Install the same versions on every node"


def found(*, answered: bool = True, **changes: object) -> list[str]:
    there = dataclasses.replace(HERE, **changes)  # type: ignore[arg-type]
    return differences(there, HERE, directory=DIRECTORY, answered=answered)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {
            "versions": {**HERE.versions, "torch": "2.15.0+cu130"}
        },  # the same release, built for a GPU
        {
            "sizes_bytes": {**HERE.sizes_bytes, "/data/gone.csv": 7}
        },  # not asked of this machine either
    ],
)
def test_a_node_that_sees_and_runs_the_same_takes_part(changes: dict[str, object]):
    assert found(**changes) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"content": None},
            f"it sees another folder at /runs/mask than this machine. {SAME_FOLDER}",
        ),
        (
            {"unwritable": "Permission denied"},
            "it cannot write to /runs/mask (Permission denied). Let its user write there",
        ),
        ({"answered": False}, f"what it writes to /runs/mask does not arrive here. {SAME_FOLDER}"),
        (
            {"sizes_bytes": {**HERE.sizes_bytes, "/data/train.csv": None}},
            f"/data/train.csv is not there. {SAME_DATA}",
        ),
        (
            {"sizes_bytes": {**HERE.sizes_bytes, "/data/train.csv": 121}},
            f"/data/train.csv is another one than here. {SAME_DATA}",
        ),
        (
            {"sizes_bytes": {**HERE.sizes_bytes, "/data/images": 5}},
            f"/data/images is another one than here. {SAME_DATA}",
        ),
        (
            {"unimportable": "ModuleNotFoundError: No module named 'sweeps'"},
            "foldsweep cannot be imported there (ModuleNotFoundError: No module named 'sweeps'). "
            + SAME_VERSIONS,
        ),
        (
            {
                "versions": {
                    "python": "3.11.8",
                    "foldsweep": "0.1.0",
                    "ray": "2.60.0",
                    "torch": "2.14.0+cpu",
                }
            },
            f"it runs python 3.11.8 (here 3.11.7), torch 2.14.0+cpu (here 2.15.0). {SAME_VERSIONS}",
        ),
    ],
)
def test_what_differs_is_said_with_what_to_do(changes: dict[str, object], expected: str):
    assert found(**changes) == [expected]  # type: ignore[arg-type]


def test_all_that_differs_is_said_at_once():
    assert (
        len(
            found(
                content=None,
                versions={**HERE.versions, "ray": "2.59.0"},
                unimportable="ImportError: x",
            )
        )
        == 3
    )


def test_a_package_that_is_not_installed_has_no_version_to_differ():
    """What cannot be imported is said; an empty version would only repeat it."""
    versions = {**HERE.versions, "foldsweep": ""}
    assert (
        len(found(versions=versions, unimportable="ModuleNotFoundError: No module named 'sweeps'"))
        == 1
    )


def test_every_unfit_node_is_named():
    unfit = {
        Node("a", "alpha", "10.0.0.2", 4, 0): ["x", "y"],
        Node("b", "beta", "10.0.0.3", 4, 0): ["z"],
    }
    assert report(unfit, nodes=3) == (
        "2 of the cluster's 3 nodes cannot run trials of this sweep\n"
        "  node alpha (10.0.0.2): x\n  node alpha (10.0.0.2): y\n  node beta (10.0.0.3): z"
    )
