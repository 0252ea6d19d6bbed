"""A real GPU predicts what the CPU predicts, up to the rounding of bfloat16."""

import numpy as np
import pytest
import torch

from tests.trainer.prediction.fold_runs import (
    answered,
    data_options,
    predictor_of,
    settings,
    train_trial,
    write_photos,
)
from trainer.prediction import chunks
from trainer.prediction.predicting import answers, plan_of
from trainer.prediction.store import Store
from trainer.prediction.unseen import read_unseen

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


def test_networks_are_on_the_gpu_only_while_they_predict_a_chunk(tmp_path, monkeypatch):
    data = data_options(write_photos(tmp_path / "photos"))
    two = {"heads": "separate", "head_crops": {"tone": "box"}, "tta": "flip"}
    trial = train_trial(tmp_path / "trial", settings(**two), data)
    unseen = read_unseen(data, boxes=True)
    here = answered(predictor_of(only=trial.models()), unseen)
    monkeypatch.setattr(chunks, "CHUNK", 5)
    predictor = predictor_of(only=trial.models())
    plan = plan_of(predictor, unseen)
    there = list(answers(plan, device=torch.device("cuda"), store=Store()))
    assert len(there) == 5
    for model in range(2):
        probs_NK = np.concatenate([answer.probs[model] for answer in there])
        np.testing.assert_allclose(probs_NK, here[0].probs[model], atol=0.02)
    for model in plan.models:
        assert {parameter.device.type for parameter in model.network.parameters()} == {"cpu"}
