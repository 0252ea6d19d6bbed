"""Which names are backbones and optimizers: timm's answer, asked once."""

import fnmatch
import sys

import pytest
import timm
import timm.optim

from trainer.cache_folder import default_cache_folder
from trainer.model.timm_names import (
    EXCLUDED,
    WeightsSource,
    canonical_backbone,
    check_backbone,
    check_optimizer,
    known_backbones,
    known_optimizers,
    weights_source,
)


@pytest.fixture(scope="module", autouse=True)
def _asked_once(tmp_path_factory):
    """All tests here share one remembered answer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWEEPS_CACHE", str(tmp_path_factory.mktemp("names")))
        yield


def test_the_backbones_are_timms_with_and_without_tags():
    assert known_backbones() == {*timm.list_models(), *timm.list_pretrained()}


def test_the_optimizers_are_timms_without_the_excluded_ones():
    excluded = set(timm.optim.list_optimizers()) - known_optimizers()
    assert known_optimizers() < set(timm.optim.list_optimizers())
    assert {
        pattern for name in excluded for pattern in EXCLUDED if fnmatch.fnmatch(name, pattern)
    } == set(EXCLUDED)


def test_one_answer_is_remembered_per_version_so_that_timm_is_not_imported_again(monkeypatch):
    first = known_backbones(), known_optimizers()
    assert [path.name for path in default_cache_folder().iterdir()] == [
        f"timm-{timm.__version__}-registry.json"
    ]
    monkeypatch.setitem(sys.modules, "timm", None)  # an import would fail
    assert (known_backbones(), known_optimizers()) == first


def test_another_version_is_asked_anew(monkeypatch):
    known_backbones()
    monkeypatch.setattr("importlib.metadata.version", lambda name: "99.0")
    monkeypatch.setattr(timm, "list_models", lambda: ["newnet"])
    monkeypatch.setattr(timm, "list_pretrained", lambda: ["newnet.tag"])
    monkeypatch.setattr(timm.optim, "list_optimizers", lambda: ["newgrad", "kron"])
    assert known_backbones() == {"newnet", "newnet.tag"}
    assert known_optimizers() == {"newgrad"}


@pytest.mark.parametrize(
    "name", ["resnet18", "efficientnet_b0.ra_in1k", "test_resnet", "test_resnet.r160_in1k"]
)
def test_a_backbone_that_timm_knows_is_right(name):
    assert check_backbone(name) is None


@pytest.mark.parametrize(
    "name", ["adam", "adamw", "sgd", "rmsprop", "radam", "lion", "madgrad", "lamb", "adan"]
)
def test_an_optimizer_that_timm_knows_is_right(name):
    assert check_optimizer(name) is None


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("resnt18", "resnet18"),
        ("resnet18.a1_in2k", "resnet18.a1_in1k"),
        ("efficientnet-b0", "efficientnet_b0"),
    ],
)
def test_a_wrong_backbone_is_answered_with_the_nearest_ones(name, nearest):
    problem = check_backbone(name)
    assert problem.startswith(f"timm has no model {name!r}. Nearest: ")
    assert repr(nearest) in problem
    assert problem.endswith("`python -c 'import timm; print(timm.list_models())'` lists them")


@pytest.mark.parametrize(
    ("name", "nearest"), [("adamm", "adam"), ("AdamW", "adamw"), ("madgrade", "madgrad")]
)
def test_a_wrong_optimizer_is_answered_with_the_nearest_ones(name, nearest):
    problem = check_optimizer(name)
    assert problem.startswith(f"timm has no optimizer {name!r}. Nearest: ")
    assert repr(nearest) in problem
    assert problem.endswith(
        "`python -c 'import timm.optim; print(timm.optim.list_optimizers())'` lists them"
    )


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("adahessian", "it needs second derivatives"),
        ("bnbadam8bit", "it needs the bitsandbytes package"),
        ("fusedlamb", "it needs NVIDIA's apex package; adam, adamw and sgd are fused without it"),
        ("kronw", "it does not resume exactly from a checkpoint"),
    ],
)
def test_an_excluded_optimizer_is_answered_with_the_reason(name, reason):
    assert check_optimizer(name) == f"{name!r} cannot train here: {reason}. Choose another one"


def test_a_name_like_an_excluded_one_is_unknown():
    assert check_optimizer("bnbfoo").startswith("timm has no optimizer 'bnbfoo'.")


def test_a_name_like_no_other_is_answered_without_a_guess():
    command = "python -c 'import timm; print(timm.list_models())'"
    assert check_backbone("zzz") == f"timm has no model 'zzz'. `{command}` lists them"


@pytest.mark.parametrize(
    "name", ["", ".", "resnet18.", "timm/resnet18", "hf-hub:timm/resnet18", "local-dir:/tmp"]
)
def test_an_address_or_half_a_name_is_no_name(name):
    assert check_backbone(name).startswith(f"timm has no model {name!r}.")


@pytest.mark.parametrize("name", ["", "lookahead_adam", "torch.optim.Adam", "adam*"])
def test_a_wrapped_or_half_optimizer_is_no_name(name):
    assert check_optimizer(name).startswith(f"timm has no optimizer {name!r}.")


@pytest.mark.parametrize(
    ("written", "known"),
    [
        ("tf_efficientnet_b4_ns", "tf_efficientnet_b4.ns_jft_in1k"),
        ("convnext_base_in22ft1k", "convnext_base.fb_in22k_ft_in1k"),
        ("vit_base_patch16_224_in21k", "vit_base_patch16_224.augreg_in21k"),
        ("resnet18", "resnet18"),
    ],
)
def test_old_names_are_understood(written, known):
    assert canonical_backbone(written) == known
    assert check_backbone(known) is None


def test_every_name_that_timm_has_given_up_has_a_new_one():
    given_up = timm.models._registry._deprecated_models
    assert len(given_up) > 150
    weights_gone = {"vit_base_patch16_224_sam", "vit_base_patch32_224_sam"}
    for old in given_up.keys() - weights_gone:
        assert canonical_backbone(old) in known_backbones(), old
    for old in weights_gone & given_up.keys():
        plain = old.removesuffix("_sam")
        assert check_backbone(canonical_backbone(old)) == (
            f"timm calls {old!r} '{plain}.sam' and has no such weights any more. Use {plain!r}"
        )


@pytest.mark.parametrize("name", ["resnet500", "someone/resnet18", "hf-hub:someone/resnet18", ""])
def test_a_name_that_is_not_understood_stays_as_it_is(name):
    assert canonical_backbone(name) == name


def test_the_sources_of_weights_are_timms():
    assert weights_source("resnet18") == WeightsSource("timm/resnet18.a1_in1k", "", "")
    assert weights_source("test_vit_relpos") is None
    for name in timm.list_pretrained():
        source = weights_source(name)
        assert source is not None, name
        assert source.hub_id or source.url.startswith("http"), name
