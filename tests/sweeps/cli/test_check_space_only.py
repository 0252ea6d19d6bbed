"""`sweeps check --space-only`: the language alone, W&B's sweep files included."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.sweeps.cli.conftest import Ended

pytestmark = pytest.mark.usefixtures("two_cores")


WANDB = """\
program: train.py
method: bayes
name: My sweep!
metric: {name: val.loss, goal: minimize, target: 0.1, impute: best}
early_terminate: {type: hyperband, s: 2, eta: 3, max_iter: 27}
command: ["${env}", python, "${program}"]
parameters:
  lr: {distribution: log_uniform, min: -9.21034, max: 0}
  decay: {distribution: normal, mu: 1e-1, sigma: 0.5}
  units: {distribution: q_log_uniform_values, min: 16, max: 256, q: 16}
  opt: {values: [adam, sgd], probabilities: [0.7, 0.3]}
  model:
    parameters:
      layers: {values: [[64, 64], {conv: 3}]}
      act: {value: relu}
  momentum: {min: 0.5, max: 0.9, when: {opt: sgd}}
"""


class TestSpaceOnly:
    """The language alone."""

    def test_a_sweep_file_of_wandbs_is_shown_as_it_is(self, sweeps: Callable[..., Ended]):
        Path("theirs.yaml").write_text(WANDB)
        notice = (
            "lr: log_uniform is deprecated, its min and max are exponents of e: write "
            "distribution: log_uniform_values, min: 0.0001, max: 1"
        )
        name = "name: `sweeps run` calls the sweep and its folder my-sweep"
        program = "train.py is not called: foldsweep trains timm models itself (docs/from-wandb.md)"
        needs = [
            "data: missing. Write data: {source: images.csv} or data: {source: "
            "folder-with-one-sub-folder-per-class}",
            "no end: give run_cap (a number of trials) or budget: {hours: ...} or {gpu_hours: "
            "...}; only a grid needs neither; metric.target is none, it may never be reached",
            "line 4  metric.name: unknown metric 'val.loss'. It is called valid/log_loss here. "
            "Known: valid/f1, valid/accuracy, valid/balanced_accuracy, valid/loss, valid/log_loss, "
            "valid/ece, or a function of your own, my_task.py:my_metric",
            "line 9  parameters.decay: unknown parameter. "
            "Did you mean 'weight_decay' or 'layer_decay'?",
            "line 10  parameters.units: unknown parameter. "
            "There is none, the backbone is built as timm has it",
            "line 11  parameters.opt: unknown parameter. It is called optimizer here",
            "line 14  parameters.model.parameters.layers: unknown parameter. "
            "There is none, the backbone is built as timm has it",
            "line 15  parameters.model.parameters.act: unknown parameter, "
            "and none of ours is like it",
        ]
        last = "`sweeps check theirs.yaml --fix > space.yaml` writes most of it"
        assert sweeps("check", "--space-only", "theirs.yaml") == Ended(
            0,
            """\
sweep      My sweep!: minimize val.loss, method bayes (tpe)
early end  hyperband: keep_at_least 20, max_iter 27, s 2, eta 3.0, strict False
points     a continuous space
  sampled lr             log scale 0.0001 to 1
  sampled decay          normal (mu 0.1, sigma 0.5)
  sampled units          whole numbers log scale 16 to 256 in steps of 16
  sampled opt            adam (0.7), sgd (0.3)
  sampled model.layers   [64, 64], {'conv': 3}
  fixed   model.act      relu
  sampled momentum       0.5 to 0.9  when opt in sgd
