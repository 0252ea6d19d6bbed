"""A file of W&B in our words: what is rewritten, what stays, and what is told."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps.errors import InputError, SpecError
from sweeps.space.fixing import PLACEHOLDER, Fixed, fix
from sweeps.space.schema import HEADER
from sweeps.space.spec_reader import read_spec

ROOT = Path(__file__).parents[3]
MISSING = """\
metric: {name: valid/f1, goal: maximize}  # of the held-out images
data:
  source: PATH-OF-YOUR-DATA  # a CSV or Parquet file with the columns path and label,
                             # or a folder with one sub-folder per class
run_cap: 20  # the number of trials; or budget: {hours: 8}
"""
BACKBONE = "  backbone: {value: resnet18}  # the default; the file names no model of timm\n"
TUTORIAL = """\
# what I tried in spring
program: train.py
method: random
metric:
  goal: minimize   # as lightning logs it
  name: val_loss
parameters:
  # architecture
  model:
    values: ["resnet18", "ResNet50", mobilenet_v2]  # torchvision names
  pretrained:
    values: [true, false]

  learning_rate:
    # a flat distribution between 0 and 0.1
    distribution: uniform
    min: 0
    max: 1e-1
  batch_size: {distribution: q_log_uniform_values, q: 8, min: 32, max: 256}
  img_size:
    values:
      - 128
      - [224, 160]
  fc_layer_size:
    values: [128, 256]
  # how long
  epochs:
    value: 10
  # the end of it
command: [python, "${program}", --data=./data, "${args}"]
"""
TUTORIAL_FIXED = """\
# yaml-language-server: $schema=.foldsweep.schema.json
# what I tried in spring
program: train.py
method: random
metric:
  goal: minimize   # as lightning logs it
  name: valid/log_loss
data:
  source: PATH-OF-YOUR-DATA  # a CSV or Parquet file with the columns path and label,
                             # or a folder with one sub-folder per class
run_cap: 20  # the number of trials; or budget: {hours: 8}
parameters:
  # architecture
  backbone:
    values: ["resnet18", resnet50, mobilenetv2_100]  # torchvision names
  weights:
    values: [pretrained, none]

  lr:
    # a flat distribution between 0 and 0.1
    distribution: uniform
    min: 0.0001
    max: 1e-1
  batch_size: {distribution: q_log_uniform_values, q: 8, min: 32, max: 256}
  resize:
    values:
      - 128
      - "224x160"
  # fc_layer_size: there is none, the backbone is built as timm has it
  # fc_layer_size:
  #   values: [128, 256]
  # how long
  epochs:
    value: 10
  # the end of it
command: [python, "${program}", --data=./data, "${args}"]
"""


@pytest.fixture
def fixed(tmp_path: Path) -> Callable[[str], Fixed]:
    """Write a file and fix it."""

    def write(text: str) -> Fixed:
        (tmp_path / "theirs.yaml").write_text(text)
        return fix(tmp_path / "theirs.yaml")

    return write


def parameters_of(found: Fixed) -> str:
    """The section `parameters`, which is the last one, without the backbone that was added."""
    return found.text.partition("\nparameters:")[2].removeprefix("\n").removesuffix(BACKBONE)


def test_names_values_and_what_is_missing_are_rewritten_and_all_else_stays(
    fixed: Callable[[str], Fixed], tmp_path: Path
):
    found = fixed(TUTORIAL)
    assert found.text == TUTORIAL_FIXED
    assert found.left == ()
    assert found.needs_data
    assert found.changes == (
        'model: "ResNet50" is now resnet50',
        "model: mobilenet_v2 is now mobilenetv2_100",
        "pretrained: true is now pretrained",
        "pretrained: false is now none",
        "learning_rate.min: was 0, is now 0.0001",
        "img_size: [224, 160] is now 224x160",
        "model: is now called backbone",
        "pretrained: is now called weights",
        "learning_rate: is now called lr",
        "img_size: is now called resize",
        "fc_layer_size: is now a comment: there is none, the backbone is built as timm has it",
        "metric.name: was val_loss, is now valid/log_loss",
        "data: added",
        "run_cap: added",
    )
    (tmp_path / "space.yaml").write_text(found.text)
    spec = read_spec(tmp_path / "space.yaml", settings=["data.source=train.csv"])
    assert spec.space.values_of("resize") == (128, "224x160")


def test_nested_parameters_come_to_the_top_in_their_place(fixed: Callable[[str], Fixed]):
    found = fixed(
        f"""\
{MISSING}method: bayes
parameters:
    trainer:  # of lightning
        parameters:
            # how long
            max_epochs: {{value: 20}}
            precision: {{value: 16}}   # half
    # which network
    model:
        parameters:
            name:
                values: [timm/convnext_tiny, vit_b_16]
            # between
            num_heads: {{min: 4, max: 8}}
    optimizer: {{parameters: {{name: {{values: [AdamW, Lion]}}, lr: {{min: 1e-5, max: 1e-2}}}}}}
    loss_mix:
        parameters:
            focal: {{min: 0.0, max: 1.0}}
