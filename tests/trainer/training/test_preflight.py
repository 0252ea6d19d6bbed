"""What can be said of a network before there are weights, data or a GPU; and remembered."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import timm
import torch

from trainer.cache_folder import default_cache_folder
from trainer.config import TrainConfig
from trainer.model import network
from trainer.model.network import build_network
from trainer.training import preflight
from trainer.training.preflight import network_problem, remembered_problem

JOINT = {"class": 3}
COLUMNS = {"mask": 3, "gender": 2}
OWN = """
import torch
from torch import nn

def flat(size_HW, pretrained):
    assert not pretrained, "weights are not asked for before training"
    torch.rand(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * size_HW[0] * size_HW[1], 8), nn.BatchNorm1d(8))

def fails(size_HW, pretrained):
    class Fails(nn.Module):
        def forward(self, images_BCHW):
            return images_BCHW.no_such_method()
    return Fails()
"""


@pytest.fixture(scope="module", autouse=True)
def _names_asked_once(tmp_path_factory):
    """timm's names, remembered for all tests here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWEEPS_CACHE", str(tmp_path_factory.mktemp("cache")))
        assert network_problem(config_for("test_resnet"), JOINT, code=None) is None
        yield


@pytest.fixture
def own(tmp_path):
    (tmp_path / "my_task.py").write_text(OWN)
    return tmp_path


def config_for(backbone: str, **changes: object) -> TrainConfig:
    return TrainConfig(**{"backbone": backbone, "weights": "none", "resize": 32, **changes})


def problem(
    backbone: str,
    head_sizes: Mapping[str, int] = JOINT,
    code: Path | None = None,
    **changes: object,
) -> str | None:
    return network_problem(config_for(backbone, **changes), head_sizes, code=code)


@pytest.mark.parametrize(
    ("backbone", "changes"),
    [
        (
            "resnet18",
            {"weights": "pretrained", "resize": 224, "freeze": "up_to:layer3", "layer_decay": 0.7},
        ),
        ("vgg13_bn", {"weights": "pretrained", "resize": 256, "head_norm": True}),
        ("vit_small_patch16_224", {"weights": "pretrained", "resize": "160x320", "batch_size": 1}),
        ("efficientnet_b0", {"resize": 224, "progressive": 0.5, "pooling": "catavgmax"}),
        ("test_vit", {"weights": "pretrained", "pooling": "avg"}),
        ("vgg11", {"weights": "pretrained", "pooling": "catavgmax", "resize": 64}),
        ("levit_128", {"weights": "pretrained", "resize": 224}),
        ("levit_128", {"resize": 128}),
        ("test_resnet", {"batch_size": 1, "freeze": "backbone"}),
        ("test_resnet", {"batch_size": 1, "freeze": "backbone", "unfreeze_epoch": 6, "epochs": 5}),
        ("test_resnet", {"batch_size": 4, "accumulation": 2}),
    ],
)
def test_a_network_that_works_has_no_problem(backbone, changes):
    assert problem(backbone, **changes) is None


@pytest.mark.parametrize(
    ("backbone", "changes", "expected"),
    [
        ("resnt18", {}, "backbone: timm has no model 'resnt18'. Nearest: "),
        (
            "resnet18",
            {"freeze": "up_to:layer5"},
            "freeze: backbone resnet18 has no stage 'layer5'. Did you mean",
        ),
        (
            "vit_small_patch16_224",
            {"resize": 100},
            "backbone vit_small_patch16_224 does not take resize 100: ",
        ),
        (
            "test_convnext",
            {"resize": 16},
            "backbone test_convnext does not take resize 16. The nearest size that it takes is 32",
        ),
        ("test_resnet", {"pooling": "token"}, "backbone test_resnet does not take pooling token ("),
        (
            "mobilenetv3_small_050",
            {"weights": "pretrained", "resize": 64, "pooling": "catavgmax"},
            "backbone mobilenetv3_small_050 does not take pooling catavgmax (",
        ),
        (
            "levit_128",
            {"weights": "pretrained", "resize": 128},
            "backbone levit_128: its pretrained weights do not take resize 128 (",
        ),
        (
            "test_vit_relpos",
            {"weights": "pretrained"},
            "backbone test_vit_relpos: timm has no pretrained weights of it. Set weights: none",
        ),
        (
            "pit_s_224",
            {"resize": 224, "layer_decay": 0.8},
            "layer_decay=0.8: backbone pit_s_224 does not say what its",
        ),
        (
            "test_vit",
            {"progressive": 0.5},
            "progressive=0.5: backbone test_vit takes images of one size only. Set progressive: 1",
        ),
        (
            "inception_v3",
            {"resize": 96, "progressive": 0.4},
            "progressive=0.4: backbone inception_v3 does not take resize 32. ",
        ),
        (
            "test_resnet",
            {"weights": "/nowhere/a.pth"},
            "weights: there is no file /nowhere/a.pth. ",
        ),
    ],
)
def test_a_network_that_cannot_work_is_told_in_one_line(backbone, changes, expected):
    told = problem(backbone, **changes)
    assert told is not None
    assert told.startswith(expected)
    assert "\n" not in told


