"""Unseen images: each file decoded once, each network built once, nothing computed twice."""

import collections
import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.trainer.prediction.fold_runs import (
    K,
    Trained,
    answered,
    data_options,
    predicted,
    predictor_of,
    settings,
    train_trial,
    write_photos,
)
from trainer.errors import ConfigError, DataError, OutOfMemoryError
from trainer.images.preprocessing import Preprocessing, Reading
from trainer.prediction import chunks, fold_model, predicting
from trainer.prediction.calibration import Calibration
from trainer.prediction.chunks import cut_chunks, decode_chunk, one_ahead
from trainer.prediction.mixture import Member, Mixture
from trainer.prediction.predicting import Predictor, needs_boxes
from trainer.prediction.store import Store
from trainer.prediction.unseen import Unseen, read_unseen

N = 24


@pytest.fixture(scope="module")
def module_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trained")


@pytest.fixture(scope="module")
def trials(module_folder: Path) -> tuple[Trained, Trained]:
    """A trial that looks at whole images, and one that looks at them and at their boxes."""
    patch = pytest.MonkeyPatch()
    patch.setenv("SWEEPS_CACHE", str(module_folder / "cache"))
    data = data_options(write_photos(module_folder / "photos"))
    plain = train_trial(module_folder / "plain", settings(), data)
    both = {"heads": "separate", "head_crops": {"tone": "box"}, "batch_size": 6}
    boxed = train_trial(module_folder / "boxed", settings(**both), data)
    patch.undo()
    return plain, boxed


@pytest.fixture
def predictor(trials: tuple[Trained, Trained]) -> Predictor:
    return predictor_of(plain=trials[0].models(), boxed=trials[1].models())


@pytest.fixture
def unseen(tmp_path: Path) -> Unseen:
    """The training images in a folder that a test may change."""
    return read_unseen(data_options(write_photos(tmp_path / "test")), boxes=True)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK", 5)


def _counted(
    function: Callable[..., object], name: str, count: collections.Counter[str]
) -> Callable[..., object]:
    def counted(*args: object, **rest: object) -> object:
        count[name] += 1
        return function(*args, **rest)

    return counted


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> collections.Counter[str]:
    """How often something was done."""
    count: collections.Counter[str] = collections.Counter()
    for module, name in (
        (chunks, "decode_all"),
        (fold_model, "load_weights"),
        (predicting, "predict_chunk"),
    ):
        monkeypatch.setattr(module, name, _counted(getattr(module, name), name, count))
    read_bytes = Path.read_bytes

    def read(path: Path) -> bytes:
        count["read"] += path.suffix == ".png"
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", read)
    return count


@pytest.mark.usefixtures("small_chunks")
def test_a_file_is_decoded_once_and_a_network_built_once_whatever_the_number_of_models(
    predictor, unseen, calls
):
    predicted(predictor, unseen)
    assert calls == {"read": N, "decode_all": N, "load_weights": 4, "predict_chunk": 4 * 5}


def test_chunks_change_nothing(predictor, unseen, monkeypatch):
    whole_NK = predicted(predictor, unseen).probs_NK
    for size in (1, 7, N):
        monkeypatch.setattr(chunks, "CHUNK", size)
        np.testing.assert_allclose(predicted(predictor, unseen).probs_NK, whole_NK, atol=1e-6)


def test_members_are_calibrated_and_weighted_in_the_order_of_the_mixture(trials, predictor, unseen):
    alone = {
        name: answered(predictor_of(only=models), unseen)[0].probs
        for name, models in predictor.models.items()
    }
    mixture = Mixture(
        (Member("boxed", 0.7, Calibration(2.0)), Member("plain", 0.3)),
        Calibration(0.5, (0.1, 0, 0, 0, 0, 0)),
    )
    mixed = predicted(Predictor(mixture, predictor.models, (1.0,) * 6), unseen)
    np.testing.assert_array_equal(mixed.probs_NK, mixture.of(alone))
    assert mixed.bad == {}


def test_a_member_may_have_predictions_that_were_made_elsewhere(predictor, unseen, trials):
    given_NK = np.random.default_rng(0).dirichlet(np.ones(6), N).astype(np.float32)
    mixture = Mixture((Member("notebook", 0.6), Member("plain", 0.4)))
    mixed = Predictor(
        mixture, {"plain": trials[0].models()}, (0.0,) * 6, given={"notebook": given_NK}
    )
    plain_NK = predicted(predictor_of(plain=trials[0].models()), unseen).probs_NK
    np.testing.assert_allclose(
        predicted(mixed, unseen).probs_NK, 0.6 * given_NK + 0.4 * plain_NK, atol=1e-6
    )
    alone = Predictor(Mixture((Member("notebook", 1.0),)), {}, (0.0,) * 6, mixed.given)
    np.testing.assert_allclose(predicted(alone, unseen).probs_NK, given_NK, atol=1e-6)


# images that cannot be read


