"""One mistake in a search space, named with its line and what is allowed."""

from collections.abc import Callable

import pytest

from tests.sweeps.space.space_texts import RIGHT
from trainer.config import TrainConfig

RULES = "Known: none, hyperband, median, percentile, patient, threshold, wilcoxon"
TYPE = "early_terminate.type: "
FIELDS = sorted(TrainConfig.model_fields.keys() - {"seed", "metric", "metric_goal"})


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("toy", "(?)", "line 1  name: '(?)' cannot name a folder"),
        (
            "toy",
            "artifacts",
            "line 1  name: 'artifacts' is the folder of other files beside the sweeps; "
            "choose another name",
        ),
        ("toy", "..", "line 1  name: '..' cannot name a folder"),
        ("toy", "''", "line 1  name: '' cannot name a folder"),
        ("toy", "3", "line 1  name: input should be a valid string, got 3"),
        (
            "valid/f1",
            "valid/f2",
            "line 2  metric.name: unknown metric 'valid/f2'. Did you mean 'valid/f1'? "
            "Known: valid/f1, valid/accuracy, valid/balanced_accuracy, valid/loss, valid/log_loss, "
            "valid/ece, or a function of your own, my_task.py:my_metric",
        ),
        (
            "valid/f1",
            "train_loss",
            "line 2  metric.name: unknown metric 'train_loss'. Known: valid/f1, ",
        ),
        (
            "maximize",
            "minimize",
            "line 2  metric.goal: valid/f1 gets better in the other direction: write goal: "
            "maximize",
        ),
        (
            "goal: maximize",
            "goal: maximise",
            "line 2  metric.goal: unknown value 'maximise'. Did you mean 'maximize'? Known: "
            "maximize, minimize",
        ),
        (
            "metric: {name: valid/f1, goal: maximize}",
            "metric: valid/f1",
            "line 2  metric: expected a mapping with goal, name, target, got 'valid/f1'. "
            "Write metric: {name: ",
        ),
        (
            "metric: {name: valid/f1, goal: maximize}\n",
            "",
            "metric: missing. Write metric: {name: valid/f1, goal: maximize}; "
            "known names: valid/f1, valid/accuracy, valid/balanced_accuracy, valid/loss, "
            "valid/log_loss, valid/ece",
        ),
        (
            "data: {source: train.csv}\n",
            "",
            "data: missing. Write data: {source: images.csv} or data: {source: "
            "folder-with-one-sub-folder-per-class}",
        ),
        (
            "source: train.csv",
            "label: x",
            "line 4  data.source: missing. A CSV or Parquet file, or a folder with",
        ),
        (
            "run_cap: 10",
            "run_cap: 0",
            "line 3  run_cap: input should be greater than or equal to 1, got 0",
        ),
        (
            "run_cap: 10",
            "run_cap: 2.5",
            "line 3  run_cap: input should be a valid integer, got 2.5",
        ),
        (
            "run_cap: 10",
            "run_cap: '10'",
            "line 3  run_cap: input should be a valid integer, got '10'",
        ),
        (
            "run_cap: 10\n",
            "",
            "no end: give run_cap (a number of trials) or budget: {hours: ...} or {gpu_hours: "
            "...}; only a grid needs ",
        ),
        (
            "run_cap: 10",
            "budget: {hours: 0}",
            "line 3  budget.hours: input should be greater than 0, got 0",
        ),
        (
            "run_cap: 10",
            "run_cap: 10\nmethod: baysian",
            "line 4  method: unknown value 'baysian'. Did you mean 'bayes'? Known: bayes, random, "
            "grid, custom",
        ),
        (
            "run_cap: 10",
            "run_cap: 10\nmethod: grid\nsampler: tpe",
            "line 5  sampler: 'tpe' does not fit method: grid. Allowed: grid, brute_force; "
            "tpe goes with method: bayes or custom",
        ),
        (
            "run_cap: 10",
            "run_cap: 10\nearly_terminate: {}",
            f"line 4  early_terminate.type: missing. {RULES}",
        ),
        *[
            ("run_cap: 10", f"run_cap: 10\n{line}", f"line 4  {problem}")
            for line, problem in (
                (
                    "early_terminate: {type: hyperbnd}",
                    f"{TYPE}unknown value 'hyperbnd'. Did you mean 'hyperband'? {RULES}",
                ),
                (
                    "early_terminate: {type: [median]}",
                    f"{TYPE}unknown value ['median']. Did you mean 'median'? {RULES}",
                ),
                (
                    "early_terminate: hyperband",
                    "early_terminate: expected a mapping with type, got 'hyperband'. "
                    "Write early_terminate: {type: hyperband, min_iter: 3}",
                ),
                (
                    "early_terminate: {type: hyperband}",
                    "early_terminate: hyperband needs min_iter, or max_iter and s",
                ),
                (
                    "early_terminate: {type: hyperband, max_iter: 27}",
                    "early_terminate: hyperband with max_iter needs s, the number of bands",
                ),
                (
                    "early_terminate: {type: hyperband, min_iter: 0}",
                    "early_terminate.min_iter: input should be greater than or equal to 1, got 0",
                ),
                (
                    "early_terminate: {type: hyperband, min_itr: 3}",
                    "early_terminate.min_itr: unknown key. Did you mean 'min_iter'? "
                    "Allowed here: eta, keep_at_least, max_iter, min_iter, s, strict, type",
                ),
                (
                    "early_terminate: {type: none, min_iter: 3}",
                    "early_terminate.min_iter: unknown key. Allowed here: type",
                ),
                (
                    "early_terminate: {type: null}",
                    f"{TYPE}unknown value null. Did you mean 'none'? {RULES}",
                ),
                (
                    "early_terminate: {type: percentile}",
                    "early_terminate.percentile: missing. It is required",
                ),
                (
                    "early_terminate: {type: threshold}",
                    "early_terminate: threshold needs lower, upper or both",
                ),
                (
                    "folds: {race: yes}",
                    "folds.race: expected true, false, or a mapping with error_rate, min_evidence, "
                    "min_folds, near_tie, got 'yes'",
                ),
                (
                    "folds: {race: {error_rate: 0.9}}",
                    "folds.race.error_rate: input should be less than 0.5, got 0.9",
                ),
                (
                    "folds: {race: {eror_rate: 0.1}}",
                    "folds.race.eror_rate: unknown key. Did you mean 'error_rate'? "
                    "Allowed here: error_rate, min_evidence, min_folds, near_tie",
                ),
                (
                    "folds: {finish: -1}",
                    "folds.finish: input should be greater than or equal to 0, got -1",
                ),
                (
                    "folds: {finish: true}",
                    "folds.finish: input should be a valid integer, got True",
                ),
                (
                    "resources: {gpu: 2}",
                    "resources.gpu: input should be less than or equal to 1, got 2: "
                    "one trial trains on one GPU, or on a share of it such as 0.5",
                ),
                (
                    "resources: {cpu: all}",
                    "resources.cpu: expected a number of CPUs above 0, or auto, got 'all'",
                ),
                (
                    "resources: {cpu: .inf}",
                    "resources.cpu: expected a number of CPUs above 0, or auto, got inf",
                ),
                ("retries: -1", "retries: input should be greater than or equal to 0, got -1"),
                ("stuck_after: 1", "stuck_after: input should be greater than 1, got 1"),
                ("keep: 0", "keep: input should be greater than or equal to 1, got 0"),
                (
                    "budget: {gpu_hours: 0}",
                    "budget.gpu_hours: input should be greater than 0, got 0",
                ),
                ("warm_start: 3", "warm_start: expected a sweep's name, or a list of them, got 3"),
                (
                    "warm_start: [a, '']",
                    "warm_start: expected a sweep's name, or a list of them, got ['a', '']",
                ),
                ("warm_start: [other, toy]", "warm_start: 'toy' is this sweep: name other ones"),
                (
                    "sampler: tpee",
                    "sampler: unknown value 'tpee'. Did you mean 'tpe'? Known: tpe, gp, cmaes, "
                    "qmc, ",
                ),
                (
                    "metrics: [{name: valid/f1}]",
                    "metrics: unknown key. Write metric: {name: ..., goal: ...}. Allowed here: ",
                ),
                (
                    "trials: 3",
                    "trials: unknown key. Write run_cap. Allowed here: ",
                ),
                (
                    "epochs: 3",
                    "epochs: unknown key. Write epochs under parameters. Allowed here: ",
                ),
            )
        ],
        (
            "run_cap: 10",
            "budget: {gpu_hours: 3}\nresources: {gpu: 0}",
            "line 3  budget.gpu_hours: is no end without a GPU (resources.gpu: 0): "
            "give run_cap or hours",
        ),
        (
            "maximize}\nrun_cap: 10",
            "maximize, target: .nan}\nrun_cap: 3",
            "line 2  metric.target: input should be a finite",
        ),
        (
            "lr: {value: 0.1}",
            "lr: {value: 0}",
            "line 6  parameters.lr.value: input should be greater than 0, got 0",
        ),
        (
            "lr: {value: 0.1}",
            "lr: {value: '0.1'}",
            "line 6  parameters.lr.value: input should be a valid number, got '0.1'",
        ),
        (
            "lr: {value: 0.1}",
            "lr: {min: 0.1, max: 11.0}",
            "line 6  parameters.lr.max: input should be less than or equal to 10, got 11.0",
        ),
        (
            "lr: {value: 0.1}",
            "epochs: {min: 1.0, max: 3.0}",
            "line 6  parameters.epochs: takes whole numbers only: give min and max as whole "
            "numbers, or values",
        ),
        (
            "lr: {value: 0.1}",
            "resize: {value: 10x}",
            "line 6  parameters.resize.value: a size is a number or 'HxW' with sides from 8 to "
            "4096 pixels, got '10x'",
        ),
        (
            "lr: {value: 0.1}",
            "resize: {values: [[3, 224, 224]]}",
            "line 6  parameters.resize.values.0: a size is a number or 'HxW' with sides from 8 to "
            "4096 pixels, got [3, 224, 224]",
        ),
        (
            "lr: {value: 0.1}",
            "qqq: {value: 1}",
            "line 6  parameters.qqq: unknown parameter, and none of ours is like it",
        ),
    ],
)
def test_a_mistake_is_named_with_its_line_and_what_is_allowed(
    problems: Callable[..., list[str]], old: str, new: str, problem: str
) -> None:
    assert old in RIGHT
    found = problems(RIGHT.replace(old, new))
    assert found[0].startswith(problem)
    names = [f"parameters are {', '.join(FIELDS)}"] if "none of ours" in problem else []
    assert found[1:] == names


