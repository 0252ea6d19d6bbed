"""`sweeps check` of files that were written for W&B and another program."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps.space.schema import HEADER
from tests.sweeps.cli.conftest import Ended
from trainer.config import TrainConfig

pytestmark = pytest.mark.usefixtures("two_cores")

Sweeps = Callable[..., Ended]
Space = Callable[..., Path]
PROGRAM = "train.py is not called: foldsweep trains timm models itself (docs/from-wandb.md)"
FIX = "`sweeps check theirs.yaml --fix > space.yaml` writes it in our words (docs/from-wandb.md)"
THEIRS = """\
# pets, spring
program: train.py
method: random
name: Pets (first try)
metric: {name: val_acc, goal: maximize}
parameters:
  learning_rate: {min: 0.0001, max: 0.1, distribution: log_uniform_values}
  model: {values: [test_efficientnet, test_resnet]}
  pretrained: {value: false}
  opt: {values: [Adam, AdamW, AdamW]}
  img_size: {values: [[16, 24], 16]}   # height, width
  bs: {value: 10}
  num_epochs: {value: 1}
  hidden_size: {values: [128, 256]}
"""


class TestProblems:
    """One list, in the file's order, with the right names."""

    def test_language_names_and_data_come_in_one_list_by_line(self, sweeps: Sweeps):
        Path("theirs.yaml").write_text(
            """\
program: train.py
metric: {name: val_acc}
data: {source: nowhere.csv}
run_cap: 0
resources: {gpus: 1}
parameters:
  learning_rate: {min: 0.1, max: 0.01}
  backbone: {values: [test_resnet, resnet_5000]}
  drop_path_rate: {value: 0.1}
  optimizer: {values: [adamx]}
"""
        )
        ended = sweeps("check", "theirs.yaml")
        assert (ended.code, ended.out) == (2, "")
        lines = ended.err.splitlines()
        assert lines[:2] == ["error: theirs.yaml: 10 problems", PROGRAM]
        assert lines[-1] == FIX
        assert [line.partition(": ")[0] for line in lines[2:-1]] == [
            "  line 2  metric.goal",
            "  line 2  metric.name",
            "  line 3  data.source",
            "  line 4  run_cap",
            "  line 5  resources.gpus",
            "  line 7  parameters.learning_rate",
            "  line 7  parameters.learning_rate",
            "  line 8  parameters.backbone.values.1",
            "  line 9  parameters.drop_path_rate",
            "  line 10  parameters.optimizer.values.0",
        ]
        assert not Path("runs").exists()
        for command in (["run", "theirs.yaml", "--local"], ["prepare", "theirs.yaml"]):
            assert sweeps(*command) == ended

    def test_networks_and_data_come_in_one_list(self, sweeps: Sweeps, space: Space):
        path = space(
            ("test_efficientnet", "test_vit"),
            ("resize: {value: 16}", "resize: {value: 280x210}"),
            ("photos/train.csv", "photos/train.csv, label: kind"),
        )
        lines = sweeps("check", path).err.splitlines()
        assert lines[0] == "error: tiny.yaml: 2 problems"
        assert lines[1].startswith("  line 6  data.label: ")
        assert lines[2].startswith("  line 9  parameters: backbone test_vit does not take resize")

    def test_a_network_is_not_judged_while_a_parameter_is_wrong(self, sweeps: Sweeps, space: Space):
        """A size that cannot be read is no reason to blame the default size."""
        path = space(("test_efficientnet", "test_vit"), ("{value: 16}", "{value: 16x}"))
        (problem,) = sweeps("check", path).err.splitlines()[1:]
        assert problem.startswith("  line 12  parameters.resize.value: a size is")

    def test_a_lonely_problem_of_the_data_is_told_as_it_is(self, sweeps: Sweeps, space: Space):
        ended = sweeps("check", space(("photos/train.csv", "nowhere.csv")))
        assert ended.err.startswith("error: nowhere.csv: no such file or folder.")

    def test_common_names_have_their_right_ones(self, sweeps: Sweeps, space: Space):
        path = space(
            ("  backbone: {value: test_efficientnet}\n", "  model_name: {value: test_resnet}\n"),
            ("  batch_size:", "  bs:"),
            ("  epochs:", "  num_epochs:"),
            ("  optimizer:", "  opt:"),
            ("  lr:", "  ema_decay: {value: 0.9}\n  learning_rate:"),
        )
        assert sweeps("check", path).err.splitlines()[1:-1] == [
            "  line 10  parameters.model_name: unknown parameter. It is called backbone here",
            "  line 13  parameters.bs: unknown parameter. It is called batch_size here",
            "  line 14  parameters.num_epochs: unknown parameter. It is called epochs here",
            "  line 15  parameters.opt: unknown parameter. It is called optimizer here",
            "  line 18  parameters.ema_decay: unknown parameter. It is called ema here",
            "  line 19  parameters.learning_rate: unknown parameter. It is called lr here",
        ]

    def test_what_is_wrong_once_a_parameter_is_renamed_is_told_at_once(
        self, sweeps: Sweeps, space: Space
    ):
        path = space(
            ("lr: {min: 0.001, max: 0.02}", "learning_rate: {min: 0, max: 0.1}"),
            ("optimizer: {values: [sgd, adamw]}", "opt: {values: [SGD, 3]}"),
            ("epochs: {value: 1}", "trainer: {parameters: {max_epochs: {value: 0.5}}}"),
        )
        lines = [line.partition(": ") for line in sweeps("check", path).err.splitlines()[1:-1]]
        assert [(where.strip(), what) for where, _, what in lines] == [
            (
                "line 14  parameters.trainer.parameters.max_epochs",
                "unknown parameter. It is called epochs here",
            ),
            (
                "line 14  parameters.trainer.parameters.max_epochs.value",
                "input should be a valid integer, got 0.5",
            ),
            ("line 15  parameters.opt", "unknown parameter. It is called optimizer here"),
            ("line 15  parameters.opt.values.1", "input should be a valid string, got 3"),
            ("line 18  parameters.learning_rate", "unknown parameter. It is called lr here"),
            (
                "line 18  parameters.learning_rate.min",
                "input should be greater than 0, got 0",
            ),
        ]

    def test_names_that_timm_lacks_are_told_at_once_too(self, sweeps: Sweeps, space: Space):
        path = space(
            (
                "  backbone: {value: test_efficientnet}\n",
                "  model: {values: [Test_ResNet, bert]}\n",
            ),
            ("  optimizer: {values: [sgd, adamw]}\n", "  opt: {value: Ranger}\n"),
        )
        assert sweeps("check", path).err.splitlines()[1:-1] == [
            "  line 10  parameters.model: unknown parameter. It is called backbone here",
            "  line 10  parameters.model.values.1: timm has no backbone 'bert'",
            "  line 15  parameters.opt: unknown parameter. It is called optimizer here",
            "  line 15  parameters.opt.value: timm has no optimizer 'ranger'",
        ]

    def test_all_names_are_listed_once_if_at_all(self, sweeps: Sweeps, space: Space):
        path = space(("  lr:", "  zzz: {value: 1}\n  yyy: {value: 1}\n  lr:"))
        error = sweeps("check", path).err
        names = sorted(TrainConfig.model_fields.keys() - {"seed", "metric", "metric_goal"})
        assert error == (
            "error: tiny.yaml: 2 problems\n"
            "  line 18  parameters.zzz: unknown parameter, and none of ours is like it\n"
            "  line 19  parameters.yyy: unknown parameter, and none of ours is like it\n"
            f"parameters are {', '.join(names)}\n"
        )

    @pytest.mark.parametrize(
        ("given", "told"),
        [
            ("program: src/train.py", "src/train.py is not called: "),
            ("command: [python3, main.py, '${args}']", "main.py is not called: "),
            ("command: ['${env}', run]", "the command is not called: "),
        ],
    )
    def test_the_program_is_told_first(self, sweeps: Sweeps, space: Space, given: str, told: str):
        path = space(("run_cap: 2", f"run_cap: 2\n{given}"), ("[sgd, adamw]", "[SGD]"))
        notes = [line for line in sweeps("check", path).err.splitlines() if "note: " in line]
        assert notes[0].startswith(f"note: {told}")
        path = space(("run_cap: 2", f"run_cap: 0\n{given}"))
        assert sweeps("check", path).err.splitlines()[1].startswith(told)

    def test_arguments_that_the_command_fixes_are_told(self, sweeps: Sweeps, space: Space):
        given = "command: [python, '${program}', --epochs=20, --lr, 0.1, --amp, '${args}']"
        note = sweeps("check", space(("run_cap: 2", f"run_cap: 2\nprogram: a.py\n{given}"))).err
        assert "; so its arguments have no effect: epochs 20, lr 0.1, amp\n" in note