"""
    )
    assert parameters_of(found) == (
        """\
  # of lightning
  # how long
  epochs: {value: 20}
  # trainer.precision: there is none, networks run in bfloat16 on a GPU, else in float32
  # precision: {value: 16}   # half
  # which network
  backbone:
      values: [convnext_tiny, vit_base_patch16_224]
  # between
  # model.num_heads: there is none, the backbone is built as timm has it
  # num_heads: {min: 4, max: 8}
  optimizer: {values: [adamw, lion]}
  lr: {min: 1e-5, max: 1e-2}
  loss_mix:
      parameters:
          focal: {min: 0.0, max: 1.0}
"""
    )
    assert found.left == ()


@pytest.mark.parametrize(
    ("entries", "rewritten"),
    [
        # the first of two names for one parameter is kept, and our own before any
        (
            "  arch: {value: resnet18}\n  model: {value: resnet34}\n",
            "  backbone: {value: resnet18}\n"
            "  # model: backbone is given already, by arch\n  # model: {value: resnet34}\n",
        ),
        (
            "  learning_rate: {value: 0.1}\n  lr: {value: 0.2}\n",
            "  # learning_rate: lr is given already\n  # learning_rate: {value: 0.1}\n"
            "  lr: {value: 0.2}\n",
        ),
        ("  backbon: {value: resnet18}\n", "  backbone: {value: resnet18}\n"),
        (
            "  gamma: {value: 0.5}\n",
            "  # gamma: did you mean 'step_gamma', 'epoch_gamma' or 'focal_gamma'?\n"
            "  # gamma: {value: 0.5}\n",
        ),
        (
            '  "weird name": {values: [a,\n    b]}  # why\n  lr: {value: 0.1}\n',
            "  # weird name: unknown parameter, and none of ours is like it\n"
            '  # "weird name": {values: [a,\n  #   b]}  # why\n  lr: {value: 0.1}\n',
        ),
        # whole numbers
        (
            "  epochs: {distribution: uniform, min: 5.0, max: 20}\n",
            "  epochs: {distribution: int_uniform, min: 5, max: 20}\n",
        ),
        (
            "  bs: {distribution: log_uniform_values, min: 8, max: 64}\n",
            "  batch_size: {distribution: q_log_uniform_values, min: 8, max: 64}\n",
        ),
        ("  epochs: {min: 0, max: 20}\n", "  epochs: {min: 1, max: 20}\n"),
        (
            "  epochs: {min: 5.5, max: 9.5}\n",
            "  # epochs: takes whole numbers only: give min and max as whole numbers, or values\n"
            "  # epochs: {min: 5.5, max: 9.5}\n",
        ),
        # values that a field or timm does not know are left out, and a parameter without any other
        (
            "  loss: {values: [ce, bce, focal]}\n",
            "  loss: {values: [cross_entropy, focal]}\n",
        ),
        (
            "  model:\n    values:\n      - resnet18  # small\n      - ShuffleNetV2\n",
            "  backbone:\n    values:\n      - resnet18  # small\n      # - ShuffleNetV2\n",
        ),
        (
            "  arch: {values: [Unet, my_task.py:net]}\n",
            "  backbone: {values: [my_task.py:net]}\n",
        ),
        (
            "  arch: {value: Unet}\n",
            "  # arch: timm has no backbone 'Unet'\n  # arch: {value: Unet}\n",
        ),
        (
            "  bs: {values: [[8, 16]]}\n",
            "  # bs: input should be a valid integer, got [8, 16]\n  # bs: {values: [[8, 16]]}\n",
        ),
        # what becomes a comment stays as it was written
        (
            "  model: {values: [CNNBaseline, bert-base-cased]}\n",
            "  # model: timm has no backbone 'CNNBaseline'\n"
            "  # model: {values: [CNNBaseline, bert-base-cased]}\n",
        ),
        # of a family of networks the usual member
        (
            "  model: {values: [vit, ResNet-34, my_cnn]}\n",
            "  backbone: {values: [vit_base_patch16_224, resnet34]}\n",
        ),
        # a name that we do not know, whose values are models of timm
        (
            "  dino:\n    parameters:\n      which: {value: hf-hub:timm/test_vit}\n",
            "  backbone: {value: test_vit}\n",
        ),
        (
            "  lr_scheduler:\n    values:\n      - cosine_warmup\n      - step\n",
            "  scheduler:\n    values:\n      - cosine\n      - step\n",
        ),
        (
            "  pretrained: {values: [0, 1]}\n  normalize: {value: true}\n",
            "  weights: {values: [none, pretrained]}\n  normalise: {value: backbone}\n",
        ),
        (
            "  weight_0: {value: 1.5}\n",
            "  # weight_0: unknown parameter, and none of ours is like it\n"
            "  # weight_0: {value: 1.5}\n",
        ),
        # parameters without a mapping
        (
            "  optimizer: [Adam, sgd]\n  epochs: 3\n  wd: [1e-4]\n",
            "  optimizer: {values: [adam, sgd]}\n  epochs: {value: 3}\n"
            "  weight_decay: {values: [1e-4]}\n",
        ),
        (
            "  optimizer:\n    - Adam  # a\n    - sgd\n  # b\n  epochs: 3\n",
            "  optimizer:\n    values:\n    - adam  # a\n    - sgd\n  # b\n  epochs: {value: 3}\n",
        ),
        (
            "  optimizer:  # which\n  - Adam\n  - sgd\n  bs: 8\n",
            "  optimizer:  # which\n    values:\n    - adam\n    - sgd\n  batch_size: {value: 8}\n",
        ),
        (
            "  scheduler:\n    values:\n    -\n    - cosine\n",
            "  scheduler:\n    values:\n    - none\n    - cosine\n",
        ),
        (
            "  img_size:\n    values:\n    - - 128\n      - 96\n    - 64\n  # end\n",
            '  resize:\n    values:\n    - "128x96"\n    - 64\n  # end\n',
        ),
        # switches
        (
            "  hflip: {values: [true, false]}\n  use_mixup: {value: true}\n"
            "  drop_rate: {values: [None, 0, 0.5]}\n",
            "  flip: {values: [0.5, 0.0]}\n  mixup: {value: 0.5}\n"
            "  dropout: {values: [0.0, 0, 0.5]}\n",
        ),
        # smoothing has an effect only with its loss
        (
            "  label_smoothing: {values: [0.0, 0.1]}\n",
            "  smoothing: {values: [0.0, 0.1]}\n  loss: {value: label_smoothing}\n",
        ),
        (
            "  label_smoothing: {value: 0.1}\n  criterion: {value: CE}\n",
            "  smoothing: {value: 0.1}\n  loss: {value: label_smoothing}\n",
        ),
        # a value of several lines in a list
        (
            "  opt:\n    values:\n    - Adam\n    - SGD\n",
            "  optimizer:\n    values:\n    - adam\n    - sgd\n",
        ),
        ("  wd: {min: 0, max: 0.1}\n", "  weight_decay: {min: 0, max: 0.1}\n"),
        ("  drop_rate: {min: 0.0, max: 1.0}\n", "  dropout: {min: 0.0, max: 0.99}\n"),
    ],
)
def test_a_parameter_is_rewritten(fixed: Callable[[str], Fixed], entries: str, rewritten: str):
    assert parameters_of(fixed(f"{MISSING}parameters:\n{entries}")) == rewritten


@pytest.mark.parametrize(
    ("written", "section"),
    [
        ("metric: {name: val_acc}", "metric: {name: valid/accuracy, goal: maximize}"),
        ("metric: {name: acc, goal: minimize}", "metric: {name: valid/accuracy, goal: maximize}"),
        ("metric:\n  name: val/f1 # x", "metric:\n  name: valid/f1\n  goal: maximize # x"),
        ("metric: {goal: maximize, name: val_auc}", "metric: {goal: maximize, name: valid/f1}"),
        ("metric: {goal: maximize, name: my.py:auc}", "metric: {goal: maximize, name: my.py:auc}"),
        ("metric:  # what?", "# what?"),
        ("metric:", MISSING.splitlines()[0]),
        ("metric: val_acc", "metric: {name: valid/accuracy, goal: maximize}"),
    ],
)
def test_the_metric_is_rewritten(fixed: Callable[[str], Fixed], written: str, section: str):
    text = f"{written}\ndata: {{source: x}}\nrun_cap: 3\nparameters: {{lr: {{value: 0.1}}}}\n"
    found = fixed(text)
    assert section in found.text
    assert found.left == ()


def test_a_metric_that_we_do_not_have_is_told(fixed: Callable[[str], Fixed]):
    found = fixed("metric: {name: val_auc}\nparameters: {lr: {value: 0.1}}\n")
    assert found.changes[1] == (
        "metric.name: was val_auc, is now valid/f1: we have no such metric, "
        "or name your own function"
    )


def test_a_seed_and_the_folds_come_to_the_top(fixed: Callable[[str], Fixed]):
    found = fixed(
        "method: random\nparameters:\n  seed: {value: 42}\n  fold: {values: [0, 1, 2]}\n"
        "  lr: {value: 0.1}\n"
    )
    assert found.text == (
        f"{HEADER}\nmethod: random\n{MISSING}seed: 42\nfolds: {{k: 3}}\nparameters:\n"
        "  # seed: it is the top-level key seed\n  # seed: {value: 42}\n"
        "  # fold: each trial trains all folds; the top-level key folds says how many\n"
        f"  # fold: {{values: [0, 1, 2]}}\n  lr: {{value: 0.1}}\n{BACKBONE}"
    )
    assert found.left == ()


@pytest.mark.parametrize("end", ["method: grid", "run_cap: 3", "budget: {hours: 1}"])
def test_a_sweep_that_ends_gets_no_run_cap(fixed: Callable[[str], Fixed], end: str):
    found = fixed(f"{end}\nparameters: {{lr: {{values: [0.1]}}}}\n")
    assert "run_cap: 20" not in found.text
    assert found.left == ()


def test_parameters_in_braces_are_written_in_lines(fixed: Callable[[str], Fixed]):
    found = fixed(f"{MISSING}parameters: {{bs: {{value: 8}}, zzz: {{value: 1}}}}  # all\n")
    assert found.text == (
        f"{HEADER}\n{MISSING}parameters:  # all\n  batch_size: {{value: 8}}\n"
        "  # zzz: unknown parameter, and none of ours is like it\n  # zzz: {value: 1}\n"
        f"{BACKBONE}"
    )


@pytest.mark.parametrize(
    "text",
    [
        '{"method": "random", "parameters": {"opt": {"values": ["Adam"]}}}\n',
        "method: random\nparameters:\n  opt: &a {values: [Adam]}\n  optimizer_name: *a\n",
    ],
)
def test_a_file_in_braces_or_with_anchors_is_written_anew(fixed: Callable[[str], Fixed], text: str):
    found = fixed(text)
    assert found.text.startswith(f"{HEADER}\nmethod: random\n{MISSING}parameters:\n  optimizer:\n")
    assert "values:\n    - adam\n" in found.text
    assert found.changes[0] == (
        "the file is written anew, without comments: it had anchors or braces"
    )
    assert found.left == ()


def test_a_file_without_an_end_of_its_last_line_is_not_written_anew(
    fixed: Callable[[str], Fixed],
):
    found = fixed(f"{MISSING}parameters:\n  arch: {{value: resnet18}}  # why")
    assert found.text.endswith("  backbone: {value: resnet18}  # why\n")
    assert found.changes == ("arch: is now called backbone",)


@pytest.mark.parametrize(
    "entries", ["  wd: {value: 0.1}\n\n", "  zzz: {value: 1}\n\n", "  model: {value: Unet}\n\n"]
)
def test_the_network_that_would_be_trained_is_written_if_the_file_names_none(
    fixed: Callable[[str], Fixed], entries: str
):
    found = fixed(f"method: random\nparameters:\n{entries}command: [python]\n")
    assert f"\n{BACKBONE}\ncommand: [python]\n" in found.text
    assert (
        "backbone: added, the default resnet18, because the file names no model of timm"
        in found.changes
    )
    assert found.left == ()


def test_arguments_of_the_command_become_parameters(fixed: Callable[[str], Fixed]):
    """So scripts of timm are often swept: the command fixes what does not vary."""
    found = fixed(
        f"""\
