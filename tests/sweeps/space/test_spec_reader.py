"""What is read of a search space, --set included; every problem of a file at once."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps.errors import InputError, SpecError
from sweeps.space.spec import SweepSpec
from sweeps.space.spec_reader import read_spec
from sweeps.space.stopping import Race
from tests.sweeps.space.space_texts import RIGHT

WRONG = """\
name: ".."
methd: bayes
program: train.py
metric: {name: valid/f1}
data: {source: train.csv, sauce: 1, fill: red, label: [3]}
folds: {k: 1, hold_out: 0.1}
early_terminate: {type: hyperbnd}
parameters:
  backbon: {value: resnet18}
  seed: {value: 3}
  lr: {distribution: log_uniform_values, min: 0, max: 0.1}
  weight_decay: {min: 0.5, max: 0.1}
  momentum: {min: 0.8, max: 0.99, q: 0.01}
  optimizer: {values: [adamw, madgrad]}
  scheduler: {value: cosin}
  loss:
    value: focl
  batch_size: {values: [32, "64"]}
  dropout: {min: 0.0, max: 0.5, when: {optimzer: sgd}}
  smoothing: {value: 0.1, when: {loss: label_smoothing}}
  focal_gamma: {values: [1.0, 2.0], when: {monitor: loss}}
  monitor: {value: loss, when: {focal_gamma: 2.0}}
