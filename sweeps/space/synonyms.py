"""The names that other sweep files give to our parameters and metrics, and what is near a name.

The names come from public W&B sweep files and from the arguments of the training scripts of timm,
torchvision and Lightning. Case and the marks between words do not matter: `learning-rate` is
`learning_rate`.
"""

import dataclasses
import difflib
import re
from collections.abc import Iterable

from trainer.config import TrainConfig

# our parameter -> what others call it
NAMES = {
    "accumulation": "accum_iter accum_steps accumulate_grad_batches accumulation_steps grad_accum "
    "grad_accum_steps gradient_accumulation gradient_accumulation_steps num_accum",
    "backbone": "arch architecture base_model cnn encoder encoder_name feature_extractor model "
    "model_arch model_encoder model_name model_name_or_path model_type net network "
    "pretrained_model timm_model",
    "batch_size": "batch batch_sz bs mini_batch_size per_device_train_batch_size train_batch_size "
    "train_bs",
    "class_weights": "class_weight use_class_weights weighted_loss",
    "blur": "blur_prob gaussian_blur gaussian_blur_prob",
    "clip_norm": "clip clip_grad clip_grad_norm grad_clip gradient_clip gradient_clip_val "
    "gradient_clipping max_grad_norm max_norm",
    "cutmix": "cutmix_p cutmix_prob use_cutmix",
    "drop_path": "drop_connect drop_connect_rate drop_path_prob drop_path_rate "
    "stochastic_depth stochastic_depth_prob",
    "dropout": "classifier_dropout drop drop_prob drop_rate dropout_p dropout_prob dropout_rate "
    "head_dropout p_dropout",
    "ema": "ema_decay ema_rate model_ema model_ema_decay",
    "epochs": "epoch max_epoch max_epochs n_epoch n_epochs num_epoch num_epochs num_train_epochs "
    "total_epochs",
    "erasing": "erasing_p erasing_prob random_erase random_erasing reprob",
    "flip": "flip_p flip_prob fliplr hflip hflip_prob horizontal_flip p_flip random_flip "
    "random_horizontal_flip",
    "flip_vertical": "flipud random_vertical_flip vertical_flip vflip vflip_prob",
    "focal_gamma": "fl_gamma focal_loss_gamma gamma_focal",
    "freeze": "feature_extract freeze_backbone freeze_encoder freeze_layers frozen",
    "grey": "gray grayscale grayscale_prob grey_scale",
    "head_lr_factor": "head_lr_mult lr_mult",
    "layer_decay": "layer_lr_decay layerwise_lr_decay llrd llrd_lr_decay_rate lr_layer_decay",
    "jitter": "color_jitter_prob jitter_prob",
    "loss": "criterion loss_fn loss_func loss_function loss_name loss_type objective",
    "lr": "backbone_lr base_learning_rate eta init_learning_rate init_lr initial_learning_rate "
    "initial_lr learn_rate learning_rate lr0 lr_backbone lr_init max_learning_rate max_lr peak_lr "
    "start_lr",
    "milestones": "decay_milestones",
    "min_lr": "eta_min lr_min min_learning_rate",
    "mixup": "mixup_p mixup_prob use_mixup",
    "momentum": "adam_beta1 beta1 mom sgd_momentum",
    "normalise": "normalization normalize",
    "optimizer": "opt optim optimiser optimizer_name optimizer_type",
    "patience": "early_stop early_stopping early_stopping_patience es_patience",
    "plateau_patience": "lr_patience patience_epochs reduce_lr_patience scheduler_patience",
    "pooling": "global_pool pool pool_type",
    "resampling": "interpolation",
    "resize": "crop_size im_size image_dim image_resolution image_size img_dim img_resize img_size "
    "imgsz input_resolution input_size resolution size target_size "
    "train_crop_size train_size",
    "restart_epochs": "t_0",
    "restart_factor": "t_mult",
    "rise": "pct_start",
    "rotate": "degrees max_rotation random_rotation rotate_limit rotation rotation_degrees "
    "rotation_range",
    "sampling": "balanced_sampler sampler weighted_sampler",
    "scheduler": "lr_policy lr_schedule lr_scheduler lr_scheduler_type sched schedule "
    "scheduler_name scheduler_type",
    "smoothing": "label_smooth label_smoothing ls",
    "shift": "shift_limit",
    "step_epochs": "decay_epochs lr_decay_epochs lr_step lr_step_size step_size",
    "step_gamma": "decay_rate lr_decay_factor lr_decay_rate lr_factor lr_gamma reduce_lr_factor "
    "scheduler_factor",
    "trivial": "trivial_augment",
    "tta": "test_time_augmentation use_tta",
    "unfreeze_epoch": "freeze_epochs frozen_epochs unfreeze_at unfreeze_epochs",
    "warmup_epochs": "lr_warmup_epochs num_warmup_epochs warmup",
    "weight_decay": "l2 l2_coeff l2_lambda l2_penalty l2_reg wd weight_reg",
    "weights": "is_pretrained pretrain pretrained pretrained_weights use_pretrained",
}
# what a user should know who writes our name instead
REMARKS = {
    "accumulation": "batch_size stays the images of one optimizer step",
    "flip": "a probability",
    "resize": "224, or HxW such as 280x210",
    "smoothing": "it counts with loss: label_smoothing",
    "weights": "pretrained, none, or a file",
}
# names without a parameter of ours -> what to do instead
ELSEWHERE = {
    "every seed derives from the top-level key seed": "manual_seed random_seed random_state seed",
    "each trial trains all folds; how many is folds: {k: 5} at the top": "cv cv_folds fold "
    "fold_id fold_number folds k_folds kfold n_fold n_folds n_splits num_fold num_folds "
    "num_splits",
    "every image is held out once, see folds at the top": "split test_size test_split train_ratio "
    "train_split val_ratio val_size val_split valid_size validation_size validation_split",
    "it is data: {source: ...} at the top": "csv data data_dir data_path data_root dataset "
    "dataset_name dataset_path image_dir img_dir path_to_dataset root root_dir test_dir train_csv "
    "train_dir train_path val_dir valid_dir",
    "the classes are those of the data": "classes n_classes num_class num_classes num_labels "
    "output_size",
    "it is resources: {gpu: 1, cpu: 4} at the top": "accelerator cuda device devices gpu gpus "
    "n_gpu n_workers num_gpus num_workers pin_memory workers",
    "there is none, networks run in bfloat16 on a GPU, else in float32": "amp fp16 half "
    "mixed_precision precision use_amp",
    "there is none, a trial is reported and kept as the top-level keys say": "debug entity "
    "exp_name experiment experiment_name log_interval log_model logging notes output_dir "
    "print_freq project project_name resume run_name save_best_model save_dir save_model "
    "start_epoch tags val_epochs verbose wandb wandb_log wandb_mode wandb_name wandb_project "
    "wandb_run",
    "there is none, the backbone is built as timm has it": "activation activation_function "
    "activations batch_norm conv_layers depth depths embed_dim embedding_dim "
    "fc_layer_size filters hidden_dim hidden_layer_size hidden_layers hidden_size hidden_sizes "
    "hidden_units init_type initialization kernel_size kernel_sizes layers mlp_ratio n_filters "
    "n_hidden n_layers nhead num_filters num_heads num_layers patch_size units use_batch_norm "
    "weight_init weights_init width window_size",
    "it is head_lr_factor, a multiple of lr": "classifier_lr head_lr lr_head",
    "it is warmup_epochs, in epochs": "num_warmup_steps warmup_ratio warmup_steps",
    "there is none, the optimizer has timm's default": "adam_beta2 adam_epsilon amsgrad beta2 "
    "betas eps epsilon",
    "there is no switch: flip, affine, jitter, resized_crop, erasing, trivial and others are "
    "probabilities": "aa aug augment augmentation augmentations auto_aug auto_augment color_jitter "
    "colour_jitter rand_augment randaug transform transforms use_aug use_augmentation",
    "there is none, one cosine cycle takes all epochs": "t_max",
}
# our key of the top level -> what others call it there
TOP = {
    "budget: {hours: ...}": "hours max_hours max_time time_limit timeout",
    "data: {source: ...}": "data_dir data_path dataset dataset_path source",
    "folds: {k: ...}": "cv k k_folds n_folds n_splits num_folds",
    "metric: {name: ..., goal: ...}": "direction goal metrics objective",
    "resources: {gpu: ..., cpu: ...}": "cpus gpus num_gpus resources_per_trial",
    "run_cap": "count max_runs max_trials n_trials num_runs num_samples num_trials runs trials",
    "sampler": "algorithm algo search_alg search_algorithm",
}

