"""What other files call our parameters and metrics, and which names are near enough to be meant."""

import pytest

from sweeps.space import synonyms
from sweeps.space.fields import RESERVED, parameter_names, unknown_parameter
from sweeps.space.spec import METRIC_NAMES
from sweeps.space.synonyms import (
    ELSEWHERE,
    NAMES,
    NO_PARAMETERS,
    meaning_of,
    metric_of,
    nearest,
    top_key_of,
    word,
)


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("learning_rate", "lr"),
        ("Learning-Rate", "lr"),
        ("max_lr", "lr"),
        ("model", "backbone"),
        ("model_name", "backbone"),
        ("arch", "backbone"),
        ("wd", "weight_decay"),
        ("bs", "batch_size"),
        ("batch", "batch_size"),
        ("batchSize", "batch_size"),
        ("Weight-Decay", "weight_decay"),
        ("img_size", "resize"),
        ("image_size", "resize"),
        ("num_epochs", "epochs"),
        ("pretrained", "weights"),
        ("opt", "optimizer"),
        ("sched", "scheduler"),
        ("lr_scheduler", "scheduler"),
        ("drop_rate", "dropout"),
        ("drop_path_rate", "drop_path"),
        ("label_smoothing", "smoothing"),
        ("loss_function", "loss"),
        ("ema_decay", "ema"),
        ("gradient_clip_val", "clip_norm"),
        ("reprob", "erasing"),
        ("optimizer.name", "optimizer"),
        ("model.backbone.type", "backbone"),
        ("optim.learning_rate", "lr"),
        ("optimizer.weight_decay", "weight_decay"),
        ("train.epochs", "epochs"),
        ("warmup.epochs", "warmup_epochs"),
        ("scheduler.patience", "plateau_patience"),
        ("early_stopping.patience", "patience"),
        ("augmentation.mixup.alpha", "mixup_alpha"),
    ],
)
def test_a_name_of_others_has_ours(name: str, ours: str):
    meaning = meaning_of(name)
    assert meaning is not None
    assert meaning.field == ours
    assert meaning.text.startswith(f"It is called {ours} here")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("hidden_size", "There is none, the backbone is built as timm has it"),
        ("num_workers", "It is resources: {gpu: 1, cpu: 4} at the top"),
        ("n_folds", "Each trial trains all folds; how many is folds: {k: 5} at the top"),
        ("data_dir", "It is data: {source: ...} at the top"),
        ("random_seed", "Every seed derives from the top-level key seed"),
    ],
)
def test_a_name_without_a_parameter_of_ours_says_what_to_do(name: str, text: str):
    meaning = meaning_of(name)
    assert meaning is not None
    assert meaning.text == text
    assert meaning.field is None


def test_the_tables_name_parameters_of_ours_and_each_name_once():
    assert set(NAMES) <= set(parameter_names())
    assert set(synonyms.METRICS) <= set(METRIC_NAMES)
    others = [
        word(name) for names in [*NAMES.values(), *ELSEWHERE.values()] for name in names.split()
    ]
    assert len(set(others)) == len(others)
    assert not set(others) & set(map(word, parameter_names()))
    assert set(NO_PARAMETERS) == set(RESERVED)
    known = {name for names in synonyms.AMBIGUOUS.values() for name in names}
    keys = [word(key) for others in synonyms.TOP.values() for key in others.split()]
    assert len(set(keys)) == len(keys)
    assert known | set(synonyms.MAPPINGS) <= set(parameter_names())
    assert not set(synonyms.AMBIGUOUS) & set(others)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("backbon", ("backbone",)),
        ("schedular", ("scheduler",)),
        ("weight_deacy", ("weight_decay",)),
        ("batchsizes", ("batch_size",)),
        ("gamma", ("step_gamma", "epoch_gamma", "focal_gamma")),
        ("alpha", ("cutmix_alpha", "mixup_alpha")),
        ("train.lr_decay", ("step_gamma", "epoch_gamma")),
        ("loss_mixx.focal", ("loss_mix",)),
    ],
)
def test_a_misspelt_or_ambiguous_name_has_near_ones(name: str, near: tuple[str, ...]):
    assert nearest(name, parameter_names()) == near


@pytest.mark.parametrize(
    ("key", "instead"),
    [
        ("count", "Write run_cap"),
        ("n_trials", "Write run_cap"),
        ("dataset", "Write data: {source: ...}"),
        ("learning_rate", "Write lr under parameters"),
        ("lr", "Write lr under parameters"),
        ("num_epochs", "Write epochs under parameters"),
        ("colour", None),
        ("hidden_size", None),
    ],
)
def test_a_key_of_others_says_what_to_write(key: str, instead: str | None):
    assert top_key_of(key) == instead


# names of the training scripts of timm, torchvision and Lightning that look like one of ours
@pytest.mark.parametrize(
    "name",
    [
        *("bn_momentum", "norm_weight_decay", "checkpoint_hist", "mixup_off_epoch", "lr_base"),
        *("cooldown_epochs", "warmup_lr", "drop_block", "class_map", "cutmix_minmax", "crop_pct"),
        *("aug_splits", "test_epochs", "base_size", "ratio", "remode", "margin", "temperature"),
        *(
            "weight_0",
            "class_weight_boost",
            "lr.first",
            "scheduler.verbose_lr",
            "model_ema_steps",
            "a",
            "x",
            "k",
        ),
    ],
)
def test_a_name_that_only_looks_alike_is_not_offered(name: str):
    assert meaning_of(name) is None
    assert nearest(name, parameter_names()) == ()


def test_at_most_three_names_are_offered():
    near = nearest("step_epoch", [f"step_epochs{number}" for number in range(9)])
    assert len(near) == 3


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("learning_rate", "It is called lr here"),
        ("gamma", "Did you mean 'step_gamma', 'epoch_gamma' or 'focal_gamma'?"),
        ("alpha", "Did you mean 'cutmix_alpha' or 'mixup_alpha'?"),
        ("backbon", "Did you mean 'backbone'?"),
    ],
)
def test_an_unknown_parameter_is_told_its_right_name(name: str, text: str):
    assert unknown_parameter(name) == f"unknown parameter. {text}"


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        *[
            (name, "valid/accuracy")
            for name in ("val_acc", "val/accuracy", "Val/Acc", "valAcc", "best_val_acc", "acc")
        ],
        *[
            (name, "valid/accuracy")
            for name in (
                "test.accuracy",
                "eval_top1",
                "val/acc@1",
                "epoch/val_acc",
                "phase2/val_acc",
            )
        ],
        *[(name, "valid/log_loss") for name in ("val_loss", "loss", "validation-loss", "eval/nll")],
        *[(name, "valid/f1") for name in ("f1", "val_f1_score", "f1_macro", "valid_macro_f1")],
        *[(name, "valid/log_loss") for name in ("val_total_loss", "testing_loss")],
        ("val_balanced_accuracy", "valid/balanced_accuracy"),
        *[(name, None) for name in ("train_loss", "train/acc", "val_auc", "kappa", "score")],
        *[(name, None) for name in ("meta/acc", "train/acc", "teacher/val_auc")],
        *[(name, None) for name in ("val_f1_weighted", "micro_f1", "val_top5", "")],
    ],
)
def test_a_metric_of_others_has_ours_if_it_measures_the_same(name: str, ours: str | None):
    assert metric_of(name) == ours
