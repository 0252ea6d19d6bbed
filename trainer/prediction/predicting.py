"""Predict unseen images: all fold models of all members, mixed.

Every fold model is built and loaded once and stays in host memory; it is on the device only while
it predicts a chunk. To copy 75 MB of weights takes about 1 % of the time in which a GPU predicts
2,048 images, and any number of models of any size fits.

Shapes: N images, K classes.
"""

import collections
import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from trainer.errors import DataError, OutOfMemoryError, first_line
from trainer.fields.evaluation import Tta
from trainer.images.batches import Batches, drop_others
from trainer.images.crops import require
from trainer.images.images import Rows
from trainer.images.preprocessing import Preprocessing, Reading
from trainer.metrics import Probs
from trainer.prediction.chunks import (
    Cancelled,
    DecodedChunk,
    Looks,
    cut_chunks,
    decode_chunk,
    one_ahead,
)
from trainer.prediction.fold_model import FoldModel
from trainer.prediction.mixture import Mixture
from trainer.prediction.store import Store
from trainer.prediction.unseen import Unseen
from trainer.training.fit import set_up_torch
from trainer.training.inputs import PlainImages
from trainer.training.predict import predict

Progress = Callable[[str, int, int], None]
Kept = tuple[Probs, Mapping[int, str]]  # of one model and chunk, see `Store`


@dataclasses.dataclass(frozen=True)
class Predictor:
    """An ensemble, or a single trial, with its networks.

    Attributes:
        models: the fold models of each member, by the member's name. A member that has other
            predictions in `given` has none.
        prior_K: the share of each class in the training data; it stands for an image that cannot
            be read.
        given: probabilities (N, K) of the images to be predicted, made elsewhere, by the name of
            the member.
    """

    mixture: Mixture
    models: Mapping[str, Sequence[FoldModel]]
    prior_K: tuple[float, ...]
    given: Mapping[str, Probs] = dataclasses.field(default_factory=dict)

    def decide(self, probs_NK: Probs, bad: Iterable[int]) -> npt.NDArray[np.int64]:
        """Return the index (N) of each image's class; images that cannot be read get the commonest.

        Args:
            probs_NK: the mixture's probabilities, also averaged over groups.
            bad: the images that cannot be read.
        """
        class_N = self.mixture.decision.of(probs_NK)
        class_N[list(bad)] = np.argmax(self.prior_K)
        return class_N


@dataclasses.dataclass(frozen=True)
class Predicted:
    """The prediction for N images.

    Attributes:
        probs_NK: the mixture's probabilities, in the order of the images.
        bad: the reason for each image that cannot be read; its probabilities are the prior.
    """

    probs_NK: Probs
    bad: Mapping[int, str]


@dataclasses.dataclass(frozen=True)
class Answer:
    """What all fold models predict for one chunk.

    Attributes:
        rows: the images of the chunk.
        bad: the reason for each image that cannot be read, by its place in the chunk.
        probs: for each fold model of the plan the probabilities of all other images, in order.
    """

    rows: Rows
    bad: Mapping[int, str]
    probs: tuple[Probs, ...]


@dataclasses.dataclass(frozen=True)
class Plan:
    """Which models predict which images, and how.

    Attributes:
        models: all fold models, in the order of the predictor's members.
        tta: test-time augmentation; None for that of each model's training.
    """

    models: tuple[FoldModel, ...]
    unseen: Unseen
    tta: Tta | None = None

    @functools.cached_property
    def looks(self) -> Looks:
        """All preparations of an image that the models need."""
        looks: dict[Reading, dict[Preprocessing, None]] = collections.defaultdict(dict)
        for model in self.models:
            looks[model.header.reading].update(dict.fromkeys(model.header.views))
        return {reading: tuple(hows) for reading, hows in looks.items()}

    @functools.cached_property
    def chunks(self) -> list[Rows]:
        """The rows of each chunk."""
        return cut_chunks(len(self.unseen), self.looks)

    def decoded(self, chunk: Rows, cancelled: Cancelled = lambda: False) -> DecodedChunk:
        """Read and decode the images of a chunk, see `decode_chunk`."""
        return decode_chunk(self.unseen, chunk, self.looks, cancelled=cancelled)

    def keys(self, chunk: Rows) -> list[str]:
        """Return the key of the probabilities of a chunk for each model, see `Store`."""
        unseen = self.unseen
        digest = hashlib.sha256(repr((str(unseen.root), unseen.clip_boxes)).encode())
        for row in chunk.tolist():
            box = None if unseen.boxes_N4 is None else unseen.boxes_N4[row].tolist()
            digest.update(repr((unseen.paths[row], _stat(unseen.file(row)), box)).encode())
        images = digest.hexdigest()
        return [
            hashlib.sha256(f"{model} {images}".encode()).hexdigest()[:32]
            for model in self._model_keys
        ]

    @functools.cached_property
    def _model_keys(self) -> list[str]:
        return [
            json.dumps([model.digest, model.code_digest, model.header.as_texts(), self.tta])
            for model in self.models
        ]


def plan_of(predictor: Predictor, unseen: Unseen, *, tta: Tta | None = None) -> Plan:
    """Return the plan of a prediction.

    Raises:
        ConfigError: a library or a model file that crops or cuts out is missing on this machine.
    """
    named = (predictor.models.get(member.name, ()) for member in predictor.mixture.members)
    plan = Plan(tuple(model for models in named for model in models), unseen, tta)
    for reading, hows in plan.looks.items():
        for how in hows:
            require(how.crop, how.background, reading=reading)
    return plan


