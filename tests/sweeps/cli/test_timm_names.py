"""Names and sizes as users write them: taken with a note, or refused in words with what works."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.sweeps.cli.conftest import Ended
from tests.sweeps.cli.refusals import refused

Sweeps = Callable[..., Ended]
Space = Callable[..., Path]


def test_old_names_are_taken_under_their_new_ones_with_a_note(sweeps: Sweeps, space: Space):
    old = "tf_efficientnet_b4_ns, convnext_base_in22ft1k, swsl_resnext50_32x4d, timm/Test_ResNet"
    file = space(("value: test_efficientnet", f"values: [{old}]"), ("value: 16", "value: 64"))
    ended = sweeps("check", file)
    assert ended.code == 0, ended.err
    assert (
        "backbone       tf_efficientnet_b4.ns_jft_in1k, convnext_base.fb_in22k_ft_in1k, "
        "resnext50_32x4d.fb_swsl_ig1b_ft_in1k, test_resnet\n"
    ) in ended.out
    for note in (
        "backbone tf_efficientnet_b4_ns is called tf_efficientnet_b4.ns_jft_in1k in the installed "
        "timm",
        "backbone: timm/Test_ResNet is read as test_resnet",
    ):
        assert ended.err.count(f"note: {note}\n") == 1


def test_a_sweep_is_stored_and_continued_under_the_new_name(sweeps: Sweeps, space: Space):
    file = space(
        ("value: test_efficientnet", "value: timm/Test_EfficientNet"), ("adamw]", "AdamW]")
    )
    assert sweeps("run", file, "--local", "--trials", "1").code == 0
    again = sweeps("run", file, "--local")
    assert again.code == 0, again.err
    note = "backbone: timm/Test_EfficientNet is read as test_efficientnet\n"
    assert again.err.count(note) == 1
    assert "timm/" not in Path("runs/tiny/spec.yaml").read_text()


@pytest.mark.parametrize("command", ["check", "prepare", "run"])
def test_a_size_is_refused_with_one_that_works(command: str, sweeps: Sweeps, space: Space):
    file = space(("test_efficientnet", "test_convnext"), ("value: 16", "value: 20"))
    refused(
        sweeps(command, file),
        "tiny.yaml: 1 problem\n  line 9  parameters: backbone test_convnext does not take resize "
        "20. The nearest size that it takes is 32",
    )


def test_a_problem_keeps_its_line_where_names_were_taken(sweeps: Sweeps, space: Space):
    file = space(("value: test_efficientnet", "values: [Test_ResNet, resnet500]"))
    assert sweeps("check", file).err.startswith(
        "note: backbone: Test_ResNet is read as test_resnet\n"
        "error: tiny.yaml: 1 problem\n"
        "  line 10  parameters.backbone.values.1: timm has no model 'resnet500'. Nearest: "
    )