"""


ALL_ITS_PROBLEMS = """\
{path}: 25 problems
train.py is not called: foldsweep trains timm models itself (docs/from-wandb.md)
  --set.run_cup: expected key=value, e.g. --set run_cap=20
  --set.=3: expected key=value, e.g. --set run_cap=20
  --set.seed=[1: not a YAML value: '[1'
  resources.cpu: expected a number of CPUs above 0, or auto, got 0 (from --set)
  no end: give run_cap (a number of trials) or budget: {{hours: ...}} or {{gpu_hours: ...}}; \
only a grid needs neither
  line 1  name: '..' cannot name a folder: letters, digits, '.', '_' and '-', \
starting with a letter or digit, at most 100
  line 2  methd: unknown key. Did you mean 'method'? Allowed here: budget, data, description, \
early_terminate, folds, keep, method, metric, name, notify, parameters, resources, retries, \
run_cap, sampler, seed, start_with, stuck_after, tracking, warm_start
  line 4  metric.goal: missing. Write goal: maximize or goal: minimize (W&B's silent default would \
minimise)
  line 5  data.label: a column's name, or a list of them, got [3]
  line 5  data.fill: a colour is white, black, grey or '#rrggbb', got 'red'
  line 5  data.sauce: unknown key. Did you mean 'source'? Allowed here: age_borders, \
allow_outside, background_weights, bad_boxes, box, box_format, cache_gb, class_columns, \
corrections, encoding, exclude, face_weights, fill, folder, group, image, keep, label, layout, \
levels, max_pixels, max_rejected, near_distance, source, suffix, valid
  line 6  folds.k: input should be greater than or equal to 2, got 1
  line 6  folds.hold_out: unknown key. Did you mean 'holdout'? Allowed here: column, file, \
finish, holdout, k, paired_seeds, race, rare, seed
  line 7  early_terminate.type: unknown value 'hyperbnd'. Did you mean 'hyperband'? Known: none, \
hyperband, median, percentile, patient, threshold, wilcoxon
  line 9  parameters.backbon: unknown parameter. Did you mean 'backbone'?
  line 10  parameters.seed: cannot be a parameter: every seed derives from the sweep's own seed \
(the top-level key seed)
  line 11  parameters.lr: a log scale needs 0 < min < max, got min=0, max=0.1
  line 12  parameters.weight_decay: min must not be above max, got min=0.5, max=0.1
  line 13  parameters.momentum.q: uniform takes no 'q'. Allowed: distribution, max, min, when
  line 15  parameters.scheduler.value: unknown value 'cosin'. Did you mean 'cosine'? Known: none, \
step, multistep, exponential, cosine, one_cycle, cyclic, plateau, two_stage
  line 17  parameters.loss.value: unknown value 'focl'. Did you mean 'focal'? Known: \
cross_entropy, label_smoothing, focal, soft_f1, mixture, or a function of your own, \
my_task.py:my_loss
  line 18  parameters.batch_size.values.1: input should be a valid integer, got '64'
  line 19  parameters.dropout.when.optimzer: unknown parameter 'optimzer'. Did you mean 'optimizer'?
  line 20  parameters.smoothing.when.loss: loss never has the value 'label_smoothing', \
so this is never sampled
  line 21  parameters.focal_gamma.when: conditions in a circle: focal_gamma, monitor
`sweeps check {path} --fix > space.yaml` writes it in our words (docs/from-wandb.md)"""


# --- the whole text


def test_every_problem_of_a_file_is_listed_at_once_with_its_line(
    read: Callable[..., SweepSpec], tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match="problems") as caught:
        read(WRONG, "run_cup", "=3", "seed=[1", "resources.cpu=0")
    assert (
        str(caught.value).splitlines()
        == ALL_ITS_PROBLEMS.format(path=tmp_path / "space.yaml").splitlines()
    )


def test_a_duplicate_key_is_a_problem_with_its_line(problems: Callable[..., list[str]]) -> None:
    assert problems(RIGHT + "  lr: {value: 0.2}\n") == ['line 7  found duplicate key "lr"']


def test_an_absent_file_is_wrong_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_spec(tmp_path / "absent.yaml")


# --- what is read


def test_a_text_stands_in_for_a_file_that_need_not_exist() -> None:
    spec = read_spec(Path("mask"), text=RIGHT)
    assert (spec.path, spec.text) == (Path("mask"), RIGHT)
    assert spec.folder == Path.cwd()
    with pytest.raises(SpecError) as refused:
        read_spec(Path("mask"), text="program: train.py\nmetric: {name: val_acc}\n")
    assert str(refused.value).startswith("mask: ")
    assert "--fix" not in str(refused.value)  # there is no file to repair


def test_a_full_search_space_is_read(read: Callable[..., SweepSpec]) -> None:
    spec = read(
        RIGHT + "description: which lr?\nseed: 3\nmethod: random\nsampler: random\n"
        "folds: {k: 3, seed: 1}\nresources: {gpu: 0.5, cpu: 2}\nbudget: {hours: 6}\n"
        "early_terminate: {type: none}\n"
    )
    assert (spec.name, spec.description, spec.seed, spec.search, spec.run_cap) == (
        "toy",
        "which lr?",
        3,
        "random",
        10,
    )
    assert (spec.folds.k, spec.folds.seed) == (3, 1)
    assert (spec.resources.gpu, spec.resources.cpu, spec.budget.hours) == (0.5, 2, 6)
    assert (spec.metric.name, spec.metric.goal, spec.metric.field) == ("valid/f1", "maximize", "f1")
    assert (spec.data.source, spec.data.image, spec.data.label) == ("train.csv", "path", None)
    assert spec.early_terminate.type == "none"
    assert spec.notices == ()


def test_what_is_left_out_has_the_documented_defaults(read: Callable[..., SweepSpec]) -> None:
    spec = read()
    assert (spec.search, spec.seed, spec.folds.k, spec.folds.seed) == ("tpe", 0, 5, 42)
    assert (spec.resources.gpu, spec.resources.cpu, spec.budget.hours) == (None, 1, None)
    assert (spec.early_terminate.type, spec.folds.race_rule) == ("none", Race())
    assert (Race().error_rate, spec.folds.finish) == (0.05, 4)
    assert (spec.retries, spec.keep, spec.start_with, spec.warm_start) == (2, 20, (), ())
    assert spec.stuck_after == 10


@pytest.mark.parametrize(("written", "factor"), [("null", None), ("25", 25.0), ("1.5", 1.5)])
def test_null_turns_the_longest_silence_off_and_is_not_as_if_it_were_left_out(
    read: Callable[..., SweepSpec], written: str, factor: float | None
) -> None:
    assert read(RIGHT, f"stuck_after={written}").stuck_after == factor


def test_the_data_and_the_folds_are_read_as_they_are_written(
    read: Callable[..., SweepSpec],
) -> None:
    spec = read(
        RIGHT.replace(
            "{source: train.csv}",
            "{source: faces, layout: profile_folders, label: [mask, age], group: person, "
            "age_borders: [20, 40, 60], box: [l, t, r, b], fill: '#0a0B0c', keep: one_per_cluster, "
            "allow_outside: true, cache_gb: 2}",
        )
        + "folds: {k: 4, holdout: 0.1, file: pins.npz}\n"
    )
    assert (spec.data.layout, spec.data.label, spec.data.group) == (
        "profile_folders",
        ("mask", "age"),
        "person",
    )
    assert (spec.data.age_borders, spec.data.box) == ((20, 40, 60), ("l", "t", "r", "b"))
    assert spec.data.reading.fill_rgb == (10, 11, 12)
    assert (spec.data.keep, spec.data.allow_outside, spec.data.cache_gb) == (
        "one_per_cluster",
        True,
        2.0,
    )
    assert (spec.folds.k, spec.folds.holdout, spec.folds.file, spec.folds.column) == (
        4,
        0.1,
        "pins.npz",
        None,
    )


def test_one_label_column_may_stand_without_brackets(read: Callable[..., SweepSpec]) -> None:
    assert read(RIGHT.replace("train.csv", "train.csv, label: mask")).data.label == ("mask",)


def test_what_is_left_out_of_the_data_has_the_documented_defaults(
    read: Callable[..., SweepSpec],
) -> None:
    data = read().data
    assert (data.image, data.label, data.group, data.box, data.valid) == (
        "path",
        None,
        None,
        None,
        None,
    )
    assert (data.bad_boxes, data.keep, data.fill, data.max_rejected) == (
        "drop",
        "all",
        "white",
        0.1,
    )
    assert (data.allow_outside, data.cache_gb, data.max_pixels) == (False, None, 89_478_485)


def test_a_file_without_a_name_gives_its_own(read: Callable[..., SweepSpec]) -> None:
    assert read(RIGHT.replace("name: toy\n", "")).name == "space"


@pytest.mark.parametrize(
    "key", ["early_terminate", "method", "sampler", "folds", "budget", "start_with", "program"]
)
def test_a_key_that_is_null_is_absent(read: Callable[..., SweepSpec], key: str) -> None:
    assert read(f"{RIGHT}{key}: null\n").fixed_part() == read().fixed_part()


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (
            "metric: {name: valid/f1, goal: maximize}",
            "metric: null",
            "line 2  metric: missing. Write metric: {name: ",
        ),
        (
            "data: {source: train.csv}",
            "data: null",
            "line 4  data: missing. Write data: {source: images.csv} or ",
        ),
        ("run_cap: 10", "run_cap: null", "no end: give run_cap"),
        (
            "run_cap: 10",
            "run_cap: 10\nmetod: null",
            "line 4  metod: unknown key. Did you mean 'method'?",
        ),
    ],
)
def test_a_needed_key_that_is_null_is_missing(
    problems: Callable[..., list[str]], old: str, new: str, problem: str
) -> None:
    (found,) = problems(RIGHT.replace(old, new))
    assert found.startswith(problem)


def test_an_exponent_without_a_point_is_a_number(read: Callable[..., SweepSpec]) -> None:
    assert read(RIGHT.replace("0.1", "1e-5")).space["lr"].domain.value == 1e-5


def test_none_is_the_name_of_a_scheduler(read: Callable[..., SweepSpec]) -> None:
    assert read(RIGHT + "  scheduler: {value: none}\n").space["scheduler"].domain.value == "none"


@pytest.mark.parametrize(
    ("method", "sampler", "search"),
    [
        ("bayes", None, "tpe"),
        ("bayes", "gp", "gp"),
        ("random", None, "random"),
        ("random", "qmc", "qmc"),
        ("grid", None, "grid"),
        ("grid", "brute_force", "brute_force"),
        ("custom", None, "tpe"),
        ("custom", "nsgaii", "nsgaii"),
    ],
)
def test_the_method_chooses_the_sampler(
    read: Callable[..., SweepSpec], method: str, sampler: str | None, search: str
) -> None:
    text = RIGHT + f"method: {method}\n" + (f"sampler: {sampler}\n" if sampler else "")
    assert read(text).search == search


def test_the_shipped_search_spaces_are_valid() -> None:
    files = sorted((Path(__file__).parents[3] / "search_spaces").glob("*.yaml"))
    assert files
    for file in files:
        assert read_spec(file).name == file.stem


# --- --set


def test_a_setting_replaces_a_value_of_the_file(read: Callable[..., SweepSpec]) -> None:
    spec = read(
        RIGHT,
        "run_cap=3",
        "parameters.lr.value=1e-4",
        "resources.cpu=2",
        "parameters.loss={value: focal}",
    )
    assert (spec.run_cap, spec.resources.cpu) == (3, 2)
    assert spec.space["lr"].domain.value == 1e-4
    assert spec.space["loss"].domain.value == "focal"
    assert spec.raw["run_cap"] == 3


def test_the_last_of_two_settings_counts(read: Callable[..., SweepSpec]) -> None:
    assert read(RIGHT, "run_cap=3", "run_cap=4").run_cap == 4


def test_a_setting_may_hold_an_equals_sign(read: Callable[..., SweepSpec]) -> None:
    assert read(RIGHT, "description=a=b").description == "a=b"


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ("run_cap", "--set.run_cap: expected key=value, e.g. --set run_cap=20"),
        ("=3", "--set.=3: expected key=value, e.g. --set run_cap=20"),
        ("a..b=3", "--set.a..b=3: expected key=value, e.g. --set run_cap=20"),
        ("run_cap=[1", "--set.run_cap=[1: not a YAML value: '[1'"),
        ("run_cap=0", "run_cap: input should be greater than or equal to 1, got 0 (from --set)"),
        ("run_cap=many", "run_cap: input should be a valid integer, got 'many' (from --set)"),
        ("name.x=3", "name: input should be a valid string, got {'x': 3} (from --set)"),
        (
            "parameters.backbon.value=a",
            "parameters.backbon: unknown parameter. Did you mean 'backbone'? (from --set)",
        ),
        (
            "parameters.lr.value=-1",
            "parameters.lr.value: input should be greater than 0, got -1 (from --set)",
        ),
    ],
)
def test_a_mistake_in_a_setting_is_said_to_be_one(
    problems: Callable[..., list[str]], setting: str, problem: str
) -> None:
    assert problems(RIGHT, setting) == [problem]


def test_a_date_in_a_setting_is_text_as_it_is_in_the_file(read: Callable[..., SweepSpec]) -> None:
    assert read(RIGHT + "description: 2020-01-01\n").description == "2020-01-01"
    assert read(RIGHT, "description=2020-01-01").description == "2020-01-01"
