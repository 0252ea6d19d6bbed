"""The fields of the optimizer, its step, and the learning rate."""

from typing import Annotated, Literal

from pydantic import BaseModel

from trainer.fields.declare import about

SchedulerName = Literal[
    "none",
    "step",
    "multistep",
    "exponential",
    "cosine",
    "one_cycle",
    "cyclic",
    "plateau",
    "two_stage",
]

# The optimizers that take weight decay off the weights themselves and not into the gradient; with a
# gradient of 0 a weight shrinks by lr * weight_decay of itself per step.
DECOUPLED = frozenset(
    {
        *("adabelief", "adafactor", "adafactorbv", "adafactorbvc", "adamc", "adamuon", "adamw"),
        *("adamwlegacy", "adan", "adanw", "adoptc", "adoptw", "cadafactor", "cadafactorbv"),
        *("cadafactorbvc", "cadamc", "cadamw", "cadan", "cadanw", "cadoptc", "cadoptw", "clambw"),
        *("claprop", "clion", "clionc", "cmars", "cnadamc", "cnadamw", "csgdc", "csgdp", "csgdw"),
        *("lambc", "lambcd", "lambcw", "lambw", "laprop", "lapropc", "lion", "lionc", "mars"),
        *("muon", "nadamc", "nadamuon", "nadamw", "nesterovw", "nmuon", "novogradc", "novogradw"),
        *("radabelief", "radamlegacy", "radamw", "rmsproptfc", "rmsproptfw", "sgdc", "sgdp"),
        "sgdw",
    }
)
DECOUPLED_DECAY = 0.01  # torch's default for AdamW


class OptimizerFields(BaseModel):
    """Optimizer"""

    optimizer: Annotated[
        str,
        about(
            "adam, adamw, sgd, rmsprop, radam, lion, madgrad, or any other optimizer of timm by "
            "name.",
            min_length=1,
        ),
    ] = "adamw"
    lr: Annotated[
        float, about("Learning rate; the highest one a scheduler reaches.", gt=0, le=10)
    ] = 1e-3
    weight_decay: Annotated[
        float | None,
        about(
            "Weight decay; not applied to norms, biases and what a model exempts. null: 0.01 for "
            "optimizers that decouple it from the gradient (adamw, lion, nadamw and others of "
            "timm), 0 for all others.",
            source="Loshchilov and Hutter 2019; 0.01 is torch's default for AdamW",
            ge=0,
            le=1,
        ),
    ] = None
    momentum: Annotated[
        float,
        about(
            "Momentum of sgd, rmsprop and madgrad; first beta of the adam family and lion.",
            ge=0,
            lt=1,
        ),
    ] = 0.9
    nesterov: Annotated[
        bool, about("sgd: look ahead along the momentum.", source="Sutskever et al. 2013")
    ] = True
    layer_decay: Annotated[
        float,
        about(
            "Factor of the learning rate from each layer to the one before it; 1: the same "
            "everywhere.",
            source="Clark et al. 2020 (ELECTRA); Bao et al. 2022 (BEiT); timm's layer groups",
            gt=0,
            le=1,
        ),
    ] = 1.0
    head_lr_factor: Annotated[
        float, about("The classifier's learning rate as a multiple of lr.", gt=0, le=1_000)
    ] = 1.0
    clip_norm: Annotated[
        float,
        about(
            "Largest norm of all gradients together; 0: not clipped.",
            source="Pascanu et al. 2013",
            ge=0,
        ),
    ] = 0.0
    accumulation: Annotated[
        int,
        about(
            "Equal parts in which a batch goes through the network; batch_size stays the images "
            "per optimizer step. Batch norm and soft_f1 see one part at a time.",
            ge=1,
            le=4_096,
        ),
    ] = 1
    ema: Annotated[
        float,
        about(
            "Decay per step of a moving average of the weights; 0: none. It rises with step t as "
            "1 - (1 + t)^(-2/3) up to this value. The fold is then scored by the average.",
            source="Polyak and Juditsky 1992; timm's ModelEmaV3 with warm-up",
            ge=0,
            lt=1,
        ),
    ] = 0.0