@pytest.mark.parametrize(
    ("backbone", "changes", "blamed"),
    [
        ("test_resnet", {"batch_size": 1}, "backbone test_resnet"),
        ("test_resnet", {"batch_size": 4, "accumulation": 4}, "backbone test_resnet"),
        ("test_resnet", {"batch_size": 1, "freeze": "all_but_last_block"}, "backbone test_resnet"),
        (
            "test_resnet",
            {"batch_size": 1, "freeze": "backbone", "unfreeze_epoch": 5},
            "backbone test_resnet",
        ),
        ("test_resnet", {"batch_size": 1, "freeze": "backbone", "head_norm": True}, "head_norm"),
        ("test_vit", {"batch_size": 1, "head_norm": True}, "head_norm"),
    ],
)
def test_batch_norm_of_single_images_is_refused_with_what_to_change(backbone, changes, blamed):
    size = changes["batch_size"]
    parts = changes.get("accumulation", 1)
    assert problem(backbone, **changes) == (
        f"{blamed} has batch norm, which needs more than one image at a time, "
        f"got batch_size={size} in accumulation={parts} parts. Raise batch_size or lower "
        "accumulation"
    )


@pytest.mark.parametrize("field", ["head_crops", "head_weights"])
def test_a_name_that_is_no_label_column_is_told(field):
    given = {"head_crops": {"sex": "face"}, "head_weights": {"sex": 2.0}}[field]
    told = problem("test_resnet", COLUMNS, heads="separate", **{field: given})
    assert told == f"{field}: 'sex' is no label column. The columns are mask, gender"
    given = {"head_crops": {"mask": "face"}, "head_weights": {"mask": 2.0}}[field]
    assert problem("test_resnet", COLUMNS, heads="separate", **{field: given}) is None


def test_local_weights_are_compared_by_shape(tmp_path):
    path = tmp_path / "vit.pth"
    torch.save(timm.create_model("test_vit", img_size=64).state_dict(), path)
    assert problem("test_vit", weights=str(path), resize=96) is None
    told = problem("test_resnet", weights=str(path))
    assert told is not None
    assert told.startswith(f"weights: {path} does not fit backbone test_resnet: ")


@pytest.fixture
def built(monkeypatch):
    """The networks that are built from now on."""
    preflight._of_timm.cache_clear()
    networks = []
    monkeypatch.setattr(
        network,
        "build_network",
        lambda *a, **k: networks.append(build_network(*a, **k)) or networks[-1],
    )
    return networks


def test_nothing_of_a_network_of_timm_takes_memory(built):
    assert problem("vgg13_bn", resize=256) is None
    assert all(tensor.is_meta for tensor in built[0].state_dict().values())


def test_a_network_that_is_frozen_in_several_ways_is_built_once(built):
    """And no check leaves anything behind for the next one."""
    alone = {"batch_size": 1}
    for freeze in ("backbone", "up_to:layer4", "none", "backbone"):
        told = problem("test_resnet", freeze=freeze, **alone)
        assert (told is None) == (freeze != "none"), told
    unknown = problem("test_resnet", freeze="up_to:layer9", **alone)
    assert unknown is not None
    assert "'layer9'" in unknown
    assert problem("test_resnet", freeze="backbone", layer_decay=0.5, **alone) is None
    assert len(built) == 1
    assert problem("test_resnet", {"class": 4}, freeze="backbone", **alone) is None
    assert len(built) == 2


def test_an_own_backbone_is_called_for_real_and_leaves_the_random_numbers_alone(own):
    before = torch.random.get_rng_state()
    assert problem("my_task.py:flat", code=own, weights="pretrained") is None
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("function", "changes", "expected"),
    [
        (
            "fails",
            {},
            "my_task.py:fails, line 13: AttributeError: 'Tensor' object has no attribute "
            "'no_such_method'",
        ),
        ("gone", {}, "my_task.py has no function 'gone'."),
        (
            "flat",
            {"freeze": "up_to:9"},
            "freeze: backbone my_task.py:flat has no stage '9'. Its stages are 1, 2",
        ),
        ("flat", {"layer_decay": 0.5}, "layer_decay=0.5: backbone my_task.py:flat does not say"),
        ("flat", {"batch_size": 1}, "backbone my_task.py:flat has batch norm"),
        (
            "flat",
            {"resize": 96, "progressive": 0.4},
            "progressive=0.4: backbone my_task.py:flat does not take resize",
        ),
    ],
)
def test_an_own_backbone_is_asked_the_same(own, function, changes, expected):
    told = problem(f"my_task.py:{function}", code=own, **changes)
    assert told is not None
    assert told.startswith(expected)


