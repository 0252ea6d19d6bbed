"""What is refused before anything starts: names, the user's functions,
networks that cannot be built.
"""

import importlib.metadata
import json
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from sweeps.errors import SpecError
from sweeps.preparing import feasible
from sweeps.preparing.feasible import check_names, check_networks, try_user_functions
from sweeps.space.spec_reader import read_spec
from trainer.config import TrainConfig
from trainer.errors import ConfigError

HEAD = """\
name: toy
metric: {name: valid/f1, goal: maximize}
run_cap: 3
data: {source: train.csv}
parameters:
"""
# lines 6, 7 and 8 of the file; others follow
SMALL = {"backbone": "{value: test_resnet}", "weights": "{value: none}", "resize": "{value: 32}"}
SPACES = Path(__file__).parents[3] / "search_spaces"
NO_STAGE = "Its stages are conv1, bn1, act1, layer1, layer2, layer3, layer4"
ONE_IMAGE = (
    "has batch norm, which needs more than one image at a time, got batch_size=1 in accumulation=1 "
    "parts. Raise batch_size or lower accumulation"
)
Problems = Callable[..., list[str]]


@pytest.fixture(scope="session")
def timm_names(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """timm's answer, asked once."""
    from trainer.model import timm_names

    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("names")
        patch.setenv("SWEEPS_CACHE", str(folder))
        assert "test_resnet" in timm_names.known_backbones()
    (path,) = folder.glob("*.json")
    return path


@pytest.fixture(autouse=True)
def _knows_the_names(timm_names: Path, tmp_path: Path, _own_folders: None) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / timm_names.name).write_bytes(timm_names.read_bytes())


@pytest.fixture
def problems(tmp_path: Path) -> Problems:
    """What is refused of a small space with some parameters changed, line by line;
    [] if it is feasible.
    """

    def ask(
        parameters: dict[str, str] | None = None, *settings: str, head: str = HEAD
    ) -> list[str]:
        lines = [f"  {name}: {entry}\n" for name, entry in {**SMALL, **(parameters or {})}.items()]
        path = tmp_path / "space.yaml"
        path.write_text(head + "".join(lines))
        spec = read_spec(path, settings=settings)
        try:
            check_names(spec)
            check_networks(spec)
        except SpecError as error:
            first, *found = str(error).splitlines()
            assert first == f"{path}: {len(found)} problem{'s' if len(found) > 1 else ''}"
            return [line.strip() for line in found]
        return []

    return ask


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[TrainConfig]:
    """The networks that are asked about; all of them can be built."""
    found: list[TrainConfig] = []

    def none(config: TrainConfig, head_sizes: Any, *, code: Any) -> None:
        found.append(config)

    monkeypatch.setattr(feasible, "remembered_problem", none)
    return found


# --- names