def needs_boxes(models: Iterable[FoldModel]) -> bool:
    """Return whether a model crops the box of an image."""
    return any(how.crop == "box" for model in models for how in model.header.views)


def answers(
    plan: Plan, *, device: torch.device, store: Store, progress: Progress | None = None
) -> Iterator[Answer]:
    """Predict all chunks in this process, and yield the answers in order.

    What the store has already is not computed again.

    Raises:
        OutOfMemoryError: not even a single image fits into the GPU's memory.
    """
    keys = store_keys(plan, store)
    set_up_torch(device, torch.get_num_threads())
    done = 0

    def prepared(
        number: int, cancelled: Cancelled
    ) -> tuple[list[Kept | None], DecodedChunk | None]:
        kept: list[Kept | None] = [store.read(key) for key in keys[number]]
        return kept, None if complete(kept) else plan.decoded(plan.chunks[number], cancelled)

    for number, (kept, chunk) in enumerate(one_ahead(prepared, range(len(plan.chunks)))):
        answered: list[Kept] = []
        for model, key, known in zip(plan.models, keys[number], kept, strict=True):
            if chunk is not None and not still_right(known, chunk):
                known = (predict_chunk(model, chunk, tta=plan.tta, device=device), chunk.bad)
                store.write(key, *known)
            assert known is not None
            answered.append(known)
            done += len(plan.chunks[number])
            if progress is not None:
                progress("predicting", done, len(plan.unseen) * len(plan.models))
        yield answer_of(plan.chunks[number], answered)


def store_keys(plan: Plan, store: Store) -> list[list[str]]:
    """Return the keys of each chunk's models; what the store has under other keys is removed."""
    keys = [plan.keys(rows) for rows in plan.chunks]
    store.keep_only({key for of_chunk in keys for key in of_chunk})
    return keys


def still_right(known: Kept | None, chunk: DecodedChunk) -> bool:
    """Return whether kept probabilities of a model are those of the images that can be read."""
    return known is not None and known[1] == chunk.bad


def complete(kept: Sequence[Kept | None]) -> bool:
    """Return whether a chunk's probabilities of all models are there, for the same images."""
    bad = [None if known is None else known[1] for known in kept]
    return all(each is not None and each == bad[0] for each in bad)


def answer_of(rows: Rows, kept: Sequence[Kept]) -> Answer:
    """Return what all fold models predict for a chunk."""
    bad = kept[0][1] if kept else {}
    return Answer(rows, bad, tuple(probs_NK for probs_NK, _ in kept))


def predict_chunk(
    model: FoldModel, chunk: DecodedChunk, *, tta: Tta | None, device: torch.device
) -> Probs:
    """Return the probabilities of the images of a chunk that can be read.

    Batches that do not fit into the GPU's memory are halved.

    Raises:
        OutOfMemoryError: not even a single image fits.
    """
    header = model.header
    sources = [chunk.sources[header.reading, how] for how in header.views]
    good = np.setdiff1d(np.arange(len(sources[0])), list(chunk.bad))
    if not len(good):
        return np.zeros((0, len(header.classes)), dtype=np.float32)
    network = model.network.to(device)
    batch_size = model.batch_size
    try:
        while True:
            batches = [
                Batches(
                    source, device=device, mean_std=header.mean_std, beside=chunk.sources.values()
                )
                for source in sources
            ]
            try:
                return predict(
                    network,
                    PlainImages(batches),
                    good,
                    heads=header.heads,
                    batch_size=batch_size,
                    tta=tta or header.config.tta,
                ).probs_NK
            except torch.OutOfMemoryError as error:
                if batch_size == 1:
                    raise OutOfMemoryError(
                        f"{model.weights}: a single image does not fit into the GPU's memory "
                        f"({first_line(error)})"
                    ) from None
            batch_size = max(1, batch_size // 2)  # outside `except`, which holds the tensors
            drop_others(keep=())
            torch.cuda.empty_cache()
    finally:
        network.to("cpu")


def mix(predictor: Predictor, unseen: Unseen, found: Iterable[Answer]) -> Predicted:
    """Return the mixture's prediction from the answers for all chunks.

    Raises:
        DataError: none of the images can be read.
    """
    probs_NK = np.tile(np.array(predictor.prior_K, dtype=np.float32), (len(unseen), 1))
    bad: dict[int, str] = {}
    for answer in found:
        bad |= {int(answer.rows[at]): reason for at, reason in answer.bad.items()}
        good = np.delete(answer.rows, list(answer.bad))
        if len(good):
            probs_NK[good] = predictor.mixture.of(_by_member(predictor, answer.probs, good))
    if len(bad) == len(unseen):
        first = min(bad)
        raise DataError(
            f"{unseen.source}: none of {len(unseen):,} images can be read "
            f"({unseen.where(first)}: {bad[first]})"
        )
    return Predicted(probs_NK, bad)


def _by_member(
    predictor: Predictor, probs: Sequence[Probs], rows: Rows
) -> dict[str, Sequence[Probs]]:
    """The probabilities of each member's fold models, from those of all models of the plan."""
    left = iter(probs)
    return {
        member.name: [next(left) for _ in predictor.models.get(member.name, ())]
        or [predictor.given[member.name][rows]]
        for member in predictor.mixture.members
    }


def _stat(file: Path) -> tuple[int, int] | None:
    try:
        stat = os.stat(file)
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns
