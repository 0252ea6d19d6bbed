"""Check before a sweep on several machines that all nodes have the same files and versions.

The driver writes a file of random content into the sweep's directory. A task on every node that can
run trials reads this file and writes another file beside it. The task returns the content that it
read, the errors of writing and importing, the node's versions, and the size of each path of the
data.
"""

import contextlib
import dataclasses
import importlib
import importlib.metadata
import platform
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sweeps.errors import InputError
from sweeps.ray_tune.cluster import Cluster, Node

TIMEOUT_S = 120.0
PACKAGES = ("foldsweep", "ray", "torch")
# The module that every node must be able to import. Its import includes torch, so that later trials
# in the same process need not wait for torch.
TRIAL = "sweeps.running.trial"
FOLDER = -1  # stands for the size of a folder
SAME_FOLDER = "Mount the same folder at this path on every node, or choose another with --runs"
SAME_DATA = "Make the data visible at the same path on every node"
SAME_VERSIONS = "Install the same versions on every node"


@dataclasses.dataclass(frozen=True)
class NodeView:
    """What one node, or this process, sees.

    Attributes:
        content: content of the driver's file; None if the node does not see the file.
        unwritable: why the node cannot write its answer file; empty if it can, or if it does not
            see the driver's file and did not try.
        unimportable: why a trial's code cannot be imported; empty if it can.
        versions: the versions of Python and of PACKAGES; an empty text for a package that is not
            installed.
        sizes_bytes: the size of each path of the data; FOLDER for a folder, None for a path that
            the node does not see.
    """

    content: str | None
    unwritable: str
    unimportable: str
    versions: dict[str, str]
    sizes_bytes: dict[str, int | None]


def probe_nodes(
    cluster: Cluster, *, directory: Path, paths: Sequence[Path], timeout_s: float = TIMEOUT_S
) -> None:
    """Check that every node that can run trials sees the same files as this process.

    Args:
        directory: the sweep's directory, which exists. The probe writes its files there and removes
            them at the end.
        paths: the files and folders of the data.
        timeout_s: the time limit for all nodes together, in seconds.

    Raises:
        InputError: a node sees other files, cannot write, cannot import a trial's code, has other
            versions, or does not answer. The message names every such node.
    """
    nodes = [node for node in cluster.each() if node.cpus > 0]
    # Each probe has a new file name: a network file system may remember that an old name is absent.
    question = directory / f"probe-{secrets.token_hex(8)}"
    content = secrets.token_hex(16)
    try:
        question.write_text(content)
        arguments = (str(question), [str(path) for path in paths])
        driver = NodeView(**_observer()(*arguments, "driver", "sweeps"))
        problems: dict[Node, list[str]] = {}
        for node, answer in _ask(nodes, arguments=arguments, timeout_s=timeout_s).items():
            if isinstance(answer, str):
                problems[node] = [answer]
            else:
                answered = question.with_name(f"{question.name}-{node.id}").exists()
                problems[node] = differences(answer, driver, directory=directory, answered=answered)
    finally:
        # the question first: a task that answers later finds it gone and removes its answer itself
        question.unlink(missing_ok=True)
        for path in directory.glob(f"{question.name}-*"):
            path.unlink(missing_ok=True)
    unfit = {node: found for node, found in problems.items() if found}
    if unfit:
        raise InputError(report(unfit, nodes=len(nodes)))