""",
            "\n".join(
                [
                    f"note: {program}",
                    "note: not used here: metric.impute",
                    f"note: {name}",
                    f"note: {notice}",
                    "`sweeps run` would still need:",
                    *(f"  {problem}" for problem in needs),
                    f"{last}\n",
                ]
            ),
        )
        assert not Path("runs").exists()
        ended = sweeps("check", "--space-only", "theirs.yaml", "--json")
        assert (ended.code, ended.err) == (0, "")
        found = json.loads(ended.out)
        assert found.pop("notices") == [
            program,
            "not used here: metric.impute",
            name,
            notice,
        ]
        assert found.pop("to_run") == needs
        parameters = found.pop("parameters")
        assert found == {
            "name": "My sweep!",
            "method": "bayes",
            "sampler": "tpe",
            "metric": {"name": "val.loss", "goal": "minimize", "target": 0.1},
            "run_cap": None,
            "grid_points": None,
            "grid_points_or_more": False,
            "early_terminate": {
                "type": "hyperband",
                "min_iter": None,
                "max_iter": 27,
                "s": 2,
                "eta": 3.0,
                "strict": False,
                "keep_at_least": 20,
            },
        }
        assert list(parameters) == [
            "lr",
            "decay",
            "units",
            "opt",
            "model.layers",
            "model.act",
            "momentum",
        ]
        assert parameters["units"] == {
            "kind": "q_log_uniform_values",
            "min": 16,
            "max": 256,
            "q": 16,
            "integer": True,
            "log": True,
            "law": {"name": "log_uniform", "low": 16, "high": 256},
            "when": {},
        }
        assert parameters["decay"]["law"] == {"name": "normal", "mu": 0.1, "sigma": 0.5}
        weighted = {
            "kind": "categorical",
            "values": ["adam", "sgd"],
            "probabilities": [0.7, 0.3],
            "when": {},
        }
        assert parameters["opt"] == weighted
        assert parameters["model.layers"]["values"] == [[64, 64], {"conv": 3}]
        assert parameters["model.act"] == {"kind": "constant", "value": "relu", "when": {}}
        assert parameters["momentum"]["when"] == {"opt": ["sgd"]}

    @pytest.mark.parametrize(
        ("entry", "shown", "points", "or_more"),
        [
            ("{a: {min: 1, max: 3}, b: {values: [x, y], when: {a: 2}}}", "4", 4, False),
            ("{a: {min: 1, max: 3000000}}", "1,000,000 or more", 1_000_000, True),
            ("{a: {distribution: q_beta, q: 0.1}}", "11", 11, False),
        ],
    )
    def test_a_grid_is_counted(
        self, sweeps: Callable[..., Ended], entry: str, shown: str, points: int, or_more: bool
    ):
        Path("grid.yaml").write_text(f"method: grid\nparameters: {entry}\n")
        ended = sweeps("check", "--space-only", "grid.yaml")
        assert ended.out.splitlines()[:2] == [
            "sweep      grid: method grid (grid)",
            f"points     {shown}",
        ]
        found = json.loads(sweeps("check", "--space-only", "grid.yaml", "--json").out)
        assert (found["grid_points"], found["grid_points_or_more"]) == (points, or_more)

    def test_a_search_space_of_ours_is_read_as_well(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path]
    ):
        path = space(("photos/train.csv", "not/there.csv"))
        assert sweeps("check", "--space-only", path).code == 0
        assert (
            "minimize" in sweeps("check", "--space-only", path, "--set", "metric={name: any}").out
        )

    def test_keys_that_nobody_knows_are_told_as_wandb_does(self, sweeps: Callable[..., Ended]):
        Path("x.yaml").write_text(
            "method: random\nrun_mode: a\ngroup: {x: 1}\nparameters: {lr: {value: 1}}\n"
        )
        ended = sweeps("check", "--space-only", "x.yaml")
        assert ended.code == 0
        assert ended.err.startswith("note: not used here, and not known to W&B: run_mode, group\n")
        assert "  line 2  run_mode: unknown key. Allowed here: " in ended.err
        Path("x.yaml").write_text("method: random\nmetod: a\nparameters: {lr: {value: 1}}\n")
        assert sweeps("check", "--space-only", "x.yaml").code == 2

    def test_a_key_that_is_null_is_absent(self, sweeps: Callable[..., Ended]):
        keys = ("early_terminate", "metric", "run_cap", "name", "sampler")
        Path("x.yaml").write_text("method: random\nparameters: {a: {values: [1, 2]}}\n")
        plain = json.loads(sweeps("check", "--space-only", "x.yaml", "--json").out)
        with Path("x.yaml").open("a") as file:
            file.writelines(f"{key}: null\n" for key in keys)
        found = json.loads(sweeps("check", "--space-only", "x.yaml", "--json").out)
        # the key of a missing section has a line now
        assert "line 4  metric: missing." in found.pop("to_run")[-1]
        assert "metric: missing." in plain.pop("to_run")[0]
        assert found == plain

    def test_a_missing_goal_is_a_note(self, sweeps: Callable[..., Ended]):
        Path("x.yaml").write_text(
            "method: bayes\nmetric: {name: any}\nparameters: {a: {values: [1, 2]}}\n"
        )
        ended = sweeps("check", "--space-only", "x.yaml")
        expected = (
            "note: metric.goal is missing: W&B minimises then; `sweeps run` wants it written\n"
        )
        assert (ended.code, ended.err.splitlines(True)[0]) == (0, expected)

    def test_a_file_that_runs_as_it_is_needs_nothing(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path]
    ):
        ended = sweeps("check", "--space-only", space())
        assert (ended.code, ended.err) == (0, "")

    def test_a_value_that_is_listed_twice_is_noted_and_read_once(
        self, sweeps: Callable[..., Ended]
    ):
        Path("x.yaml").write_text(
            "method: random\n"
            "parameters:\n"
            "  a: {values: [0.0005, 0.00005, 5e-5, 5e-4]}\n"
            "  b.c: {values: [x, y, x], probabilities: [0.5, 0.2, 0.3]}\n"
        )
        ended = sweeps("check", "--space-only", "x.yaml")
        assert ended.out.splitlines()[2:] == [
            "  sampled a              0.0005, 5e-05",
            "  sampled b.c            x (0.8), y (0.2)",
        ]
        assert ended.err.splitlines()[:3] == [
            "note: a: 0.0005 is listed twice, and is read once",
            "note: a: 5e-05 is listed twice, and is read once",
            "note: b.c: 'x' is listed twice, and is read once",
        ]

    def test_all_problems_are_told_with_their_lines(self, sweeps: Callable[..., Ended]):
        Path("wrong.yaml").write_text(
            """\
