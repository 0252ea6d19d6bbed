"""What a user can get wrong in a search space, and how every mistake ends."""

import dataclasses
import re
from pathlib import Path

from sweeps.results.view import names
from sweeps.study.storage import open_storage
from tests.sweeps.cli.conftest import Ended

Change = tuple[str, str]
LR = "lr: {min: 0.001, max: 0.02}"

SPACE_PROBLEMS: dict[str, tuple[list[Change], str]] = {
    "unknown parameter": (
        [("  lr:", "  backbon: {value: resnet18}\n  lr:")],
        "  line 18  parameters.backbon: unknown parameter. Did you mean 'backbone'?",
    ),
    "misspelt key": (
        [("{gpu: 0}", "{gpus: 0}")],
        "  line 8  resources.gpus: unknown key. Did you mean 'gpu'? Allowed here: cpu, gpu",
    ),
    "min above max": (
        [(LR, "lr: {min: 0.02, max: 0.001}")],
        "  line 18  parameters.lr: min must not be above max, got min=0.02, max=0.001",
    ),
    "log scale from 0": (
        [(LR, "lr: {distribution: log_uniform_values, min: 0.0, max: 0.1}")],
        "  line 18  parameters.lr: a log scale needs 0 < min < max, got min=0.0, max=0.1",
    ),
    "wrong type of a parameter": (
        [("batch_size: {value: 10}", "batch_size: {value: ten}")],
        "  line 13  parameters.batch_size.value: input should be a valid integer, got 'ten'",
    ),
    "wrong type of a key": (
        [("run_cap: 2", "run_cap: two")],
        "  line 4  run_cap: input should be a valid integer, got 'two'",
    ),
    "unknown backbone": (
        [("value: test_efficientnet", "values: [test_efficientnet, test_efficientnett]")],
        "  line 10  parameters.backbone.values.1: timm has no model 'test_efficientnett'. "
        "Nearest: 'test_efficientnet', 'test_efficientnet_ln', 'test_efficientnet_gn'. "
        "`python -c 'import timm; print(timm.list_models())'` lists them",
    ),
    "unknown optimizer": (
        [("[sgd, adamw]", "[sgd, adamx]")],
        "  line 15  parameters.optimizer.values.1: timm has no optimizer 'adamx'. Nearest: "
        "'adamax', 'adam', 'radam'. `python -c 'import timm.optim; "
        "print(timm.optim.list_optimizers())'` lists them",
    ),
    "unknown scheduler": (
        [("value: cosine", "value: cosin")],
        "  line 16  parameters.scheduler.value: unknown value 'cosin'. Did you mean 'cosine'? "
        "Known: none, step, multistep, exponential, cosine, one_cycle, cyclic, plateau, two_stage",
    ),
    "unknown loss": (
        [("value: cross_entropy", "value: cross_entrpy")],
        "  line 17  parameters.loss.value: unknown value 'cross_entrpy'. "
        "Did you mean 'cross_entropy'? Known: cross_entropy, label_smoothing, focal, soft_f1, "
        "mixture, or a function of your own, my_task.py:my_loss",
    ),
    "unknown entry of a mapping": (
        [
            ("value: cross_entropy", "value: mixture"),
            (LR, f"{LR}\n  loss_mix.focl: {{value: 0.6}}"),
        ],
        "  line 19  parameters.loss_mix.focl.value: unknown entry 'focl'. Did you mean 'focal'? "
        "Known: cross_entropy, label_smoothing, focal, soft_f1",
    ),
    "a probability above 1": (
        [(LR, f"{LR}\n  cutmix: {{value: 1.2}}")],
        "  line 19  parameters.cutmix.value: input should be less than or equal to 1, got 1.2",
    ),
    "more mixing than images": (
        [(LR, f"{LR}\n  cutmix: {{value: 0.8}}\n  mixup: {{value: 0.5}}")],
        "  line 9  parameters: no sampled point is a valid configuration: "
        "an image is mixed in one way only: the probabilities must sum to at most 1, "
        "got cutmix=0.8, mixup=0.5",
    ),
    "a warm-up as long as all epochs": (
        [(LR, f"{LR}\n  warmup_epochs: {{value: 1.0}}")],
        "  line 9  parameters: no sampled point is a valid configuration: "
        "warmup_epochs must be below epochs, got warmup_epochs=1.0 and epochs=1",
    ),
    "a size that a transformer does not take": (
        [("test_efficientnet", "test_vit"), ("resize: {value: 16}", "resize: {value: 280x210}")],
        "  line 9  parameters: backbone test_vit does not take resize 280x210: "
        "sides must be multiples of its patches of 16x16 pixels, e.g. 288x208",
    ),
    "batch norm of single images": (
        [("batch_size: {value: 10}", "batch_size: {value: 1}")],
        "  line 9  parameters: backbone test_efficientnet has batch norm, "
        "which needs more than one image at a time, got batch_size=1 in accumulation=1 parts. "
        "Raise batch_size or lower accumulation",
    ),
    "a stage that the backbone lacks": (
        [(LR, f"{LR}\n  freeze.up_to: {{value: layer3}}")],
        "  line 9  parameters: freeze: backbone test_efficientnet has no stage 'layer3'. "
        "Its stages are conv_stem, bn1, blocks, blocks.0, blocks.1, blocks.2, blocks.3, blocks.4, "
        "conv_head, bn2",
    ),
    "separate heads of one column": (
        [(LR, f"{LR}\n  heads: {{value: separate}}")],
        "  line 19  parameters.heads: separate needs several label columns (data.label), got label",
    ),
    "a metric of another file": (
        [("valid/f1", "my_task.py:kappa")],
        "  line 3  metric.name: my_task.py:kappa: there is no file {here}/my_task.py.",
    ),
    "scores that cannot be compared": (
        [
            ("{name: valid/f1, goal: maximize}", "{name: valid/loss, goal: minimize}"),
            ("loss: {value: cross_entropy}", "loss: {values: [cross_entropy, focal]}"),
        ],
        "  line 17  parameters.loss: valid/loss is each trial's own loss, which loss changes: "
        "use metric valid/log_loss",
    ),
    "missing goal": (
        [(", goal: maximize", "")],
        "  line 3  metric.goal: missing. Write goal: maximize or goal: minimize (W&B's silent "
        "default would minimise)",
    ),
    "missing budget": (
        [("run_cap: 2\n", "")],
        "  no end: give run_cap (a number of trials) or budget: {hours: ...} or {gpu_hours: ...}; "
        "only a grid needs neither",
    ),
}


def refused(ended: Ended, error: str) -> None:
    """One block on stderr, and nothing left in the working folder that could be taken for a sweep.

    An empty database may stay: what it was opened for is found wrong only when images have been
    read.
    """
    progress = re.compile(
        r"^\d\d:\d\d:\d\d  (reading|comparing) images: [\d,]+ of [\d,]+\n", flags=re.MULTILINE
    )
    assert dataclasses.replace(ended, err=progress.sub("", ended.err)) == Ended(
        2, "", f"error: {error}\n"
    )
    assert not list(Path("runs").glob("*/sweep.json"))
    assert not Path("runs/tiny").exists()
    assert not list(Path().rglob("*.tmp"))
    if Path("runs/sweeps.db").exists():
        assert names(open_storage("sqlite:///runs/sweeps.db")) == []


def broken(rows: list[str]) -> None:
    """all.csv, whose last image is none."""
    Path("broken.png").write_bytes(b"not an image")
    Path("all.csv").write_text("\n".join([*rows, "broken.png,red"]))
