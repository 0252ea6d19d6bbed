"""Before a sweep on several machines, every node proves that it has the pretrained weights.

The hub's cache may be one that all nodes share, or each node's own. A node without the weights
fetches them itself.
"""

from collections.abc import Callable, Mapping, Sequence

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sweeps.errors import InputError
from sweeps.preparing.weights import pretrained_backbones, without_weights
from sweeps.ray_tune.cluster import Cluster, Node
from sweeps.space.spec import SweepSpec
from trainer.errors import HubError
from trainer.model.hub import Fetch

LOOK_EVERY_S = 1.0


def weights_on_nodes(
    spec: SweepSpec, cluster: Cluster, *, watch: Callable[[int, int], None]
) -> None:
    """Wait until every node that can run trials has the weights; `probe_nodes` found it fit.

    Args:
        watch: is called with the numbers of nodes that are done and of all, again and again; an
            exception of it ends the waiting.

    Raises:
        InputError: a node has not the weights and cannot fetch them. The message names each such
            node.
    """
    nodes = [node for node in cluster.each() if node.cpus > 0]
    backbones = pretrained_backbones(spec)
    if not backbones:
        return
    task = ray.remote(num_cpus=0, max_retries=0)(fetch_here)
    tasks = {
        node: task.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False)
        ).remote(backbones, without_weights(spec))
        for node in nodes
    }
    waiting = list(tasks.values())
    while waiting:
        _, waiting = ray.wait(waiting, num_returns=len(waiting), timeout=LOOK_EVERY_S)
        watch(len(tasks) - len(waiting), len(tasks))
    answers = {node: _answer(task) for node, task in tasks.items()}
    without = {node: problem for node, problem in answers.items() if problem}
    if without:
        raise InputError(report(without, nodes=len(nodes)))


def fetch_here(backbones: Sequence[str], otherwise: str) -> str:
    """Fetch what is missing on this machine.

    Args:
        otherwise: see `Fetch`.

    Returns:
        why that failed; empty if it did not.
    """
    try:
        fetch = Fetch(backbones, otherwise=otherwise)
        fetch.start()
        fetch.result(lambda *_: None)
    except HubError as error:
        return str(error)
    return ""


def report(without: Mapping[Node, str], *, nodes: int) -> str:
    """The error message: each node without weights, with its problem.

    Args:
        nodes: number of all nodes that can run trials.
    """
    lines = [f"{len(without)} of the cluster's {nodes} nodes cannot get the pretrained weights"]
    for node, problem in without.items():
        first, *others = problem.splitlines()
        lines += [f"  node {node}: {first}", *(f"    {line.strip()}" for line in others)]
    return "\n".join(lines)


def _answer(task: "ray.ObjectRef[str]") -> str:
    try:
        return str(ray.get(task))
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        return f"a task cannot run there ({reason}). Look at it with `ray status`"
