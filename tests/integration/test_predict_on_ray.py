"""Predictions on the workers of a Ray cluster: those of one process, to the bit."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from sweeps.errors import InputError
from sweeps.ray_tune.cluster import Cluster, ray_cluster
from sweeps.ray_tune.predicting import answers_on_ray
from tests.trainer.prediction.fold_runs import (
    data_options,
    predicted,
    predictor_of,
    settings,
    train_trial,
    write_photos,
)
from trainer.errors import CheckpointError
from trainer.prediction import chunks
from trainer.prediction.predicting import Predictor, mix, plan_of
from trainer.prediction.store import Store
from trainer.prediction.unseen import Unseen, read_unseen

ONE_WORKER = Cluster(cpus=1, gpus=0)


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[Cluster]:
    with ray_cluster() as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)  # as a worker has


@pytest.fixture
def predictor(tmp_path: Path) -> Predictor:
    data = data_options(write_photos(tmp_path / "photos"))
    trial = train_trial(tmp_path / "trial", settings(), data)
    return predictor_of(only=trial.models())


@pytest.fixture
def unseen(predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Unseen:
    """The same photos, one of which is empty; in chunks of five."""
    (tmp_path / "photos/07.png").write_bytes(b"")
    monkeypatch.setattr(chunks, "CHUNK", 5)
    return read_unseen(data_options(tmp_path / "photos" / "train.csv"))


def on_ray(predictor: Predictor, unseen: Unseen, store: Store, cluster: Cluster, said: list[int]):
    found = answers_on_ray(
        plan_of(predictor, unseen),
        store,
        cluster=cluster,
        device="cpu",
        progress=lambda what, done, total: said.append(done),
    )
    return mix(predictor, unseen, found)


def test_they_are_those_of_one_process_and_are_not_computed_twice(
    predictor, unseen, cluster, tmp_path
):
    here = predicted(predictor, unseen)
    store = Store(tmp_path / "work")
    said: list[int] = []
    there = on_ray(predictor, unseen, store, cluster, said)
    np.testing.assert_array_equal(there.probs_NK, here.probs_NK)
    assert there.bad == here.bad == {7: "empty file"}
    assert sorted(said)[-1] == 24
    assert len(said) == 5
    assert len(list((tmp_path / "work").iterdir())) == 10
    for path in sorted((tmp_path / "work").iterdir())[:1]:
        path.unlink()
    said.clear()
    again = on_ray(predictor, unseen, store, cluster, said)
    np.testing.assert_array_equal(again.probs_NK, here.probs_NK)
    assert len(said) == 1  # the chunk of the removed file


def test_an_error_of_a_worker_arrives_as_it_was(predictor, unseen, tmp_path):
    predictor.models["only"][1].weights.unlink()
    with pytest.raises(CheckpointError, match=r"model.safetensors: the weights do not load"):
        on_ray(predictor, unseen, Store(tmp_path / "work"), ONE_WORKER, [])


def test_a_cluster_without_gpus_is_refused_where_one_is_asked_for(
    predictor, unseen, cluster, tmp_path
):
    if cluster.gpus:
        pytest.skip("this machine has a GPU")
    found = answers_on_ray(
        plan_of(predictor, unseen),
        Store(tmp_path / "work"),
        cluster=cluster,
        device="cuda",
        progress=lambda *_: None,
    )
    with pytest.raises(InputError, match="1 GPU"):
        list(found)