command:
  - python
  - ${{program}}
  - --data-dir
  - .\\CIFAR
  - --model=efficientnet_b0
  - --batch-size
  - 128
  - --input-size
  - 3
  - --loss
  - "a: [b"
  - --opt
  - adamw
  - --lr
  - 1e-3
  - --amp
  - --pretrained
  - ${{args}}
{MISSING}parameters:
  seed: {{values: [1, 2]}}
  lr: {{values: [0.1, 0.2]}}
"""
    )
    assert parameters_of(found) == (
        """\
  # seed: every seed derives from the sweep's own seed (the top-level key seed)
  # seed: {values: [1, 2]}
  lr: {values: [0.1, 0.2]}
  backbone: {value: efficientnet_b0}
  batch_size: {value: 128}
  optimizer: {value: adamw}
  weights: {value: pretrained}
"""
    )
    assert found.changes[:4] == (
        "model: added, from the command",
        "batch-size: added, from the command",
        "opt: added, from the command",
        "pretrained: added, from the command",
    )
    assert found.left == ()


def test_what_cannot_be_rewritten_is_left_with_its_line(fixed: Callable[[str], Fixed]):
    found = fixed(f"method: grid\n{MISSING}parameters:\n  lr: {{min: 0.1, max: 1}}\n  wd:\n")
    assert found.left == (
        "line 9  parameters.lr: a grid needs values or a step (q_uniform with q), "
        "not a continuous range",
        "line 10  parameters.weight_decay: expected a mapping, got null. "
        "A constant is written {value: null}",
    )


def test_a_file_without_parameters_is_left(fixed: Callable[[str], Fixed]):
    found = fixed("program: train.py\n")
    assert found.text == f"{HEADER}\nprogram: train.py\n{MISSING}"
    assert found.left == (
        "parameters: expected a mapping of parameter names, e.g. lr: {min: 0.001, max: 0.1}",
    )


@pytest.mark.parametrize(
    "path", sorted((ROOT / "search_spaces").glob("*.yaml")), ids=lambda path: path.stem
)
def test_a_search_space_of_ours_stays_as_it_is(path: Path):
    assert fix(path) == Fixed(path.read_text(), (), (), needs_data=False)


def test_the_schema_of_another_program_makes_room_for_ours(fixed: Callable[[str], Fixed]):
    theirs = "# yaml-language-server: $schema=https://json.schemastore.org/wandb.json\n"
    found = fixed(f"# mine\n{theirs}program: train.py\n")
    assert found.text == f"{HEADER}\n# mine\nprogram: train.py\n{MISSING}"


def test_a_fixed_file_stays_as_it_is(fixed: Callable[[str], Fixed]):
    assert fixed(TUTORIAL_FIXED) == Fixed(TUTORIAL_FIXED, (), (), needs_data=True)
    assert PLACEHOLDER in TUTORIAL_FIXED


@pytest.mark.parametrize(("text", "error"), [("[1]\n", "expected a mapping"), ("a: [\n", "YAML")])
def test_what_is_no_search_space_is_refused(fixed: Callable[[str], Fixed], text: str, error: str):
    with pytest.raises(SpecError, match=error):
        fixed(text)


def test_a_file_that_the_shell_emptied_is_refused(fixed: Callable[[str], Fixed]):
    with pytest.raises(InputError, match=r"the file is empty\. A shell empties a file before"):
        fixed("")


def test_an_absent_file_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="no such file"):
        fix(tmp_path / "absent.yaml")
