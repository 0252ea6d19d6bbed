"""`sweeps check --train`: fold runs are rehearsed; what a sweep costs is shown and kept."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from sweeps.cli.check_train import SIMULATED
from sweeps.paths import SweepFiles
from sweeps.preparing import stage
from tests.rehearsals import measured
from tests.sweeps.cli.checks import warnings
from tests.sweeps.cli.conftest import Ended
from trainer.config import TrainConfig
from trainer.training.rehearsed import Gpus, Order, Outcome, Refused

pytestmark = pytest.mark.usefixtures("two_cores")
Sweeps = Callable[..., Ended]
Space = Callable[..., Path]
Rule = Callable[[TrainConfig], Refused | None]
GIB = 2**30


TABLES = """\
rehearsed  on 2 CPU, float32, in 0 s
backbone           resize  batch_size  images/s  fold run   memory
test_efficientnet      16          10       100     0.3 s  1.0 GiB
test_efficientnet   24x32          10       100     0.3 s  1.0 GiB
memory is the peak of resident memory; decoding is not counted

trials at once  CPU each  images/s together
             1         1                100
             1         2                100
             2         1                100

trial      0.6 s to 0.6 s, median 0.6 s, for 2 folds, alone on this machine
sweep      100 trials, 2 at a time: about 74 s, with the fold race about 48 s (simulated)
budget     0.05 hours are enough for all 100 trials
"""


class PaperStage:
    """Rehearses on paper: 100 images/s, half of it for each of two at once; or by a rule."""

    rule: Rule = staticmethod(lambda config: None)
    found_gpus: Gpus | None = None
    orders: list[Order]

    def __enter__(self) -> "PaperStage":
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def gpus(self) -> Gpus | None:
        return self.found_gpus

    def act(self, order: Order) -> Outcome:
        self.orders.append(order)
        return self.rule(order.config) or measured(image_s=0.01)

    def act_at_once(self, orders: Sequence[Order]) -> list[Outcome]:
        return [measured(image_s=0.01 * len(orders)) for _ in orders]


@pytest.fixture
def paper(monkeypatch: pytest.MonkeyPatch) -> type[PaperStage]:
    class Paper(PaperStage):
        orders: list[Order] = []  # noqa: RUF012 - one class per test

    monkeypatch.setattr(stage, "Stage", Paper)
    return Paper


def test_a_real_rehearsal_is_shown_and_kept(sweeps: Sweeps, space: Space, home: Path) -> None:
    ended = sweeps("check", space(), "--train", "--json")
    assert ended.code == 0
    train = json.loads(ended.out)["train"]
    assert train["device"] == "2 CPU, float32"
    (combination,) = train["cost"]["combinations"]
    assert combination["backbone"] == "test_efficientnet"
    assert combination["images_per_s"] > 0
    assert combination["memory_bytes"] > 0
    assert train["cost"]["at_once"] == 2
    assert [(s["at_once"], s["threads"]) for s in train["side_by_side"]] == [(1, 1), (1, 2), (2, 1)]
    assert all(each["images_per_s"] > 0 for each in train["side_by_side"])
    kept = json.loads(SweepFiles.of(home / "runs", "tiny").check.cost.read_text())
    assert kept["trial_s"] == train["cost"]["trial_s"]


def test_the_tables_and_what_they_say(
    sweeps: Sweeps, space: Space, paper: type[PaperStage]
) -> None:
    path = space(
        ("run_cap: 2", "run_cap: 100\nbudget: {hours: 0.05}"),
        ("resize: {value: 16}", 'resize: {values: [16, "24x32"]}'),
    )
    ended = sweeps("check", path, "--train")
    assert ended.code == 0, ended.err
    shown = ended.out[ended.out.index("rehearsed") :]
    shown = re.sub(r"in \d+ s$", "in 0 s", shown, flags=re.MULTILINE)
    assert shown.replace(SIMULATED, "simulated") == TABLES


def test_a_budget_that_is_too_small_is_said(
    sweeps: Sweeps, space: Space, paper: type[PaperStage]
) -> None:
    path = space(("run_cap: 2", "run_cap: 100\nbudget: {hours: 0.01}"))
    (line,) = [
        line
        for line in sweeps("check", path, "--train").out.splitlines()
        if line.startswith("budget")
    ]
    assert line == (
        "budget     0.01 hours end after about 64 of 100 trials. Raise the budget, lower run_cap, "
        "or leave out what costs most"
    )


def test_a_choice_that_fails_is_an_error_with_its_line(
    sweeps: Sweeps, space: Space, paper: type[PaperStage]
) -> None:
    paper.rule = staticmethod(
        lambda config: Refused("error", "KeyError: 'step'") if config.optimizer == "adamw" else None
    )
    ended = sweeps("check", space(), "--train")
    assert ended.code == 2
    assert ended.err.endswith(
        "error: tiny.yaml: 1 problem\n"
        "  line 15  parameters.optimizer.values.1: adamw: KeyError: 'step'\n"
    )


def test_what_does_not_fit_is_a_row_and_a_share_of_the_points(
    sweeps: Sweeps, space: Space, paper: type[PaperStage]
) -> None:
    paper.rule = staticmethod(
        lambda config: Refused("memory", "CUDA out of memory") if config.resize == 24 else None
    )
    path = space(("resize: {value: 16}", "resize: {values: [16, 24]}"))
    ended = sweeps("check", path, "--train")
    assert ended.code == 0
    assert re.search(r"^test_efficientnet +24 +10 +does not fit: CUDA out", ended.out, re.MULTILINE)
    (share,) = [line for line in warnings(ended) if "of the points" in line]
    assert re.fullmatch(r"(4|5)\d% of the points that a sweep may try would fail", share)


def test_on_a_gpu_shares_of_it_are_compared(
    sweeps: Sweeps, space: Space, paper: type[PaperStage]
) -> None:
    """With a GPU on paper."""
    paper.found_gpus = Gpus(1, "H100", 4 * GIB)
    ended = sweeps("check", space(("resources: {gpu: 0}", "resources: {gpu: 0.5}")), "--train")
    assert ended.code == 0, ended.err
    assert {order.device for order in paper.orders} == {"cuda"}
    assert "rehearsed  on 1 H100, bfloat16; 2 CPU, in" in ended.out
    assert (
        "resources.gpu: 0.5 puts 2 trials on a GPU; 1 of 1 combinations fit so into its memory\n"
        "resources.gpu: 0.25 puts 4 trials on a GPU; 0 of 1 combinations fit so into its memory\n"
    ) in ended.out
    assert "2 trials, 2 at a time" in ended.out


def test_time_that_is_too_short_is_said(
    sweeps: Sweeps, space: Space, paper: type[PaperStage]
) -> None:
    path = space(("resize: {value: 16}", "resize: {values: [16, 24, 32]}"))
    ended = sweeps("check", path, "--train", "--minutes", 0)
    assert ended.code == 0
    assert len(paper.orders) == 1
    assert (
        "2 combinations and 2 choices were not tried: no time was left. Raise --minutes"
        in warnings(ended)
    )


def test_the_estimate_is_used_by_run_from_the_first_minute(
    sweeps: Sweeps, space: Space, paper: type[PaperStage], monkeypatch: pytest.MonkeyPatch
) -> None:
    from sweeps.running.pace import Pace

    known: list[float | None] = []
    before = Pace.__init__

    def noted(
        self: Pace, clock: Callable[[], float], *, expected_s: float | None, **options: Any
    ) -> None:
        known.append(expected_s)
        before(self, clock, expected_s=expected_s, **options)

    monkeypatch.setattr(Pace, "__init__", noted)
    path = space()
    sweeps("check", path, "--train")
    assert sweeps("run", path, "--local").code == 0
    assert known == [pytest.approx(2 * 30 * 0.01 * 2)]  # folds, images, a step, beside another


@pytest.mark.parametrize("option", ["--space-only", "--fix"])
def test_a_file_without_its_data_cannot_be_trained(
    sweeps: Sweeps, space: Space, option: str
) -> None:
    ended = sweeps("check", space(), "--train", option)
    text = "error: --train needs the data: leave --fix and --space-only out\n"
    assert ended == Ended(2, "", text)
