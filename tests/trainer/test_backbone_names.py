"""Which names are backbones: timm's answer, asked once."""

import sys

import pytest
import timm

from trainer.backbone_names import check_backbone, known_backbones
from trainer.data.cache import default_cache_folder


@pytest.fixture(scope="module", autouse=True)
def _asked_once(tmp_path_factory):
    """All tests here share one remembered answer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWEEPS_CACHE", str(tmp_path_factory.mktemp("names")))
        yield


def test_the_names_are_timms_with_and_without_tags():
    assert known_backbones() == {*timm.list_models(), *timm.list_pretrained()}


def test_the_answer_is_remembered_per_version_so_that_timm_is_not_imported_again(monkeypatch):
    first = known_backbones()
    assert [path.name for path in default_cache_folder().iterdir()] == [f"timm-{timm.__version__}.json"]
    monkeypatch.setitem(sys.modules, "timm", None)  # an import would fail
    assert known_backbones() == first


def test_another_version_is_asked_anew(monkeypatch):
    known_backbones()
    monkeypatch.setattr("importlib.metadata.version", lambda name: "99.0")
    monkeypatch.setattr(timm, "list_models", lambda: ["newnet"])
    monkeypatch.setattr(timm, "list_pretrained", lambda: ["newnet.tag"])
    assert known_backbones() == {"newnet", "newnet.tag"}


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_b0.ra_in1k", "test_resnet", "test_resnet.r160_in1k"])
def test_a_name_that_timm_knows_is_right(name):
    assert check_backbone(name) is None


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("resnt18", "resnet18"), ("resnet18.a1_in2k", "resnet18.a1_in1k"), ("efficientnet-b0", "efficientnet_b0")],
)
def test_a_wrong_name_is_answered_with_the_nearest_ones(name, nearest):
    problem = check_backbone(name)
    assert problem.startswith(f"timm has no model {name!r}. Nearest: ")
    assert repr(nearest) in problem
    assert problem.endswith("`python -c 'import timm; print(timm.list_models())'` lists them")


def test_a_name_like_no_other_is_answered_without_a_guess():
    command = "python -c 'import timm; print(timm.list_models())'"
    assert check_backbone("zzz") == f"timm has no model 'zzz'. `{command}` lists them"


@pytest.mark.parametrize("name", ["", ".", "resnet18.", "timm/resnet18", "hf-hub:timm/resnet18", "local-dir:/tmp"])
def test_an_address_or_half_a_name_is_no_name(name):
    assert check_backbone(name).startswith(f"timm has no model {name!r}.")
