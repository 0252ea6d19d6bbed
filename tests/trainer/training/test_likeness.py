"""Whether configurations give the same weights: tiny trainings on noise."""

import pytest
import torch

from trainer.config import TrainConfig
from trainer.errors import DataError
from trainer.training import likeness
from trainer.training.likeness import COMPARED, weights_after

# for each field two values, settings with which they differ, and settings with which they do not
FIELDS = {
    "loss": (("cross_entropy", "focal"), {}, {"focal_gamma": 0.0}),
    "loss_mix": (
        ({"focal": 1.0}, {"focal": 0.5, "soft_f1": 0.5}),
        {"loss": "mixture"},
        {"loss": "focal"},
    ),
    "focal_gamma": ((1.0, 2.0), {"loss": "focal"}, {}),
    "smoothing": ((0.1, 0.2), {"loss": "label_smoothing"}, {"loss": "focal"}),
    "class_weights": (("none", "balanced"), {}, {"loss": "soft_f1"}),
    "effective_beta": ((0.9, 0.99), {"class_weights": "effective_number"}, {}),
    "sampling": (("shuffled", "balanced"), {}, None),
    "optimizer": (("adam", "adamw"), {}, {"weight_decay": 0.0}),
    "weight_decay": ((0.0, 0.01), {"optimizer": "adam"}, {"optimizer": "adamw", "lr": 1e-7}),
    "momentum": ((0.8, 0.9), {"optimizer": "sgd"}, {"optimizer": "adagrad"}),
    "nesterov": ((True, False), {"optimizer": "sgd"}, {"optimizer": "adam"}),
    "layer_decay": ((1.0, 0.8), {}, None),
    "shift": ((0.1, 0.3), {"affine": 0.01}, {}),
    "scale": ((0.1, 0.3), {"affine": 0.01}, {}),
    "rotate": ((10.0, 30.0), {"affine": 0.01}, {}),
    "crop_area": ((0.2, 0.5), {"resized_crop": 0.01}, {}),
    "brightness": ((0.1, 0.3), {"jitter": 0.01}, {"flip": 0.5}),
    "contrast": ((0.1, 0.3), {"jitter": 0.01}, {}),
    "saturation": ((0.1, 0.3), {"jitter": 0.01}, {}),
    "hue": ((0.1, 0.3), {"jitter": 0.01}, {}),
    "blur_sigma": ((0.004, 0.01), {"blur": 0.01}, {}),
    "erasing_area": ((0.1, 0.4), {"erasing": 0.01}, {}),
    "cutmix_alpha": ((0.5, 2.0), {"cutmix": 0.01}, {}),
    "mixup_alpha": ((0.5, 2.0), {"mixup": 0.01, "cutmix": 0.01}, {"cutmix": 0.5}),
}


def weights(code=None, *, epochs: int = 1, **fields: object) -> str | None:
    return weights_after(TrainConfig(**fields), epochs=epochs, code=code)


def test_the_table_names_every_field_that_is_compared():
    assert FIELDS.keys() == COMPARED


@pytest.mark.parametrize("field", FIELDS)
def test_two_steps_tell_choices_apart_where_they_count_and_only_there(field):
    (one, other), counts, does_not = FIELDS[field]
    assert weights(**{**counts, field: one}) != weights(**{**counts, field: other})
    if does_not is not None:
        assert weights(**{**does_not, field: one}) == weights(**{**does_not, field: other})


def test_the_same_configuration_gives_the_same_weights(monkeypatch):
    first = weights()
    monkeypatch.setattr(likeness, "remembered", lambda kind, question, answer: answer())
    assert weights() == first is not None
    assert weights(epochs=2) != first


@pytest.mark.parametrize(
    "change",
    [
        {"backbone": "efficientnet_b4", "weights": "pretrained", "resize": 512, "crop": "face"},
        {"scheduler": "one_cycle", "warmup_epochs": 3, "ema": 0.9, "patience": 3},
        {"freeze": "up_to:layer3", "heads": "separate", "head_weights": {"age": 2.0}},
        {"checkpoint": "best", "tta": "crops", "monitor": "metric", "metric": "my_task.py:kappa"},
        {"step_epochs": 3, "batch_size": 512, "accumulation": 4, "clip_norm": 1.0},
    ],
)
def test_what_is_not_compared_changes_nothing(change):
    assert weights(**change) == weights()


def test_a_training_that_fails_gives_nothing(tmp_path):
    assert weights(tmp_path, loss="my_task.py:gone") is None
    assert weights(optimizer="no_such_optimizer") is None


def test_an_answer_is_remembered_unless_the_loss_is_the_users_own(monkeypatch, tmp_path):
    (tmp_path / "my_task.py").write_text(
        "import torch.nn.functional as F\ndef mine(logits, targets):\n"
        "    return F.cross_entropy(logits, targets)\n"
    )
    known = weights(lr=0.01)
    own = weights(tmp_path, lr=0.01, loss="my_task.py:mine")
    assert own == known
    asked = []
    monkeypatch.setattr(likeness, "_trained", lambda config, code: asked.append(config.loss))
    assert weights(lr=0.01) == known
    assert weights(tmp_path, lr=0.01, loss="my_task.py:mine") is None
    monkeypatch.setattr(likeness, "_deciders", lambda: {"trainer": "another version"})
    assert weights(lr=0.01) is None
    assert asked == ["my_task.py:mine", "cross_entropy"]


def test_the_process_stays_as_it_was():
    torch.set_num_threads(2)
    before = torch.random.get_rng_state()
    weights(lr=0.02)
    assert torch.get_num_threads() == 2
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_cache_that_cannot_be_written_is_told(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SWEEPS_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match="the cache folder cannot be written"):
        weights()