def test_an_image_that_cannot_be_read_gets_the_prior_and_its_reason(trials, tmp_path):
    source = write_photos(tmp_path / "test")
    (tmp_path / "test/03.png").write_bytes(b"")
    (tmp_path / "test/04.png").unlink()
    (tmp_path / "test/05.png").write_text("no image")
    lines = source.read_text().splitlines()
    lines[8] = "07.png,dark,day,p2,5,5,99,9"
    source.write_text("\n".join(lines))
    unseen = read_unseen(data_options(source), boxes=True)
    prior_K = trials[0].prior_K
    models = {"boxed": trials[1].models()}
    found = predicted(Predictor(Mixture((Member("boxed", 1.0),)), models, prior_K), unseen)
    assert found.bad == {
        3: "empty file",
        4: "there is no such file",
        5: "not an image (JPEG, PNG, WEBP, GIF, BMP, TIFF, PPM, JPEG2000, AVIF can be read)",
        7: "its box [5, 5, 99, 9] leaves the image of 18 x 24",
    }
    for row in found.bad:
        np.testing.assert_allclose(found.probs_NK[row], prior_K, rtol=1e-6)
    whole = read_unseen(data_options(write_photos(tmp_path / "whole")), boxes=True)
    others = [row for row in range(N) if row not in found.bad]
    np.testing.assert_allclose(
        found.probs_NK[others],
        predicted(predictor_of(boxed=models["boxed"]), whole).probs_NK[others],
        atol=1e-6,
    )


@pytest.mark.usefixtures("small_chunks")
def test_a_chunk_without_any_readable_image_is_no_problem_but_no_readable_image_at_all_is(
    predictor, unseen
):
    for row in range(5, 10):
        unseen.file(row).write_bytes(b"")
    assert set(predicted(predictor, unseen).bad) == set(range(5, 10))
    for row in range(N):
        unseen.file(row).write_bytes(b"")
    with pytest.raises(
        DataError,
        match=rf"^{unseen.source}: none of 24 images can be read \(line 2: 00.png: empty file\)$",
    ):
        predicted(predictor, unseen)


def test_boxes_are_cut_at_the_edge_where_the_training_data_were(trials, tmp_path):
    source = write_photos(tmp_path / "test")
    text = source.read_text()
    source.write_text(text.replace("00.png,dark,day,p0,0,0,12,15", "00.png,dark,day,p0,0,0,99,15"))
    models = [trials[1].model(0)]
    assert needs_boxes(models)
    assert not needs_boxes([trials[0].model(0)])

    def probs(**options: object) -> np.ndarray:
        unseen = read_unseen(data_options(source, **options), boxes=True)
        return predicted(predictor_of(boxed=models), unseen).probs_NK[0]

    cut_K = probs(bad_boxes="clip")
    np.testing.assert_allclose(probs(), [1 / 6] * 6)
    source.write_text(text.replace("00.png,dark,day,p0,0,0,12,15", "00.png,dark,day,p0,0,0,18,15"))
    np.testing.assert_array_equal(probs(), cut_K)


def test_a_missing_library_is_said_before_anything_is_decoded(predictor, unseen, monkeypatch):
    def missing(*_: object, **__: object) -> None:
        raise ConfigError("install it")

    monkeypatch.setattr(predicting, "require", missing)
    with pytest.raises(ConfigError, match="install it"):
        answered(predictor, unseen)


# interruptions


class Killed(BaseException):
    """Ends a prediction as a kill does."""


def kill_at(done: int):
    def progress(what: str, now: int, total: int) -> None:
        assert what == "predicting"
        assert total == 4 * N
        if now >= done:
            raise Killed

    return progress


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("done", [1, 5 * 6, 4 * 20 + 1])
def test_a_killed_prediction_goes_on_where_it_was(predictor, unseen, tmp_path, calls, done):
    undisturbed_NK = predicted(predictor, unseen).probs_NK
    total = calls["predict_chunk"]
    calls.clear()
    store = Store(tmp_path / "work")
    with pytest.raises(Killed):
        predicted(predictor, unseen, store=store, progress=kill_at(done))
    before = calls["predict_chunk"]
    assert 0 < before < total
    calls.clear()
    found = predicted(predictor, unseen, store=store)
    assert calls["predict_chunk"] == total - before
    finished = before // 4  # chunks whose images are not needed again
    assert calls["decode_all"] == N - min(N, 5 * finished)
    np.testing.assert_array_equal(found.probs_NK, undisturbed_NK)
    calls.clear()
    np.testing.assert_array_equal(
        predicted(predictor, unseen, store=store).probs_NK, found.probs_NK
    )
    assert calls == {}
    store.remove()
    assert not (tmp_path / "work").exists()