def test_a_metric_of_others_is_told_our_name_and_what_rewrites_the_file(
    problems: Callable[..., list[str]],
) -> None:
    name, last = problems(RIGHT.replace("valid/f1", "val_acc"))
    assert name.startswith(
        "line 2  metric.name: unknown metric 'val_acc'. It is called valid/accuracy here. Known: "
    )
    assert last.endswith(" --fix > space.yaml` writes it in our words (docs/from-wandb.md)")


def test_a_search_space_without_parameters_is_a_problem(problems: Callable[..., list[str]]) -> None:
    assert problems(RIGHT.split("parameters")[0]) == [
        "parameters: expected a mapping of parameter names, e.g. lr: {min: 0.001, max: 0.1}"
    ]


def test_a_problem_of_a_nested_parameter_has_its_own_line(
    problems: Callable[..., list[str]],
) -> None:
    found = problems(RIGHT + "  model:\n    parameters:\n      lr: {value: 1}\n")
    assert found[0].startswith("line 9  parameters.model.")


def test_a_problem_of_a_dotted_parameter_has_its_own_line(
    problems: Callable[..., list[str]],
) -> None:
    found = problems(RIGHT + "  model.lr: {value: 1}\n")
    assert found[0] == (
        "line 7  parameters.model.lr: unknown parameter. It is called lr here, without model"
    )