class TestNames:
    def test_unknown_backbones_are_named_together_with_their_lines_and_the_nearest(
        self, problems: Problems
    ):
        how = "`python -c 'import timm; print(timm.list_models())'` lists them"
        assert problems(
            {"backbone": "\n    values:\n      - test_resnet\n      - test_resnte\n      - qqq"}
        ) == [
            f"line 9  parameters.backbone.values.1: timm has no model 'test_resnte'. "
            f"Nearest: 'test_resnet', 'test_nfnet', 'test_efficientnet'. {how}",
            f"line 10  parameters.backbone.values.2: timm has no model 'qqq'. {how}",
        ]

    def test_unknown_optimizers_and_those_that_cannot_train_here_are_named(
        self, problems: Problems
    ):
        how = "`python -c 'import timm.optim; print(timm.optim.list_optimizers())'` lists them"
        assert problems({"optimizer": "{values: [madgrad, radan, adahessian]}"}) == [
            f"line 9  parameters.optimizer.values.1: timm has no optimizer 'radan'. "
            f"Nearest: 'adan', 'radam', 'cadan'. {how}",
            "line 9  parameters.optimizer.values.2: 'adahessian' cannot train here: "
            "it needs second derivatives. Choose another one",
        ]

    def test_one_value_stands_on_the_line_of_it(self, problems: Problems):
        (found,) = problems({"backbone": "{value: test_resne}"})
        assert found.startswith(
            "line 6  parameters.backbone.value: timm has no model 'test_resne'. Nearest: "
        )

    def test_a_name_from_a_setting_has_no_line(self, problems: Problems):
        (found,) = problems({}, "parameters.backbone.value=qqq")
        assert found == (
            "parameters.backbone.value: timm has no model 'qqq'. "
            "`python -c 'import timm; print(timm.list_models())'` lists them (from --set)"
        )

    def test_a_setting_of_one_parameter_leaves_the_lines_of_the_others(self, problems: Problems):
        (found,) = problems({"optimizer": "{value: qqq}"}, "parameters.backbone.value=test_vit")
        assert found.startswith("line 9  parameters.optimizer.value: ")

    def test_the_names_that_the_defaults_stand_for_are_asked_for_too(
        self, asked: list[TrainConfig], tmp_path: Path, timm_names: Path, problems: Problems
    ):
        known = {"backbones": ["resnet34"], "optimizers": ["adamw"], "renamed": {}, "weights": {}}
        version = importlib.metadata.version("timm")
        (tmp_path / "cache" / f"timm-{version}-registry.json").write_text(json.dumps(known))
        path = tmp_path / "space.yaml"
        path.write_text(HEAD + "  lr: {value: 0.1}\n")
        with pytest.raises(
            SpecError, match=r"parameters\.backbone\.value: timm has no model 'resnet18'"
        ):
            check_names(read_spec(path))
        assert asked == []  # a network of an unknown name is not asked about

    def test_known_names_are_no_problem(self, asked: list[TrainConfig], problems: Problems):
        names = "{values: [test_resnet, resnet50, efficientnet_b0.ra_in1k, vit_small_patch16_224]}"
        assert problems({"backbone": names, "optimizer": "{values: [sgd, lion, lamb]}"}) == []
        assert len(asked) == 4


# --- networks


CANNOT = {
    "size": (
        {"backbone": "{value: test_vit}", "resize": "{value: 280x210}"},
        "backbone test_vit does not take resize 280x210: "
        "sides must be multiples of its patches of 16x16 pixels, e.g. 288x208",
    ),
    "stage": (
        {"freeze.up_to": "{value: layer9}"},
        f"freeze: backbone test_resnet has no stage 'layer9'. Did you mean 'layer4'? {NO_STAGE}",
    ),
    "stage as a value of freeze": (
        {"freeze": "{values: [none, 'up_to:block']}"},
        f"freeze: backbone test_resnet has no stage 'block'. {NO_STAGE}",
    ),
    "one image": ({"batch_size": "{values: [1, 4]}"}, f"backbone test_resnet {ONE_IMAGE}"),
    "one image at the lower end": (
        {"batch_size": "{min: 1, max: 4}"},
        f"backbone test_resnet {ONE_IMAGE}",
    ),
    "one image in the end": (
        {"batch_size": "{value: 1}", "freeze": "{value: backbone}", "unfreeze_epoch": "{value: 2}"},
        f"backbone test_resnet {ONE_IMAGE}",
    ),
    "one image in head_norm": (
        {
            "backbone": "{value: test_vit}",
            "resize": "{value: 160}",
            "batch_size": "{value: 1}",
            "head_norm": "{values: [true, false]}",
        },
        f"head_norm {ONE_IMAGE}",
    ),
    "pooling": (
        {"pooling": "{values: [avg, token]}"},
        "backbone test_resnet does not take pooling token (Invalid pool type: token). "
        "It takes default, avg, max, avgmax, catavgmax",
    ),
    "size of pretrained weights": (
        {
            "backbone": "{value: levit_128}",
            "weights": "{values: [pretrained, none]}",
            "resize": "{values: [224, 128]}",
        },
        "backbone levit_128: its pretrained weights do not take resize 128 "
        "(size mismatch for stages.0.blocks.0.attn.attention_biases). They take 224. "
        "Use one of these, or weights: none",
    ),
    "progressive": (
        {"backbone": "{value: test_vit}", "resize": "{value: 160}", "progressive": "{value: 0.5}"},
        "progressive=0.5: backbone test_vit takes images of one size only. Set progressive: 1",
    ),
    "no such weights": (
        {"weights": "{value: gone.safetensors}"},
        "weights: there is no file gone.safetensors. Name an existing file, pretrained or none",
    ),
}


