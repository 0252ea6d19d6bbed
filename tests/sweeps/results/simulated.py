"""Out-of-fold predictions that no network made: persons with several photos, a few trials."""

import numpy as np

from sweeps.results.ensemble import Library
from sweeps.results.metric import Metric
from trainer.metrics import METRICS
from trainer.prediction.calibration import softmax

F1 = Metric.named("f1", METRICS["f1"])
LOG_LOSS = Metric.named("log_loss", METRICS["log_loss"])
ACCURACY = Metric.named("accuracy", METRICS["accuracy"])


def library(
    *,
    trials: int = 6,
    persons: int = 80,
    photos: int = 3,
    classes: int = 4,
    skill: float = 2.0,
    spread: float = 0.3,
    sharpness: float = 1.0,
    own: float = 0.7,
    seed: int = 0,
) -> Library:
    """Trials that make most mistakes together and some alone; later classes are rarer.

    Args:
        skill: how much the true class stands out; 0 for labels that say nothing.
        spread: standard deviation of the trials' skill.
        own: how large the mistakes of a trial alone are; those of all trials together are 1.4.
        sharpness: above 1 the probabilities are surer than right.
    """
    rng = np.random.default_rng(seed)
    groups_N = np.repeat(np.arange(persons), photos)
    shares_K = 0.6 ** np.arange(classes)
    # every class has persons, whatever is drawn
    class_P = rng.choice(classes, persons, p=shares_K / shares_K.sum())
    class_P[:classes] = np.arange(classes)
    labels_N = class_P[groups_N]
    prior_K = np.log(np.bincount(labels_N, minlength=classes) / len(labels_N))
    common_NK = (
        rng.normal(size=(len(labels_N), classes)) + rng.normal(size=(persons, classes))[groups_N]
    )
    probs = []
    for _ in range(trials):
        logits_NK = prior_K + common_NK + own * rng.normal(size=common_NK.shape)
        logits_NK[np.arange(len(labels_N)), labels_N] += skill + spread * rng.normal()
        probs.append(softmax((sharpness * logits_NK).astype(np.float32)))
    names = [f"made/trial-{number:04d}" for number in range(trials)]
    return Library(names, probs, labels_N, groups_N, (), [10.0 + t for t in range(trials)])