NO_PARAMETERS = ("metric", "metric_goal", "seed")  # fields that a sweep sets itself
SEVERAL = 3  # the largest number of near names in one message
MISSPELT = 0.82  # similarity of two names, of which one may be a misspelt one
MAPPINGS = ("freeze", "head_crops", "head_weights", "loss_mix")  # our parameters with entries
# names that may mean one of several parameters
AMBIGUOUS = {
    "alpha": ("cutmix_alpha", "mixup_alpha"),
    "decay": ("weight_decay", "layer_decay"),
    "gamma": ("step_gamma", "epoch_gamma", "focal_gamma"),
    "lrdecay": ("step_gamma", "epoch_gamma"),
    "schedulergamma": ("step_gamma", "epoch_gamma"),
}
_KINDS = ("class", "id", "kind", "name", "target", "type")  # model.name means the model

# words around the name of a metric that do not change what it measures
AROUND = (
    "avg average best cv dev epoch eval evaluation final held last max mean metric metrics min oof "
    "out overall score test testing total val valid validation"
)
OF_HELD_OUT = frozenset(("dev", "eval", "test", "testing", "val", "valid", "validation"))
METRICS = {
    "valid/accuracy": "acc acc1 accuracy acc@1 accuracy@1 top1 top1acc top1accuracy",
    "valid/balanced_accuracy": "balancedacc balancedaccuracy bacc macroaccuracy",
    "valid/ece": "calibrationerror ece",
    "valid/f1": "f1 f1macro fmeasure fscore macrof1",
    "valid/log_loss": "ce celoss crossentropy crossentropyloss logloss loss nll nllloss",
}