class TestNetworks:
    @pytest.mark.parametrize("case", CANNOT)
    def test_one_that_cannot_be_is_refused(self, problems: Problems, case: str):
        parameters, problem = CANNOT[case]
        assert problems(parameters) == [f"line 5  parameters: {problem}"]

    def test_each_problem_is_named_once_and_all_of_them(self, problems: Problems):
        assert problems(
            {
                "batch_size": "{value: 1}",
                "resize": "{values: [32, 64]}",
                "freeze.up_to": "{value: x}",
            }
        ) == [f"line 5  parameters: freeze: backbone test_resnet has no stage 'x'. {NO_STAGE}"]
        both = {
            "backbone": "{values: [test_resnet, test_vit]}",
            "resize": "{value: 40}",
            "batch_size": "{value: 1}",
        }
        assert problems(both) == [
            f"line 5  parameters: backbone test_resnet {ONE_IMAGE}",
            "line 5  parameters: backbone test_vit does not take resize 40: "
            "sides must be multiples of its patches of 16x16 pixels, e.g. 32x32",
        ]

    def test_a_problem_that_a_setting_made_has_no_line(self, problems: Problems):
        assert problems({}, "parameters.batch_size={value: 1}") == [
            f"parameters: backbone test_resnet {ONE_IMAGE} (from --set)"
        ]

    def test_a_setting_elsewhere_leaves_the_line(self, problems: Problems):
        assert problems({"batch_size": "{value: 1}"}, "run_cap=7") == [
            f"line 5  parameters: backbone test_resnet {ONE_IMAGE}"
        ]

    def test_local_weights_of_another_shape_are_refused(self, problems: Problems, tmp_path: Path):
        other = tmp_path / "other.safetensors"
        safetensors.torch.save_file({"conv1.0.weight": torch.zeros(3, 3)}, other)
        (found,) = problems({"weights": f"{{value: {other}}}"})
        assert found.startswith(
            f"line 5  parameters: weights: {other} does not fit backbone test_resnet: "
        )
        assert found.endswith(". Name a file with weights of this backbone")

    def test_what_no_condition_allows_is_no_problem(self, problems: Problems):
        only_resnet = {
            "backbone": "{values: [test_resnet, test_vit]}",
            "resize": "{value: 33, when: {backbone: test_resnet}}",  # else 224
            "batch_size": "{value: 1, when: {backbone: test_vit}}",  # else 32
            "freeze.up_to": "{value: layer2, when: {backbone: test_resnet}}",
        }
        assert problems(only_resnet) == []

    def test_what_a_condition_allows_is_a_problem(self, problems: Problems):
        (found,) = problems(
            {
                "backbone": "{values: [test_resnet, test_vit]}",
                "resize": "{value: 33, when: {backbone: test_vit}}",
            }
        )
        assert "backbone test_vit does not take resize 33: " in found

    def test_combinations_that_are_no_configuration_are_left_to_the_notice(
        self, problems: Problems
    ):
        """accumulation 3 does not divide 4; the trial fails with that."""
        assert (
            problems({"batch_size": "{values: [4, 6]}", "accumulation": "{values: [1, 3]}"}) == []
        )

    def test_what_asks_the_same_of_a_network_is_asked_once(
        self, problems: Problems, asked: list[TrainConfig]
    ):
        more = {
            "batch_size": "{values: [16, 32, 64]}",
            "accumulation": "{values: [1, 2]}",
            "layer_decay": "{min: 0.6, max: 0.9}",
            "lr": "{min: 0.001, max: 0.1}",
            "loss": "{values: [focal, cross_entropy]}",
        }
        assert problems(more) == []
        assert [(config.batch_size, config.layer_decay) for config in asked] == [(2, 0.5)]

    def test_a_space_without_end_is_looked_at_in_part(
        self, problems: Problems, asked: list[TrainConfig], monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(feasible, "MAX_NETWORKS", 5)
        sizes = ", ".join(str(size) for size in range(16, 64))
        assert problems({"resize": f"{{values: [{sizes}]}}"}) == []
        assert len(asked) == 5

    def test_an_answer_is_remembered_without_importing_torch(
        self, problems: Problems, tmp_path: Path
    ):
        (problem,) = problems(
            {"backbone": "{values: [test_resnet, test_vit]}", "freeze.up_to": "{value: layer2}"}
        )
        again = """
            import sys
            from pathlib import Path
            from sweeps.errors import SpecError
            from sweeps.preparing.feasible import check_names, check_networks
            from sweeps.space.spec_reader import read_spec
            path = Path(sys.argv[1])
            try:
                check_names(spec := read_spec(path))
                check_networks(spec)
            except SpecError as error:
                print(str(error).splitlines()[1].strip())
            assert not {"torch", "timm"} & set(sys.modules)
        """
        command = [sys.executable, "-c", textwrap.dedent(again), str(tmp_path / "space.yaml")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        assert done.stdout.strip() == problem


@pytest.mark.parametrize("path", sorted(SPACES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_shipped_search_spaces_can_be_built(path: Path):
    check_names(spec := read_spec(path))
    check_networks(spec)


class TestHeads:
    TWO = HEAD.replace("source: train.csv", "source: train.csv, label: [mask, age]")

    def test_separate_heads_need_several_columns(self, problems: Problems):
        for entry in ("{value: separate}", "{values: [joint, separate]}"):
            assert problems({"heads": entry}) == [
                "line 9  parameters.heads: separate needs several label columns (data.label), "
                "got label"
            ]

    def test_they_are_built_where_there_are_several(self, problems: Problems):
        heads = {"heads": "{values: [joint, separate]}"}
        weight = {"head_weights.age": "{min: 0.5, max: 2.0, when: {heads: separate}}"}
        crop = {"head_crops.mask": "{value: box, when: {heads: separate}}"}
        assert problems({**heads, **weight, **crop}, head=self.TWO) == []

    def test_names_that_are_no_column_are_refused(self, problems: Problems):
        (weight,) = problems(
            {"heads": "{value: separate}", "head_weights.agee": "{values: [1.0, 2.0]}"},
            head=self.TWO,
        )
        assert (
            weight == "line 5  parameters: head_weights: 'agee' is no label column. "
            "The columns are mask, age"
        )
        (crop,) = problems(
            {"heads": "{value: separate}", "head_crops.Mask": "{value: face}"}, head=self.TWO
        )
        assert (
            crop
            == "line 5  parameters: head_crops: 'Mask' is no label column. The columns are mask, "
            "age"
        )


# --- the user's own functions


class TestOwnFunctions:
    @pytest.fixture
    def write(self, tmp_path: Path) -> Callable[[str], None]:
        return lambda text: (tmp_path / "my_task.py").write_text(textwrap.dedent(text)) and None

    OWN = HEAD.replace("valid/f1", "my_task.py:score")

    def test_a_missing_file_is_named_where_it_is_asked_for(
        self, problems: Problems, tmp_path: Path
    ):
        assert problems(head=self.OWN) == [
            f"line 2  metric.name: my_task.py:score: there is no file {tmp_path}/my_task.py."
        ]
        for name in ("loss", "backbone"):
            line = {"loss": 9, "backbone": 6}[name]
            assert problems({name: "{value: 'my_task.py:mine'}"}) == [
                f"line {line}  parameters.{name}: my_task.py:mine: there is no file "
                f"{tmp_path}/my_task.py."
            ]

    def test_a_missing_function_is_named_with_the_nearest(
        self, problems: Problems, write: Callable[[str], None]
    ):
        write("def scores(*_): return 1.0")
        assert problems(head=self.OWN) == [
            "line 2  metric.name: my_task.py has no function 'score'. Did you mean 'scores'? It "
            "has: scores"
        ]

    def test_a_file_that_does_not_run_is_told_with_its_line(
        self, problems: Problems, write: Callable[[str], None]
    ):
        write("""
            import numpy as np
            import no_such_package

            def score(*_): return 1.0
        """)
        assert problems(head=self.OWN) == [
            "line 2  metric.name: my_task.py, line 3: ModuleNotFoundError: "
            "No module named 'no_such_package'"
        ]

    def test_all_of_them_are_named(self, problems: Problems, write: Callable[[str], None]):
        write("x = 1")
        found = problems(
            {"loss": "{values: [focal, 'my_task.py:a', 'my_task.py:x']}"}, head=self.OWN
        )
        assert found == [
            "line 2  metric.name: my_task.py has no function 'score'.",
            "line 9  parameters.loss: my_task.py has no function 'a'.",
            "line 9  parameters.loss: my_task.py:x is a int, not a function",
        ]

    def test_one_from_a_setting_is_said_to_be(
        self, problems: Problems, write: Callable[[str], None]
    ):
        write("def a(*_): pass")
        assert problems({}, "metric.name=my_task.py:b") == [
            "metric.name: my_task.py has no function 'b'. It has: a (from --set)"
        ]

    def test_a_backbone_is_called_and_what_it_gives_is_looked_at(
        self, problems: Problems, write: Callable[[str], None]
    ):
        write("""
            from torch import nn

            def maps(size_HW, pretrained):
                return nn.Conv2d(3, 4, 3)

            def mine(size_HW, pretrained):
                return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())

            def broken(size_HW, pretrained):
                raise KeyError(size_HW)
        """)
        assert problems({"backbone": "{value: 'my_task.py:mine'}"}) == []
        (maps,) = problems({"backbone": "{value: 'my_task.py:maps'}"})
        assert maps == (
            "line 5  parameters: my_task.py:maps made of 2 images (2, 3, 32, 32) "
            "Tensor of shape (2, 4, 30, 30); a backbone gives features (2, F): pool its maps, e.g. "
            "with .mean(dim=(2, 3))"
        )
        (broken,) = problems({"backbone": "{value: 'my_task.py:broken'}"})
        assert broken == "line 5  parameters: my_task.py:broken, line 11: KeyError: (32, 32)"

    def test_a_changed_backbone_is_asked_anew(
        self, problems: Problems, write: Callable[[str], None]
    ):
        write("def mine(size_HW, pretrained): return 1")
        assert len(problems({"backbone": "{value: 'my_task.py:mine'}"})) == 1
        write("""
            from torch import nn
            def mine(size_HW, pretrained): return nn.Sequential(nn.AdaptiveAvgPool2d(1), \
nn.Flatten())
        """)
        assert problems({"backbone": "{value: 'my_task.py:mine'}"}) == []


class TestTryingOwnFunctions:
    @pytest.fixture
    def attempt(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
        """Call the functions of a file on the classes of a CSV: three animals,
        of which eels are old only.
        """
        monkeypatch.chdir(tmp_path)
        rows = [
            "0.png,dog,young",
            "1.png,cat,young",
            "2.png,eel,old",
            "3.png,cat,old",
            "4.png,dog,old",
        ]
        Path("train.csv").write_text("\n".join(["path,label,age", *rows]) + "\n")
        for row in rows:
            Path(row.partition(",")[0]).write_bytes(b"never opened")

        def call(text: str, *lines: str, metric: str = "valid/f1", label: str = "label") -> None:
            Path("my_task.py").write_text(textwrap.dedent(text))
            head = HEAD.replace("valid/f1", metric).replace(
                "train.csv}", f"train.csv, label: {label}}}"
            )
            Path("space.yaml").write_text(
                head + "".join(f"  {line}\n" for line in lines or ("lr: {value: 0.1}",))
            )
            try_user_functions(read_spec(Path("space.yaml")))

        return call

    def test_they_are_called_with_the_classes_of_the_data(self, attempt: Callable[..., None]):
        attempt(
            """
            from pathlib import Path

            def score(probs_NK, labels_N, classes):
                assert tuple(classes) == ("cat", "dog", "eel")
                assert probs_NK.shape == (len(labels_N), 3)
                assert set(labels_N.tolist()) == {0, 1, 2}
                Path(__file__).with_name("scored").touch()
                return (probs_NK.argmax(1) == labels_N).mean()

            def loss(logits_BK, targets_BK):
                assert logits_BK.shape == targets_BK.shape
                assert logits_BK.shape[1] == 3
                Path(__file__).with_name("lost").touch()
                return (logits_BK.softmax(1) - targets_BK).abs().mean()
            """,
            "loss: {values: [cross_entropy, 'my_task.py:loss']}",
            metric="my_task.py:score",
        )
        assert Path("scored").exists()
        assert Path("lost").exists()

    def test_a_loss_of_separate_heads_is_called_with_the_classes_of_each(
        self, attempt: Callable[..., None]
    ):
        text = """
            from pathlib import Path

            def score(probs_NK, labels_N, classes):
                there = ("cat / old", "cat / young", "dog / old", "dog / young", "eel / old")
                assert tuple(classes) == there
                return 1.0

            def loss(logits_BK, targets_BK):
                Path(__file__).with_name(f"lost-{logits_BK.shape[1]}").touch()
                return logits_BK.mean()
        """
        lines = ("loss: {value: 'my_task.py:loss'}", "heads: {value: separate}")
        attempt(text, *lines, metric="my_task.py:score", label="[label, age]")
        assert sorted(path.name for path in Path().glob("lost-*")) == ["lost-2", "lost-3"]
        attempt(text, lines[0], "heads: {values: [joint, separate]}", label="[label, age]")
        assert sorted(path.name for path in Path().glob("lost-*")) == ["lost-2", "lost-3", "lost-5"]

    def test_a_mistake_in_a_metric_is_told_with_its_line(self, attempt: Callable[..., None]):
        text = """
            def score(probs_NK, labels_N, classes):
                return probs_NK[("a", "b").index("fish")]
        """
        with pytest.raises(
            ConfigError, match=re.escape("my_task.py:score, line 3: ValueError: tuple.index(x)")
        ):
            attempt(text, metric="my_task.py:score")

    def test_a_metric_that_is_no_number_is_refused(self, attempt: Callable[..., None]):
        with pytest.raises(
            ConfigError, match=r"^my_task\.py:score returned nan; a metric returns a finite number"
        ):
            attempt("def score(*_): return float('nan')", metric="my_task.py:score")

    def test_a_loss_of_each_image_is_refused(self, attempt: Callable[..., None]):
        text = "def loss(logits_BK, targets_BK): return logits_BK.mean(dim=1)"
        with pytest.raises(
            ConfigError,
            match=r"^my_task\.py:loss returned Tensor of shape \(64,\); a loss returns a",
        ):
            attempt(text, "loss: {value: 'my_task.py:loss'}")

    def test_without_own_functions_nothing_is_read_or_called(self, attempt: Callable[..., None]):
        Path("train.csv").unlink()
        attempt("raise RuntimeError")


def test_a_backbone_without_blocks_to_skip_is_named_before_any_trial(problems: Problems):
    names = "{values: [test_resnet, vgg11]}"
    assert problems({"backbone": names, "drop_path": "{min: 0.05, max: 0.3}"}) == [
        "line 5  parameters: backbone vgg11 does not take drop_path: it has no blocks that can be "
        "skipped. Leave drop_path out, or give it a `when` with other backbones"
    ]
    when = "{min: 0.05, max: 0.3, when: {backbone: test_resnet}}"
    assert problems({"backbone": names, "drop_path": when}) == []