@pytest.mark.usefixtures("small_chunks")
def test_what_has_changed_is_predicted_again_and_the_rest_is_not(
    trials, predictor, unseen, tmp_path, calls
):
    store = Store(tmp_path / "work")
    bad = tmp_path / "test/06.png"
    content = bad.read_bytes()
    bad.write_bytes(b"")
    assert set(predicted(predictor, unseen, store=store).bad) == {6}
    calls.clear()
    bad.write_bytes(content)
    assert predicted(predictor, unseen, store=store).bad == {}
    assert (calls["predict_chunk"], calls["decode_all"]) == (4, 5)  # the chunk of that image
    calls.clear()
    os.utime(tmp_path / "test/23.png", (1, 1))
    predicted(predictor, unseen, store=store)
    assert calls["predict_chunk"] == 4
    calls.clear()
    predicted(predictor_of(other=[trials[0].model(1)]), unseen, store=store)
    assert calls["predict_chunk"] == 0
    assert len(list((tmp_path / "work").iterdir())) == 5  # what is not needed now is removed
    predicted(predictor_of(other=[trials[0].model(1)]), unseen, store=store, tta="flip")
    assert calls["predict_chunk"] == 5


def test_damaged_files_of_an_interrupted_prediction_are_computed_again(
    predictor, unseen, tmp_path, calls
):
    store = Store(tmp_path / "work")
    expected_NK = predicted(predictor, unseen, store=store).probs_NK
    calls.clear()
    for damaged, path in enumerate(sorted((tmp_path / "work").iterdir())[:2]):
        path.write_bytes(path.read_bytes()[: 100 * damaged])
    np.testing.assert_array_equal(predicted(predictor, unseen, store=store).probs_NK, expected_NK)
    assert calls["predict_chunk"] == 2


def test_an_image_that_was_unreadable_for_a_moment_is_not_mixed_with_others(
    predictor, unseen, tmp_path
):
    """A model's stored probabilities without an image do not fit those with it."""
    store = Store(tmp_path / "work")
    status = os.stat(unseen.file(2))
    content = unseen.file(2).read_bytes()
    unseen.file(2).write_bytes(b"x" * len(content))
    os.utime(unseen.file(2), ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(Killed):
        predicted(predictor, unseen, store=store, progress=kill_at(2 * N))
    unseen.file(2).write_bytes(content)
    os.utime(unseen.file(2), ns=(status.st_atime_ns, status.st_mtime_ns))
    found = predicted(predictor, unseen, store=store)
    assert found.bad == {}
    np.testing.assert_array_equal(found.probs_NK, predicted(predictor, unseen).probs_NK)


# memory


def test_chunks_are_as_large_as_memory_allows():
    def sizes(images: int, *sides: int) -> list[int]:
        hows = [Preprocessing((side, side)) for side in sides]
        return [len(rows) for rows in cut_chunks(images, {Reading(): hows})]

    assert sizes(5_000, 32) == [2_048, 2_048, 904]
    assert sizes(2_000, 512) == [682, 682, 636]  # 2**29 bytes of 786,432 each
    assert sizes(2_000, 512, 512)[0] == 341
    assert sizes(3, 4_096)[0] == 3
    assert sizes(0, 32) == []


def test_batches_that_do_not_fit_are_halved(predictor, unseen, monkeypatch):
    expected_NK = predicted(predictor, unseen).probs_NK
    predict = predicting.predict
    tried = []

    def small(*args: object, batch_size: int, **rest: object):
        tried.append(batch_size)
        if batch_size > 3:
            raise torch.OutOfMemoryError("too little\nlong report")
        return predict(*args, batch_size=batch_size, **rest)

    monkeypatch.setattr(predicting, "predict", small)
    found = predicted(predictor, unseen)
    assert tried == [8, 4, 2] * K + [12, 6, 3] * K
    np.testing.assert_allclose(found.probs_NK, expected_NK, atol=1e-6)

    def never(*_: object, **__: object):
        raise torch.OutOfMemoryError("too little\nlong report")

    monkeypatch.setattr(predicting, "predict", never)
    with pytest.raises(
        OutOfMemoryError,
        match=r"model.safetensors: a single image does not fit into the GPU's memory "
        r"\(too little\)$",
    ):
        predicted(predictor, unseen)


def test_the_next_item_is_worked_on_meanwhile_in_order_and_errors_arrive():
    begun = []
    results = one_ahead(lambda item, _: begun.append(item) or 10 // item, [1, 2, 0, 5])
    assert next(results) == 10
    assert next(results) == 5
    assert len(begun) >= 2
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert list(one_ahead(lambda item, _: -item, [])) == []
    assert list(one_ahead(lambda item, _: -item, [1])) == [-1]


def test_nobody_waits_for_an_item_that_is_not_wanted_any_more():
    begun = threading.Event()

    def slow(item: int, cancelled: Callable[[], bool]) -> int:
        while item and not cancelled():
            begun.set()
        return item

    results = one_ahead(slow, [0, 1])
    assert next(results) == 0
    assert begun.wait(60)
    results.close()  # returns, because the item is told to end


def test_decoding_ends_where_it_is_cancelled(unseen, calls):
    looks = {Reading(): [Preprocessing((8, 8))]}
    decode_chunk(unseen, np.arange(N), looks, cancelled=lambda: True, threads=1)
    assert calls["decode_all"] < N