@dataclasses.dataclass(frozen=True)
class Meaning:
    """What the name of another program's parameter means here.

    Attributes:
        field: our parameter, or None.
        text: what to write, as a sentence without its full stop.
    """

    field: str | None
    text: str


def meaning_of(name: str) -> Meaning | None:
    """What a parameter's name means here; None if the tables do not know it.

    Of a dotted name, the last two words together count, or the last one; in `model.name`, the
    first.

    Example:
        >>> meaning_of("learning_rate").field, meaning_of("optimizer.name").field
        ('lr', 'optimizer')
    """
    parents, dot, last = name.rpartition(".")
    fields = [field for field in TrainConfig.model_fields if field not in NO_PARAMETERS]
    if dot:
        if word(last) in _KINDS:
            return _of_group(parents.rpartition(".")[2])
        # warmup.epochs is warmup_epochs, and not epochs
        together = meaning_of(f"{parents.rpartition('.')[2]}_{last}")
        if together is not None and together.field is not None:
            return Meaning(together.field, f"It is called {together.field} here, and is not nested")
        if last in fields:
            return Meaning(last, f"It is called {last} here, without {parents}")
    field = {word(ours): ours for ours in fields}.get(word(last)) or _FIELDS.get(word(last))
    if field is not None:
        remark = f" ({REMARKS[field]})" if field in REMARKS else ""
        return Meaning(field, f"It is called {field} here{remark}")
    text = _ELSEWHERE.get(word(last))
    return Meaning(None, f"{text[0].upper()}{text[1:]}") if text else None


def _of_group(group: str) -> Meaning | None:
    """What `group.name` means: what the group is called here."""
    if group in TrainConfig.model_fields:
        return Meaning(group, f"It is called {group} here, and is not nested")
    return meaning_of(group)


def top_key_of(key: str) -> str | None:
    """What to write instead of an unknown key of the top level; None if the tables do not know it.

    Example:
        >>> top_key_of("n_trials"), top_key_of("learning_rate")
        ('Write run_cap', 'Write lr under parameters')
    """
    ours = _TOP.get(word(key))
    if ours is not None:
        return f"Write {ours}"
    meaning = meaning_of(key) if "." not in key else None
    field = key if key in TrainConfig.model_fields else meaning and meaning.field
    return f"Write {field} under parameters" if field else None


def metric_of(name: str) -> str | None:
    """The metric of ours that is called `name` elsewhere, or None.

    Metrics of the training images are none of ours.

    Example:
        >>> metric_of("Val/Acc"), metric_of("best_val_loss"), metric_of("train_loss")
        ('valid/accuracy', 'valid/log_loss', None)
    """
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()
    words = re.findall(r"[a-z0-9@]+", spaced)
    ours = _METRICS.get("".join(part for part in words if part not in _AROUND))
    last = spaced.rpartition("/")[2]
    if ours is None and last != spaced and OF_HELD_OUT.intersection(re.findall("[a-z]+", last)):
        return metric_of(last)  # phase2/val_acc
    return ours


def nearest(name: str, known: Iterable[str]) -> tuple[str, ...]:
    """At most three known names that `name` may stand for: it is misspelt, or may mean several.

    A name that only looks alike is left out: it would be another thing.

    Example:
        >>> nearest("backbon", ["backbone", "lr"]), nearest("alpha", [])
        (('backbone',), ('cutmix_alpha', 'mixup_alpha'))
    """
    last = name.rpartition(".")[2]
    if word(last) in AMBIGUOUS:
        return AMBIGUOUS[word(last)]
    by_word = {word(other): other for other in known if not _is_another(last, other)}
    near = difflib.get_close_matches(word(last), list(by_word), n=SEVERAL, cutoff=MISSPELT)
    if not near and last != name:  # an entry of a mapping
        near = difflib.get_close_matches(name.partition(".")[0], MAPPINGS, n=1, cutoff=MISSPELT)
        return tuple(near)
    return tuple(by_word[other] for other in near)


def _is_another(name: str, known: str) -> bool:
    """Whether the words show that a name is no misspelt `known`.

    It has more words (`bn_momentum` is no momentum, `weight_0` no weights), or only some of them.
    """
    words, others = (re.findall(r"[a-z0-9]+", each.lower()) for each in (name, known))
    return len(words) > len(others) or set(words) < set(others)


def word(name: str) -> str:
    """A name without the differences that do not matter: lower case, no marks between words."""
    return re.sub(r"[\s_.\-/]", "", name.lower())


def _by_word(table: dict[str, str]) -> dict[str, str]:
    """From the word of others to ours, for a table from ours to the words of others."""
    return {word(other): ours for ours, others in table.items() for other in others.split()}


_FIELDS = _by_word(NAMES)
_ELSEWHERE = _by_word(ELSEWHERE)
_TOP = _by_word(TOP)
_AROUND = frozenset(AROUND.split())
_METRICS = {other: ours for ours, others in METRICS.items() for other in others.split()}
