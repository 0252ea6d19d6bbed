"""Before a sweep starts on several machines: does every node see the same files, and run the same versions?

The driver writes a file of random content into the sweep's directory. A task on every node that can run trials
reads it there, answers with a file beside it, and tells which versions it runs and what it sees of the data.
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

TIMEOUT_S = 60.0
PACKAGES = ("foldsweep", "ray", "torch")
TRIAL = "sweeps.running.trial"  # torch with it: the trials of that process need not wait for it
FOLDER = -1  # in place of a folder's size
SAME_FOLDER = "Mount the same folder at this path on every node, or choose another with --runs"
SAME_DATA = "Make the data visible at the same path on every node"
SAME_VERSIONS = "Install the same versions on every node"


@dataclasses.dataclass(frozen=True)
class Seen:
    """What a node, or this process, sees.

    Attributes:
        content: of the driver's file there; None if it is not there.
        unwritable: why the answer cannot be written; empty if it can.
        unimportable: why a trial's code cannot be imported; empty if it can.
        versions: of Python and of PACKAGES; empty where a package is not installed.
        sizes_bytes: of each path asked for: FOLDER for a folder, None if it is not there.
    """

    content: str | None
    unwritable: str
    unimportable: str
    versions: dict[str, str]
    sizes_bytes: dict[str, int | None]


def probe_nodes(
    cluster: Cluster, *, directory: Path, paths: Sequence[Path], timeout_s: float = TIMEOUT_S
) -> None:
    """Nothing, if every node that can run trials sees the sweep's directory and `paths` as this process does.

    Args:
        directory: the sweep's; it exists. The probe's files lie in it for as long as this takes.
        paths: the data: files and folders.
        timeout_s: for all nodes together.

    Raises:
        InputError: nodes see other files, run other versions, or do not answer; every one is named.
    """
    nodes = [node for node in cluster.each() if node.cpus > 0]
    # new names: what a network file system remembers as absent does not mislead
    question, content = directory / f"probe-{secrets.token_hex(8)}", secrets.token_hex(16)
    try:
        question.write_text(content)
        arguments = (str(question), [str(path) for path in paths])
        here = Seen(**_looker()(*arguments, "driver", "sweeps"))
        problems: dict[Node, list[str]] = {}
        for node, answer in _ask(nodes, arguments=arguments, timeout_s=timeout_s).items():
            if isinstance(answer, str):
                problems[node] = [answer]
            else:
                answered = question.with_name(f"{question.name}-{node.id}").exists()
                problems[node] = differences(answer, here, directory=directory, answered=answered)
    finally:
        for path in directory.glob(f"{question.name}*"):
            path.unlink(missing_ok=True)
    unfit = {node: found for node, found in problems.items() if found}
    if unfit:
        raise InputError(report(unfit, nodes=len(nodes)))


def differences(there: Seen, here: Seen, *, directory: Path, answered: bool) -> list[str]:
    """What keeps a node from taking part, and what to do; empty if nothing does.

    Args:
        answered: the node's answer arrived in this process's directory.
    """
    found = []
    if there.content != here.content:
        found.append(f"it sees another folder at {directory} than this machine. {SAME_FOLDER}")
    elif there.unwritable:
        found.append(
            f"it cannot write to {directory} ({there.unwritable}). Let its user write there"
        )
    elif not answered:
        found.append(f"what it writes to {directory} does not arrive here. {SAME_FOLDER}")
    for path, size in here.sizes_bytes.items():
        if size is not None and there.sizes_bytes[path] != size:
            how = "is not there" if there.sizes_bytes[path] is None else "is another one than here"
            found.append(f"{path} {how}. {SAME_DATA}")
    if there.unimportable:
        found.append(f"foldsweep cannot be imported there ({there.unimportable}). {SAME_VERSIONS}")
    others = [
        f"{name} {there.versions[name]} (here {version})"
        for name, version in here.versions.items()
        if there.versions[name] and _release(there.versions[name]) != _release(version)
    ]
    if others:
        found.append(f"it runs {', '.join(others)}. {SAME_VERSIONS}")
    return found


def report(unfit: Mapping[Node, Sequence[str]], *, nodes: int) -> str:
    """The error's text: each node with what is wrong with it."""
    lines = [f"{len(unfit)} of the cluster's {nodes} nodes cannot run trials of this sweep"]
    for node, problems in unfit.items():
        lines += [f"  node {node}: {problem}" for problem in problems]
    return "\n".join(lines)


def _release(version: str) -> str:
    """Without the build's mark: one release of torch has builds for different devices."""
    return version.partition("+")[0]


def _ask(
    nodes: Sequence[Node], *, arguments: tuple[str, list[str]], timeout_s: float
) -> dict[Node, Seen | str]:
    """What each node sees, or why it does not say."""
    look = ray.remote(num_cpus=0, max_retries=0)(_looker())
    tasks = {
        node: look.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False)
        ).remote(*arguments, node.id, TRIAL)
        for node in nodes
    }
    done, _ = ray.wait(list(tasks.values()), num_returns=len(tasks), timeout=timeout_s)
    return {
        node: _answer(task, done=task in done, timeout_s=timeout_s) for node, task in tasks.items()
    }


def _answer(task: Any, *, done: bool, timeout_s: float) -> Seen | str:
    if not done:
        ray.cancel(task, force=True)
        return f"it did not answer within {timeout_s:g} s. Look at it with `ray status`, or take it off the cluster"
    try:
        return Seen(**ray.get(task))
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        return f"a task cannot run there ({reason}). Look at it with `ray status`, or take it off the cluster"


def _looker() -> Callable[[str, list[str], str, str], dict[str, Any]]:
    """The task. A function inside a function travels with its code: foldsweep may be missing where it runs."""

    def look(question: str, paths: list[str], name: str, module: str) -> dict[str, Any]:
        path, content, unwritable, unimportable = Path(question), None, "", ""
        with contextlib.suppress(OSError):
            content = path.read_text()
        try:
            if content is not None:
                path.with_name(f"{path.name}-{name}").write_text(name)
        except OSError as error:
            unwritable = str(error.strerror)
        try:
            importlib.import_module(module)
        except (
            ImportError,
            OSError,
            RuntimeError,
        ) as error:  # torch without torchvision's match is a RuntimeError
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

    packages, folder = PACKAGES, FOLDER
    return look