class TestReadAsMeant:
    """Spellings that are accepted, with a note."""

    def test_sizes_as_lists_and_upper_case(self, sweeps: Sweeps, space: Space):
        path = space(
            ("{value: 16}", "{values: [[16, 24], [32, 16]]}"),
            ("test_efficientnet", "timm/Test_EfficientNet"),
            ("[sgd, adamw]", "[SGD, AdamW, SGD]"),
        )
        ended = sweeps("check", path)
        assert ended.code == 0
        assert "  sampled resize         16x24, 32x16\n" in ended.out
        assert "  fixed   backbone       test_efficientnet\n" in ended.out
        assert "  sampled optimizer      sgd, adamw\n" in ended.out
        assert "decoded    16x24-stretch: 0.1 MB on disk, once\n" in ended.out
        assert [line for line in ended.err.splitlines() if line.startswith("note: ")] == [
            "note: backbone: timm/Test_EfficientNet is read as test_efficientnet",
            "note: resize: [16, 24], [32, 16] are read as 16x24, 32x16 (height x width)",
            "note: optimizer: SGD, AdamW are read as sgd, adamw",
            "note: optimizer: 'SGD' is listed twice, and is read once",
        ]

    def test_a_problem_beside_another_spelling_has_its_line(self, sweeps: Sweeps, space: Space):
        path = space(
            (
                "{value: test_efficientnet}",
                "\n    values:\n      - Test_ResNet\n      - resnet5000",
            ),
        )
        problem = sweeps("check", path).err.splitlines()[-1]
        assert problem.startswith("  line 13  parameters.backbone.values.1: timm has no model")

    def test_weights_at_home(
        self, sweeps: Sweeps, space: Space, monkeypatch: pytest.MonkeyPatch, home: Path
    ):
        monkeypatch.setenv("HOME", str(home))
        path = space(("weights: {value: none}", "weights: {value: ~/nowhere.safetensors}"))
        assert f"{home}/nowhere.safetensors" in sweeps("check", path).err

    @pytest.mark.parametrize(
        ("caption", "name"),
        [("Chest X-ray (first try)", "chest-x-ray-first-try"), ("마스크", "마스크")],
    )
    def test_a_caption_names_the_folder(
        self, sweeps: Sweeps, space: Space, caption: str, name: str
    ):
        ended = sweeps("check", space(("name: tiny", f"name: {caption}")))
        assert ended.code == 0
        assert ended.out.startswith(f"sweep      {name}: ")
        assert Path("runs", name, "check", "check.html").is_file()
        assert (f"the sweep and its folder are called {name}" in ended.err) == (caption != name)

    def test_a_sweep_is_found_by_its_caption(self, sweeps: Sweeps, space: Space):
        path = space(("name: tiny", "name: '마스크 실험 #1'"), ("run_cap: 2", "run_cap: 1"))
        assert sweeps("run", path, "--local").code == 0
        for asked in ("마스크 실험 #1", "마스크-실험-1", path):
            found = json.loads(sweeps("best", asked, "--json").out)
            assert found["sweep"] == "마스크-실험-1"
        assert sweeps("report", "마스크-실험-1").code == 0
        assert "마스크 실험 #1" in Path("runs/마스크-실험-1/report.html").read_text()
        again = sweeps("run", path, "--local")
        assert "all trials are done already" in again.err


