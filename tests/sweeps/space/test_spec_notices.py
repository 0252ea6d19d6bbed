"""What is allowed and probably not meant is noticed."""

from collections.abc import Callable

import pytest

from sweeps.space.spec import SweepSpec
from tests.sweeps.space.space_texts import RIGHT


def test_the_program_comes_first_and_other_keys_without_a_meaning_are_one_notice(
    read: Callable[..., SweepSpec],
) -> None:
    spec = read(
        RIGHT
        + "program: train.py\ncommand: [python]\nproject: p\nentity: e\ncontroller: {type: local}\n"
    )
    assert spec.notices == (
        "train.py is not called: foldsweep trains timm models itself (docs/from-wandb.md)",
        "not used here: project, entity, controller",
    )
    spec = read(RIGHT.replace("maximize", "maximize, impute: best, impute_while_running: latest"))
    assert spec.notices == ("not used here: metric.impute, metric.impute_while_running",)


@pytest.mark.parametrize(
    "rule", ["{type: hyperband, min_iter: 3}", "{type: median}", "{type: wilcoxon}"]
)
def test_early_termination_beside_the_race_is_a_notice(
    read: Callable[..., SweepSpec], rule: str
) -> None:
    (notice,) = read(f"{RIGHT}early_terminate: {rule}\n").notices
    name = rule.split()[1].strip(",}")
    assert notice == (
        f"early_terminate ({name}) together with the fold race costs ensemble candidates: "
        "in a simulation it lost the best trial in 12-14 % of sweeps; leave it out, "
        "or set folds.race: false"
    )
    assert read(f"{RIGHT}early_terminate: {rule}\nfolds: {{race: false}}\n").notices == ()


@pytest.mark.parametrize(
    ("lines", "noticed"),
    [
        ("", True),
        ("early_terminate: {type: median}", True),  # instead of the notice on both together
        ("early_terminate: {type: wilcoxon}\nfolds: {race: false}", True),
        ("folds: {race: false}", False),
        ("early_terminate: {type: median}\nfolds: {race: false}", False),
    ],
)
@pytest.mark.parametrize("checkpoint", ["{value: best}", "{values: [last, best]}"])
def test_one_epoch_for_all_folds_beside_a_comparison_of_folds_is_a_notice(
    read: Callable[..., SweepSpec], checkpoint: str, lines: str, noticed: bool
) -> None:
    expected = (
        "checkpoint: best scores all folds by one epoch that is chosen at the end, "
        "so the fold race (and wilcoxon) cannot compare a running trial: they are off"
    )
    assert read(f"{RIGHT}  checkpoint: {checkpoint}\n{lines}\n").notices == (
        (expected,) if noticed else ()
    )


@pytest.mark.parametrize(
    ("method", "sampler", "notice"),
    [
        (
            "bayes",
            "cmaes",
            "sampler cmaes does not model lists of values and conditions: {}optimizer, momentum",
        ),
        ("bayes", "gp", "sampler gp does not model conditions: {}momentum"),
        ("bayes", "tpe", None),
        ("bayes", "nsgaii", "sampler nsgaii does not model conditions: {}momentum"),
        ("random", "qmc", None),
        ("random", "random", None),
    ],
)
def test_what_a_sampler_cannot_model_is_a_notice(
    read: Callable[..., SweepSpec], method: str, sampler: str, notice: str | None
) -> None:
    text = (
        RIGHT.replace("{value: 0.1}", "{min: 0.1, max: 0.2}")
        + "  optimizer: {values: [sgd, adam]}\n"
        "  momentum: {min: 0.1, max: 0.9, when: {optimizer: sgd}}\n"
    )
    expected = () if notice is None else (notice.format("drawn at random by themselves: "),)
    assert read(f"{text}method: {method}\nsampler: {sampler}\n").notices == expected


def test_a_deprecated_distribution_is_a_notice(read: Callable[..., SweepSpec]) -> None:
    (notice,) = read(
        RIGHT.replace("{value: 0.1}", "{distribution: log_uniform, min: -9, max: -1}")
    ).notices
    assert notice.startswith("lr: log_uniform is deprecated, ")


def test_tails_that_a_field_does_not_take_are_a_notice(read: Callable[..., SweepSpec]) -> None:
    (notice,) = read(RIGHT + "  dropout: {distribution: normal, mu: 0.3, sigma: 0.05}\n").notices
    assert notice.startswith(
        "dropout: normal (mu 0.3, sigma 0.05) has tails from -0.0517 to 0.652, "
        "and a trial whose value the field does not take will fail: input should be greater than "
        "or equal to 0, got -0.0517"
    )
    assert read(RIGHT + "  dropout: {distribution: normal, mu: 0.3, sigma: 0.01}\n").notices == ()


def test_whole_bounds_of_a_real_parameter_are_a_notice(read: Callable[..., SweepSpec]) -> None:
    assert read(RIGHT + "  focal_gamma: {min: 0, max: 5}\n").notices == (
        "focal_gamma: min and max are whole numbers, so only whole numbers are sampled (W&B's "
        "rule); write 0.0 and 5.0 for the range between them",
    )


def test_whole_bounds_of_a_whole_parameter_are_none(read: Callable[..., SweepSpec]) -> None:
    assert read(RIGHT + "  epochs: {min: 1, max: 5}\n").notices == ()


def share(notices: tuple[str, ...]) -> int:
    (notice,) = notices
    head, _, tail = notice.partition(
        " % of the sampled points will fail: cyclic needs base_lr <= lr, got base_lr="
    )
    assert tail
    return int(head.removeprefix("about "))


def test_points_that_will_fail_are_announced_with_their_share(
    read: Callable[..., SweepSpec],
) -> None:
    text = RIGHT.replace("{value: 0.1}", "{values: [0.1, 0.2]}")
    spec = read(text + "  scheduler: {value: cyclic}\n  base_lr: {value: 0.15}\n")
    assert 30 < share(spec.notices) < 70


def test_the_share_of_failing_points_is_that_of_the_log_scale(
    read: Callable[..., SweepSpec],
) -> None:
    text = RIGHT.replace("{value: 0.1}", "{distribution: log_uniform_values, min: 1e-6, max: 1e-2}")
    spec = read(text + "  scheduler: {value: cyclic}\n  base_lr: {value: 1e-4}\n")
    assert 30 < share(spec.notices) < 70