metod: bayes
method: grid
metric: {goal: lowest}
early_terminate: {type: hyperbnd}
run_cap: 0
parameters:
  lr: {distribution: normal, min: 0}
  drop: {min: 0.0, max: 1.0}
  opt: {values: [a, b], probabilities: [1]}
  c: {value: 1, when: {op: a}}
"""
        )
        assert sweeps("check", "--space-only", "wrong.yaml", "--set", "sampler=tpe") == Ended(
            2,
            "",
            """\
error: wrong.yaml: 9 problems
  sampler: 'tpe' does not fit method: grid. Allowed: grid, brute_force; tpe goes with method: \
bayes or custom (from --set)
  line 1  metod: unknown key. Did you mean 'method'? Allowed here: budget, data, description, \
early_terminate, folds, keep, method, metric, name, notify, parameters, resources, retries, \
run_cap, sampler, seed, start_with, stuck_after, tracking, warm_start
  line 3  metric.name: missing. Known: valid/f1, valid/accuracy, valid/balanced_accuracy, \
valid/loss, valid/log_loss, valid/ece
  line 3  metric.goal: unknown value 'lowest'. Known: maximize, minimize
  line 4  early_terminate.type: unknown value 'hyperbnd'. Did you mean 'hyperband'? Known: none, \
hyperband, median, percentile, patient, threshold, wilcoxon
  line 5  run_cap: input should be greater than or equal to 1, got 0
  line 7  parameters.lr.min: normal takes no 'min'. Allowed: distribution, mu, sigma, when
  line 9  parameters.opt.probabilities: expected a list of 2 probabilities, one for each value, \
got [1]
  line 10  parameters.c.when.op: unknown parameter 'op'. Did you mean 'opt'?
""",
        )

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("method: bayes", "line 1  method: bayes learns from a metric, and there is none. "),
            (
                "early_terminate: {type: hyperband, min_iter: 3}",
                "line 1  early_terminate: hyperband compares trials by a metric, "
                "and there is none. ",
            ),
            (
                "method: [grid]",
                "line 1  method: unknown value ['grid']. Known: bayes, random, grid, custom",
            ),
            ("start_with: [{b: 1}]", "line 1  start_with.0.b: unknown parameter 'b'. Known: a"),
            ("name: 3", "line 1  name: input should be a valid string, got 3"),
        ],
    )
    def test_a_rule_of_the_language_is_kept(
        self, sweeps: Callable[..., Ended], text: str, problem: str
    ):
        Path("x.yaml").write_text(f"{text}\nparameters: {{a: {{values: [1, 2]}}}}\n")
        ended = sweeps("check", "--space-only", "x.yaml")
        assert (ended.code, ended.out) == (2, "")
        assert ended.err.startswith(f"error: x.yaml: 1 problem\n  {problem}")

    def test_json_is_of_the_language_alone(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path]
    ):
        ended = sweeps("check", space(), "--json")
        expected = (
            "error: --json goes with --space-only or --train; "
            "the page of `sweeps check` has the data\n"
        )
        assert ended == Ended(2, "", expected)