def differences(node: NodeView, driver: NodeView, *, directory: Path, answered: bool) -> list[str]:
    """Why a node cannot run trials, and what to do; empty if the node can.

    Args:
        node: what the node sees.
        driver: what this process, the driver, sees.
        directory: the sweep's directory.
        answered: whether this process sees the node's answer file in the sweep's directory.
    """
    found = []
    if node.content != driver.content:
        found.append(f"it sees another folder at {directory} than this machine. {SAME_FOLDER}")
    elif node.unwritable:
        found.append(
            f"it cannot write to {directory} ({node.unwritable}). Let its user write there"
        )
    elif not answered:
        found.append(f"what it writes to {directory} does not arrive here. {SAME_FOLDER}")
    for path, size in driver.sizes_bytes.items():
        if size is not None and node.sizes_bytes[path] != size:
            how = "is not there" if node.sizes_bytes[path] is None else "is another one than here"
            found.append(f"{path} {how}. {SAME_DATA}")
    if node.unimportable:
        found.append(f"foldsweep cannot be imported there ({node.unimportable}). {SAME_VERSIONS}")
    others = [
        f"{name} {node.versions[name]} (here {version})"
        for name, version in driver.versions.items()
        if node.versions[name] and _release(node.versions[name]) != _release(version)
    ]
    if others:
        found.append(f"it runs {', '.join(others)}. {SAME_VERSIONS}")
    return found


def report(unfit: Mapping[Node, Sequence[str]], *, nodes: int) -> str:
    """The error message: each unfit node with its problems.

    Args:
        nodes: number of all nodes that can run trials.
    """
    lines = [f"{len(unfit)} of the cluster's {nodes} nodes cannot run trials of this sweep"]
    for node, problems in unfit.items():
        lines += [f"  node {node}: {problem}" for problem in problems]
    return "\n".join(lines)


def _release(version: str) -> str:
    """The version without its build suffix: one release of torch has builds for several devices."""
    return version.partition("+")[0]


def _ask(
    nodes: Sequence[Node], *, arguments: tuple[str, list[str]], timeout_s: float
) -> dict[Node, NodeView | str]:
    """What each node sees, or why the node does not answer."""
    observe = ray.remote(num_cpus=0, max_retries=0)(_observer())
    tasks = {
        node: observe.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False)
        ).remote(*arguments, node.id, TRIAL)
        for node in nodes
    }
    done, _ = ray.wait(list(tasks.values()), num_returns=len(tasks), timeout=timeout_s)
    return {
        node: _answer(task, done=task in done, timeout_s=timeout_s) for node, task in tasks.items()
    }


def _answer(task: Any, *, done: bool, timeout_s: float) -> NodeView | str:
    if not done:
        ray.cancel(task, force=True)
        return (
            f"it did not answer within {timeout_s:g} s. "
            "Look at it with `ray status`, or take it off the cluster"
        )
    try:
        return NodeView(**ray.get(task))
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        return (
            f"a task cannot run there ({reason}). "
            "Look at it with `ray status`, or take it off the cluster"
        )


def _observer() -> Callable[[str, list[str], str, str], dict[str, Any]]:
    """The task that a node runs.

    Ray sends a nested function with its code, and a function of a module only by its name. So the
    nested function also runs on a node where foldsweep is not installed.
    """

    def observe(question: str, paths: list[str], name: str, module: str) -> dict[str, Any]:
        path = Path(question)
        content = None
        unwritable = ""
        unimportable = ""
        with contextlib.suppress(OSError):
            content = path.read_text()
        try:
            if content is not None:
                answer = path.with_name(f"{path.name}-{name}")
                answer.write_text(name)
                if not path.exists():  # the driver has stopped waiting and removed all answers
                    answer.unlink(missing_ok=True)
        except OSError as error:
            unwritable = str(error.strerror)
        try:
            importlib.import_module(module)
        # torch raises a RuntimeError if the installed torchvision does not match it
        except (ImportError, OSError, RuntimeError) as error:
            unimportable = f"{type(error).__name__}: {error}"
        versions = {"python": platform.python_version()}
        for package in packages:
            versions[package] = ""
            with contextlib.suppress(importlib.metadata.PackageNotFoundError):
                versions[package] = importlib.metadata.version(package)
        sizes: dict[str, int | None] = {}
        for each in map(Path, paths):
            sizes[str(each)] = (
                (folder if each.is_dir() else each.stat().st_size) if each.exists() else None
            )
        return {
            "content": content,
            "unwritable": unwritable,
            "unimportable": unimportable,
            "versions": versions,
            "sizes_bytes": sizes,
        }

    # copies for the task: where foldsweep is not installed this module's constants are missing
    packages = PACKAGES
    folder = FOLDER
    return observe