class ScheduleFields(BaseModel):
    """Learning rate schedule"""

    scheduler: Annotated[
        SchedulerName,
        about(
            "How the learning rate moves. none, step, multistep, exponential, cosine, one_cycle "
            "and cyclic are functions of the step; plateau and two_stage also look at the epochs "
            "so far."
        ),
    ] = "cosine"
    warmup_epochs: Annotated[
        float,
        about(
            "Epochs of linear rise from 0 to lr, fractions allowed; not for cyclic and one_cycle.",
            ge=0,
        ),
    ] = 0.0
    min_lr: Annotated[float, about("cosine, plateau: lowest learning rate.", ge=0, le=10)] = 0.0
    step_epochs: Annotated[
        int | None,
        about(
            "step: epochs between two drops. null: the warm-up and a third of the epochs after it, "
            "rounded up, so that the rate drops once or twice.",
            ge=1,
            le=10_000,
        ),
    ] = None
    step_gamma: Annotated[
        float, about("step, multistep, plateau: factor of each drop.", gt=0, le=1)
    ] = 0.1
    milestones: Annotated[
        list[float], about("multistep: epochs after which the rate drops, e.g. [10, 15].")
    ] = []
    epoch_gamma: Annotated[
        float | None,
        about(
            "exponential: factor per epoch. null: the factor that makes the last epoch's rate a "
            "hundredth of the first's, 0.01^(1 / (epochs - 1)).",
            gt=0,
            le=1,
        ),
    ] = None
    restart_epochs: Annotated[
        float,
        about(
            "cosine: epochs of the first cycle; 0: one cycle over all epochs.",
            source="Loshchilov and Hutter 2017",
            ge=0,
        ),
    ] = 0.0
    restart_factor: Annotated[
        float, about("cosine: how much longer each cycle is than the one before.", ge=1, le=100)
    ] = 1.0
    rise: Annotated[
        float,
        about(
            "one_cycle: share of all steps with a rising rate, from lr / 25; it falls to lr / "
            "250,000.",
            source="Smith and Topin 2018; torch's OneCycleLR, without its cycle of the momentum",
            gt=0,
            lt=1,
        ),
    ] = 0.3
    base_lr: Annotated[
        float | None,
        about(
            "cyclic: lowest learning rate; the highest is lr. null: lr / 100.",
            source="mask project: 1e-5 to 1e-3",
            gt=0,
            le=10,
        ),
    ] = None
    cycle_epochs: Annotated[
        float | None,
        about(
            "cyclic: epochs of one rise and fall (triangular). null: as many whole cycles of at "
            "least 2 epochs as fit, so that the last one ends with training.",
            source="Smith 2017",
            gt=0,
        ),
    ] = None
    plateau_patience: Annotated[
        int,
        about(
            "plateau: epochs without improvement of `monitor` by `min_delta` before a drop.",
            ge=1,
            le=10_000,
        ),
    ] = 2
    second_lr: Annotated[
        float,
        about(
            "two_stage: the rate of the second stage, which starts from the state after the best "
            "epoch (by validation loss) if a gap ended the first.",
            source="product images project: 1e-4, then 1e-7",
            gt=0,
            le=10,
        ),
    ] = 1e-7
    second_gap: Annotated[
        float,
        about(
            "two_stage: the first stage ends when the network overfits: validation loss minus the "
            "loss of training images, measured alike, exceeds its smallest value so far by more "
            "than this, and the validation loss is above its best; 0: only second_epoch ends it.",
            ge=0,
        ),
    ] = 0.1
    second_patience: Annotated[
        int,
        about(
            "two_stage: epochs in a row, after the warm-up, that must overfit to end the first "
            "stage.",
            ge=1,
            le=10_000,
        ),
    ] = 1
    second_epoch: Annotated[
        int,
        about(
            "two_stage: the first epoch of the second stage at the latest; 0: only the gap "
            "decides.",
            ge=0,
        ),
    ] = 0
