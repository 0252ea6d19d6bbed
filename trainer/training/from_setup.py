"""What follows from the setup of a training: heads, loss, batches of images, header of weights."""

from functools import partial

from trainer.config import TrainConfig
from trainer.data.folds import Folds
from trainer.fields.declare import is_user_function
from trainer.images.batches import Batches, MeanStd
from trainer.learning.losses import HeadsLoss, build_loss
from trainer.model.backbone import normalisation
from trainer.model.heads import Heads
from trainer.model.weights_header import WeightsHeader, foldsweep_version
from trainer.training.fold_setup import TrainingSetup
from trainer.user_code import call_loss, load_user_function


def heads_of(config: TrainConfig, folds: Folds) -> Heads:
    """Return one head for all joint classes, or one head per label column (`heads: separate`)."""
    manifest = folds.manifest
    return (
        Heads.joint(len(manifest.classes)) if config.heads == "joint" else Heads.separate(manifest)
    )


def loss_of(setup: TrainingSetup, heads: Heads) -> HeadsLoss:
    """Return the loss of the configuration, with class weights from the training rows."""
    name = setup.config.loss
    return build_loss(
        setup.config,
        heads,
        labels_N=setup.folds.manifest.labels_N[setup.train_rows],
        device=setup.device,
        user_loss=partial(call_loss, load_user_function(name, setup.code), reference=name)
        if is_user_function(name)
        else None,
    )


def mean_std_of(setup: TrainingSetup) -> MeanStd:
    """Return mean and standard deviation of the pixels, by which images are normalised.

    `normalise: dataset` measures them on the training rows: they must not depend on the held-out
    fold.
    """
    if setup.config.normalise == "dataset":
        return setup.images[0].channel_sums(setup.train_rows).mean_std()
    return normalisation(setup.config)


def batches_of(setup: TrainingSetup, mean_std: MeanStd) -> list[Batches]:
    """Return the batches of each view of the images, on the device."""
    images = setup.images
    return [Batches(view, device=setup.device, mean_std=mean_std, beside=images) for view in images]


def header_of(setup: TrainingSetup, mean_std: MeanStd) -> WeightsHeader:
    """Return the header of the weights that the training writes."""
    manifest = setup.folds.manifest
    return WeightsHeader(
        config=setup.config.settled(),
        classes=manifest.classes,
        label_columns=manifest.label_columns,
        class_parts=manifest.class_parts,
        mean_std=mean_std,
        reading=manifest.reading,
        fold=setup.held_out,
        version=foldsweep_version(),
    )
