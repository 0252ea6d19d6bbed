"""A fold model as an ONNX file."""

import builtins
from pathlib import Path

import numpy as np
import pytest

from tests.trainer.prediction.fold_runs import Trained, settings, train_trial
from tests.trainer.prediction.packs import trained
from trainer.errors import ConfigError
from trainer.prediction import onnx_export
from trainer.prediction.onnx_export import export_onnx, input_names, require_onnx

OWN = """\
import timm, torch

class Undecided(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.body = timm.create_model("test_resnet", num_classes=0)

    def forward(self, images_BCHW):
        features_BF = self.body(images_BCHW)
        return features_BF if features_BF.sum().item() > 0 else -features_BF

def undecided(size_HW, pretrained):
    return Undecided()
"""


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    choices = {"heads": "separate", "head_crops": {"tone": "box"}, "normalise": "dataset"}
    return trained(tmp_path_factory.mktemp("trained"), **choices)


@pytest.fixture
def onnxruntime():
    """The extra, without which ONNX files can neither be written nor read."""
    for library in onnx_export.LIBRARIES:
        pytest.importorskip(library, reason="the extra `onnx` is not installed")
    return pytest.importorskip("onnxruntime")


@pytest.mark.slow  # torch's exporter takes half a minute to be imported
def test_other_programs_compute_the_same_from_any_number_of_images(trial, tmp_path, onnxruntime):
    model = trial.model(0)
    path = tmp_path / "exported" / "model.onnx"
    path.parent.mkdir()
    assert export_onnx(model, path) <= 1e-5
    assert [file.name for file in path.parent.iterdir()] == ["model.onnx"]  # with the weights
    session = onnxruntime.InferenceSession(path)
    assert [each.name for each in session.get_inputs()] == input_names(model)
    assert input_names(model) == ["images_none", "images_box"]
    rng = np.random.default_rng(5)
    for count in (1, 5):
        views = [rng.integers(0, 256, (count, 16, 16, 3), dtype=np.uint8) for _ in range(2)]
        (probs_BK,) = session.run(["probs"], dict(zip(input_names(model), views, strict=True)))
        assert probs_BK.shape == (count, 6)
        np.testing.assert_allclose(probs_BK.sum(axis=1), 1, rtol=1e-5)
        assert np.ptp(probs_BK, axis=1).min() > 1e-3


@pytest.mark.slow  # torch's exporter takes half a minute to be imported
def test_a_network_that_cannot_be_exported_is_named(trial, tmp_path, onnxruntime):
    code = tmp_path / "code"
    code.mkdir()
    (code / "my_task.py").write_text(OWN)
    config = settings(backbone="my_task.py:undecided")
    own = train_trial(tmp_path / "own", config, trial.data, code=code)
    with pytest.raises(ConfigError) as caught:
        export_onnx(own.model(0), tmp_path / "model.onnx")
    text = str(caught.value)
    assert text.startswith(
        f"{tmp_path}/own/fold-0/model.safetensors: backbone my_task.py:undecided cannot be "
        "exported to ONNX ("
    )
    assert text.endswith("). Pack without --onnx")


@pytest.mark.slow  # torch's exporter takes half a minute to be imported
def test_a_file_that_says_something_else_is_refused(trial, tmp_path, onnxruntime, monkeypatch):
    expected = onnx_export._expected
    monkeypatch.setattr(onnx_export, "_expected", lambda *given: expected(*given) + 3e-4)
    with pytest.raises(
        ConfigError,
        match=r"the ONNX file of backbone test_resnet differs from torch by 0\.0003, more than "
        r"0\.0001\. Pack without --onnx$",
    ):
        export_onnx(trial.model(0), tmp_path / "model.onnx")


def test_the_extra_is_named_where_it_is_missing(monkeypatch):
    load = builtins.__import__

    def missing(name: str, *rest: object, **named: object) -> object:
        if name == "onnx":
            raise ModuleNotFoundError("No module named 'onnx'")
        return load(name, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ConfigError) as caught:
        require_onnx()
    assert str(caught.value) == (
        "ONNX needs onnx, onnxscript, onnxruntime (No module named 'onnx'). "
        "pip install 'foldsweep[onnx]'"
    )


def test_one_input_has_a_plain_name(tmp_path: Path):
    assert input_names(trained(tmp_path, crop="box").model(0)) == ["images"]