@pytest.mark.parametrize("key", ["space", "raw", "notices", "text"])
def test_a_key_that_only_the_program_uses_is_unknown(
    problems: Callable[..., list[str]], key: str
) -> None:
    (found,) = problems(RIGHT + f"{key}: 1\n")
    assert found.startswith(f"line 7  {key}: unknown key.")


@pytest.mark.parametrize("line", ["? [a, b]\n: 3\n", "2020-01-01: 3\n"])
def test_a_key_that_is_no_text_is_a_problem(problems: Callable[..., list[str]], line: str) -> None:
    (found,) = problems(RIGHT + line)
    assert found.startswith("line 7  ")


def test_a_value_that_contains_itself_is_a_problem(problems: Callable[..., list[str]]) -> None:
    (found,) = problems(RIGHT + "description: &a [*a]\n")
    assert "contain itself" in found


def test_a_method_that_is_a_list_is_a_problem(problems: Callable[..., list[str]]) -> None:
    found = problems(RIGHT + "method: [bayes]\nsampler: tpe\n")
    assert found[0].startswith("line 7  method: unknown value ['bayes'].")


@pytest.mark.parametrize(
    "line",
    [
        "notify: https://chat/T0ken",
        "notify: {webhook: [https://chat/T0ken]}",
        "notify: {webhook: {T0ken: 1}}",
        "notify: [T0ken]",
    ],
)
def test_a_mistake_in_a_webhook_does_not_show_it(
    problems: Callable[..., list[str]], line: str
) -> None:
    (found,) = problems(RIGHT + line + "\n")
    assert "T0ken" not in found
    assert found.endswith(
        "expected a mapping with webhook, the URL of a webhook (it is a secret and not shown)"
    )


def test_an_unknown_key_of_notify_is_named(problems: Callable[..., list[str]]) -> None:
    (found,) = problems(RIGHT + "notify: {webook: https://chat/T0ken}\n")
    assert (
        found == "line 7  notify.webook: unknown key. Did you mean 'webhook'? Allowed here: webhook"
    )


def test_a_webhook_of_set_is_not_shown_either(problems: Callable[..., list[str]]) -> None:
    (found,) = problems(RIGHT, "notify.webhook=https://chat/T0ken: [")
    assert found == "--set.notify.webhook=...: cannot be read"