@pytest.fixture
def asked(monkeypatch):
    """The configurations that were not remembered."""
    questions = []

    def ask(config: TrainConfig, head_sizes: Mapping[str, int], *, code: Path | None) -> str | None:
        questions.append(config)
        return f"asked {len(questions)}" if config.dropout == 0 else None

    monkeypatch.setattr(preflight, "network_problem", ask)
    return questions


def test_an_answer_is_remembered(asked):
    config = config_for("resnet18")
    assert [remembered_problem(config, JOINT, code=None) for _ in range(3)] == ["asked 1"] * 3
    fine = config_for("resnet34", dropout=0.5)
    assert [remembered_problem(fine, JOINT, code=None) for _ in range(3)] == [None] * 3
    assert len(asked) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"lr": 0.5},
        {"epochs": 7},
        {"batch_size": 16},
        {"seed": 3},
        {"dropout": 0.3},
        {"unfreeze_epoch": 2},  # nothing is frozen
    ],
)
def test_what_a_network_does_not_depend_on_is_not_asked_again(asked, changes):
    remembered_problem(config_for("resnet18"), JOINT, code=None)
    remembered_problem(config_for("resnet18", **changes), JOINT, code=None)
    assert len(asked) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"backbone": "resnet34"},
        {"weights": "pretrained"},
        {"resize": 64},
        {"resize": "32x48"},
        {"pooling": "max"},
        {"head_norm": True},
        {"freeze": "up_to:layer1"},
        {"freeze": "backbone", "unfreeze_epoch": 2},
        {"batch_size": 1},
        {"layer_decay": 0.5},
        {"progressive": 0.5},
        {"heads": "separate", "head_weights": {"mask": 1.0}},
        {"heads": "separate", "head_crops": {"mask": "face"}},
    ],
)
def test_what_a_network_depends_on_is_asked_anew(asked, changes):
    for given in ({}, {"freeze": "backbone"}, changes):
        remembered_problem(config_for(**{"backbone": "resnet18", **given}), COLUMNS, code=None)
    assert len(asked) == 3


def test_other_label_columns_are_asked_anew_where_they_matter(asked):
    config = config_for("resnet18", heads="separate", head_weights={"mask": 2.0})
    for columns in (COLUMNS, {"mask": 9, "gender": 9}, {"age": 3, "gender": 2}):
        remembered_problem(config, columns, code=None)
    assert len(asked) == 2


@pytest.mark.parametrize("changed", ["library", "file"])
def test_another_version_is_asked_anew(asked, changed, monkeypatch):
    remembered_problem(config_for("resnet18"), JOINT, code=None)
    old = preflight._deciders()
    new = {**old, "timm": "99.0"} if changed == "library" else {**old, "model/freezing.py": "0"}
    monkeypatch.setattr(preflight, "_deciders", lambda: new)
    remembered_problem(config_for("resnet18"), JOINT, code=None)
    assert len(asked) == 2
    assert {
        "timm",
        "torch",
        "training/preflight.py",
        "model/network.py",
        "model/backbone.py",
        "model/freezing.py",
    } <= old.keys()


def test_files_of_the_users_own_are_asked_anew_each_time(asked, tmp_path):
    for config in (
        config_for("my_task.py:f"),
        config_for("resnet18", weights=str(tmp_path / "a.pth")),
    ):
        for _ in range(2):
            remembered_problem(config, JOINT, code=tmp_path)
    assert len(asked) == 4
    assert not (default_cache_folder() / "networks").exists()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"problem"', "null"])
def test_a_damaged_answer_is_asked_anew(asked, content):
    remembered_problem(config_for("resnet18"), JOINT, code=None)
    (path,) = (default_cache_folder() / "networks").iterdir()
    path.write_text(content)
    assert remembered_problem(config_for("resnet18"), JOINT, code=None) == "asked 2"
    assert json.loads(path.read_text())["answer"] == "asked 2"


def test_what_is_remembered_is_answered_without_importing_torch_or_timm():
    config = config_for("test_resnet")
    refused = config_for("test_resnet", freeze="up_to:layer9")
    assert remembered_problem(config, JOINT, code=None) is None
    told = remembered_problem(refused, JOINT, code=None)
    assert told is not None
    program = (
        "import sys\n"
        "from trainer.config import TrainConfig\n"
        "from trainer.training.preflight import remembered_problem\n"
        f"for config in ({config.model_dump(mode='json')!r}, "
        f"{refused.model_dump(mode='json')!r}):\n"
        f"    print(remembered_problem(TrainConfig(**config), {JOINT!r}, code=None))\n"
        "print(sorted({'torch', 'timm', 'torchvision'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["None", told, "[]"]