class TestFix:
    """`--fix` writes a file that `check` accepts once it knows the data."""

    def test_a_fixed_file_passes_the_check_after_naming_the_data(
        self, sweeps: Sweeps, space: Space
    ):
        space()  # for its photos
        Path("theirs.yaml").write_text(THEIRS)
        assert sweeps("check", "theirs.yaml").code == 2
        fixed = sweeps("check", "theirs.yaml", "--fix")
        assert fixed.code == 0
        assert fixed.out.startswith(f"{HEADER}\n# pets, spring\nprogram: train.py\n")
        assert fixed.err.splitlines()[-6:] == [
            "changed    hidden_size: is now a comment: there is none, "
            "the backbone is built as timm has it",
            "changed    metric.name: was val_acc, is now valid/accuracy",
            "changed    data: added",
            "changed    run_cap: added",
            "left       data.source: write the path of your images",
            "editors    sweeps schema --out .foldsweep.schema.json   beside the new file",
        ]
        assert not Path("runs").exists()
        Path("space.yaml").write_text(fixed.out)
        assert "PATH-OF-YOUR-DATA: no such file" in sweeps("check", "space.yaml").err
        checked = sweeps("check", "space.yaml", "--set", "data.source=photos/train.csv")
        assert checked.code == 0
        assert checked.out.startswith("sweep      pets-first-try: maximize valid/accuracy")
        again = sweeps("check", "space.yaml", "--fix")
        assert again.out == fixed.out
        assert again.err == (
            "left       data.source: write the path of your images\n"
            "editors    sweeps schema --out .foldsweep.schema.json   beside the new file\n"
        )

    def test_a_file_as_they_are_found_passes_the_check_after_naming_the_data(
        self, sweeps: Sweeps, space: Space
    ):
        space()  # for its photos
        Path("theirs.yaml").write_text(
            """\
program: main.py
run_mode: train
count: 4
early_terminate: {type: hyperband, min_iter: 2, max_iter: 9}
metric: {name: phase2/val_acc, goal: maximize}
parameters:
  net.version: {values: [my_cnn, hf-hub:timm/test_resnet]}
  train.init_learning_rate: {value: 1e-2}
  opt: {values: [NesterovSGD, my_own]}
  lr_scheduler: {value: cosine_with_warmup}
  pretrained: {value: 0}
  image_size: {value: 16}
  batch_size: {value: 10}
  weight_0: {value: 1.5}
  head_lr: {value: 0.1}"""
        )
        assert sweeps("check", "theirs.yaml", "--space-only").code == 2  # run_cap, not count
        fixed = sweeps("check", "theirs.yaml", "--fix")
        assert fixed.code == 0
        assert fixed.out.endswith(
            """\
parameters:
  backbone: {values: [test_resnet]}
  lr: {value: 1e-2}
  optimizer: {values: [nesterov]}
  scheduler: {value: cosine}
  weights: {value: none}
  resize: {value: 16}
  batch_size: {value: 10}
  # weight_0: unknown parameter, and none of ours is like it
  # weight_0: {value: 1.5}
  # head_lr: it is head_lr_factor, a multiple of lr
  # head_lr: {value: 0.1}
"""
        )
        assert "written anew" not in fixed.err
        assert "changed    run_mode: is now a comment: unknown key\n" in fixed.err
        Path("space.yaml").write_text(fixed.out)
        checked = sweeps("check", "space.yaml", "--set", "data.source=photos/train.csv")
        assert checked.code == 0, checked.err
        assert "\nend        4 trials, " in checked.out

    @pytest.mark.parametrize("option", ["--json", "--space-only", "--set=run_cap=3"])
    def test_it_stands_alone(self, sweeps: Sweeps, space: Space, option: str):
        expected = "error: --fix goes without --set, --name, --space-only and --json\n"
        assert sweeps("check", space(), "--fix", option) == Ended(2, "", expected)

    def test_it_is_one_of_the_installed_command(self, process: Callable[..., Ended]):
        Path("theirs.yaml").write_text(THEIRS)
        ended = process("check", "theirs.yaml", "--fix")
        assert ended.code == 0
        assert "  backbone: {values: [test_efficientnet, test_resnet]}\n" in ended.out
