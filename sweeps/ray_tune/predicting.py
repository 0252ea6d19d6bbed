"""Predict chunks of unseen images on the workers of a Ray cluster.

The answers are those of a prediction in one process: bit for bit on the CPU, with the same number
of torch's threads.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import ray
from ray.util import ActorPool

from sweeps.errors import InfrastructureError
from sweeps.ray_tune.cluster import Cluster, resolve, threads, trials_at_once
from sweeps.space.spec import Resources
from trainer.errors import TrainerError, first_line
from trainer.images.images import Rows
from trainer.prediction.store import Store

if TYPE_CHECKING:
    from trainer.metrics import Probs
    from trainer.prediction.predicting import Answer, Plan, Progress

RETRIES = 3  # deaths of a worker, each of which costs one chunk
Bad = Mapping[int, str]


@dataclasses.dataclass(frozen=True)
class Work:
    """A chunk that is not predicted by all models yet.

    Attributes:
        number: of the chunk.
        known: for each model, the images without kept probabilities; None if nothing is kept.
    """

    number: int
    rows: Rows
    known: Sequence[Bad | None]


class ChunkWorker:
    """Predicts chunks in a worker process. It builds each network once, at its first chunk."""

    def __init__(self, device: str, torch_threads: int) -> None:
        from trainer.training.fit import pick_device, set_up_torch

        self._plan: Plan | None = None
        self._device = pick_device(device)
        set_up_torch(self._device, torch_threads)

    def predict(self, plan: "Plan", work: Work) -> "tuple[Work, Bad, dict[int, Probs]]":
        """Predict a chunk.

        Args:
            plan: always the same. It comes with each chunk and not once, because Ray cannot start
                a worker again whose first arguments it has dropped.

        Returns:
            The work, the images that cannot be read, and the probabilities of each model whose kept
            ones are missing or of other images.
        """
        from trainer.prediction.predicting import predict_chunk

        self._plan = self._plan or plan  # the first one has the networks that are built
        chunk = self._plan.decoded(work.rows)
        found = {
            index: predict_chunk(model, chunk, tta=plan.tta, device=self._device)
            for index, (model, bad) in enumerate(zip(self._plan.models, work.known, strict=True))
            if bad is None or bad != chunk.bad
        }
        return work, chunk.bad, found


def answers_on_ray(
    plan: "Plan", store: Store, *, cluster: Cluster, device: str, progress: "Progress"
) -> "Iterator[Answer]":
    """Predict all chunks on a cluster, and yield the answers in order.

    A worker gets one GPU where there are GPUs, and else one CPU. What the store has already is not
    computed again; the store must have a folder, which holds the answers until all are there.

    Args:
        device: "auto", "cpu" or "cuda".

    Raises:
        InputError: no node has room for a worker.
        InfrastructureError: workers died again and again, or Ray does not answer.
        TrainerError: a worker could not predict a chunk.
    """
    from trainer.prediction.predicting import answer_of, complete, store_keys

    assert store.folder is not None
    keys = store_keys(plan, store)
    todo = []
    for number, (rows, of_chunk) in enumerate(zip(plan.chunks, keys, strict=True)):
        kept = [store.read(key) for key in of_chunk]
        if not complete(kept):
            known = [None if each is None else each[1] for each in kept]
            todo.append(Work(number, rows, known))
    done = len(plan.unseen) - sum(len(work.rows) for work in todo)
    for work, bad, found in _on_workers(plan, todo, cluster, device):
        for index, probs_NK in found.items():
            store.write(keys[work.number][index], probs_NK, bad)
        done += len(work.rows)
        progress("predicting", done, len(plan.unseen))
    for rows, of_chunk in zip(plan.chunks, keys, strict=True):
        all_kept = [each for key in of_chunk if (each := store.read(key)) is not None]
        assert len(all_kept) == len(of_chunk)
        yield answer_of(rows, all_kept)


def _on_workers(
    plan: "Plan", todo: Sequence[Work], cluster: Cluster, device: str
) -> "Iterator[tuple[Work, Bad, dict[int, Probs]]]":
    wanted = Resources(gpu=0.0 if device == "cpu" else 1.0 if device == "cuda" else None)
    each = resolve(wanted, cluster)
    workers = min(len(todo), trials_at_once(wanted, cluster))
    if not workers:
        return
    sent = ray.put(
        dataclasses.replace(plan, models=tuple(model.unloaded() for model in plan.models))
    )
    remote: Any = ray.remote(ChunkWorker).options(
        num_cpus=each.cpu, num_gpus=each.gpu, max_restarts=RETRIES, max_task_retries=RETRIES
    )
    chosen = "cuda" if each.gpu else "cpu"
    pool = ActorPool([remote.remote(chosen, threads(wanted, cluster)) for _ in range(workers)])
    try:
        yield from pool.map_unordered(lambda worker, work: worker.predict.remote(sent, work), todo)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, TrainerError):
            raise error.cause from None
        raise
    except ray.exceptions.RayError as error:
        raise InfrastructureError(
            f"a worker of the cluster died while it predicted ({first_line(error)}). Run the same "
            "command again to continue"
        ) from None
