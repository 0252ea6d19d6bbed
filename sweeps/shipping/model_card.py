"""The model card of a packed model: what it predicts, how well, from which data, and its limits.

The functions turn facts into Markdown. They are pure, except `card_of`, which reads the
out-of-fold predictions.

Shapes: N scored images, K classes.
"""

import dataclasses
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sweeps.results.metric import Predicted
from sweeps.results.resampling import Interval
from sweeps.shipping.shipped import Shipped
from trainer.data.fold_column import HOLDOUT

if TYPE_CHECKING:
    from trainer.prediction.fold_model import FoldModel

MOST_CLASSES = 30  # of more classes, the table of mistakes has the most frequent mistakes only
MOST_MISTAKES = 20
RANDOM = "random weights"
FEW = 10  # images; with fewer, a class is a guess
WIDTH = 100  # characters of a line
RULES = {
    "argmax": "The most probable class is predicted.",
    "f1": "The class is predicted that adds most to macro-F1, which favours rare classes.",
    "balanced_accuracy": "The class is predicted that adds most to balanced accuracy.",
}
Ints = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class MemberFacts:
    """One member, for the card.

    Attributes:
        name: how a person knows it, e.g. "trial 12".
        models: the number of its models.
        size: height and width of the images that it gets.
        began_with: what its training began with, e.g. the name of pretrained weights.
        licence: the licence of these weights; None if it is not known or there are none.
    """

    name: str
    weight: float
    models: int
    backbone: str
    size: str
    began_with: str
    licence: str | None


@dataclasses.dataclass(frozen=True)
class CardFacts:
    """What a model card is made of.

    Attributes:
        title: what is packed, e.g. "the ensemble" or "trial 12".
        version: the version of foldsweep.
        expected: the honest estimate on new groups; None if there is none.
        oof_score: the score over all out-of-fold predictions.
        classes: the K class names.
        confusion_KK: images by actual class (rows) and predicted class, out of fold.
        groups: the number of groups of the scored images; None without groups.
        holdout: the number of images of the holdout.
        source: the source of the data, as the search space names it.
        refit: whether the models were trained on all images.
        onnx: whether there are ONNX files.
    """

    sweep: str
    title: str
    version: str
    metric: str
    expected: Interval | None
    oof_score: float
    classes: tuple[str, ...]
    confusion_KK: Ints
    folds: int
    groups: int | None
    holdout: int
    source: str
    members: Sequence[MemberFacts]
    rule: str
    refit: bool
    onnx: bool


def card_of(
    shipped: Shipped,
    models: Mapping[str, Sequence["FoldModel"]],
    *,
    source: str,
    refit: bool,
    onnx: bool,
) -> CardFacts:
    """Return the facts about a mixture and its models.

    Raises:
        DataError, InputError: out-of-fold predictions of a member are missing or damaged.
    """
    from trainer.model.weights_header import foldsweep_version

    folds = shipped.folds
    manifest = folds.manifest
    rows = folds.scored_rows()
    probs_NK = shipped.oof()
    class_N = shipped.mixture.decision.of(probs_NK)
    labels_N = manifest.labels_N[rows]
    confusion_KK = np.zeros((len(manifest.classes),) * 2, dtype=np.int64)
    np.add.at(confusion_KK, (labels_N, class_N), 1)
    groups = manifest.groups
    return CardFacts(
        sweep=shipped.sweep,
        title=shipped.title,
        version=foldsweep_version(),
        metric=shipped.metric.name,
        expected=shipped.expected,
        oof_score=shipped.metric.score(Predicted(probs_NK, class_N), labels_N),
        classes=manifest.classes,
        confusion_KK=confusion_KK,
        folds=folds.k,
        groups=None if groups is None else len({groups[row] for row in rows.tolist()}),
        holdout=int((folds.fold_N == HOLDOUT).sum()),
        source=source,
        members=[
            _member(shipped.names[member.name], member.weight, models[member.name])
            for member in shipped.mixture.members
        ],
        rule=shipped.mixture.decision.rule,
        refit=refit,
        onnx=onnx,
    )


def _member(name: str, weight: float, models: Sequence["FoldModel"]) -> MemberFacts:
    from trainer.model.backbone import pretrained_origin

    config = models[0].header.config
    origin = pretrained_origin(config)
    if origin is not None:
        began_with, licence = f"pretrained weights {origin[0]}", origin[1]
    else:
        began_with, licence = _other_weights(config.weights), None
    height, width = config.size_HW
    return MemberFacts(
        name, weight, len(models), config.backbone, f"{height} x {width}", began_with, licence
    )


def _other_weights(weights: str) -> str:
    if weights == "none":
        return RANDOM
    return "weights of the backbone's own" if weights == "pretrained" else "a file of weights"


def model_card(facts: CardFacts) -> str:
    """Return the model card as Markdown."""
    sections = (
        _head(facts),
        _expectation(facts),
        _members(facts),
        _data(facts),
        _mistakes(facts),
        _licences(facts),
        _limits(facts),
    )
    return "\n".join(line for section in sections for line in (*section, "")).rstrip("\n") + "\n"


def _head(facts: CardFacts) -> Iterator[str]:
    shown = ", ".join(facts.classes[:10]) + (", ..." if len(facts.classes) > 10 else "")
    yield f"# {facts.sweep}: {facts.title}"
    yield ""
    yield from _prose(
        f"Says which of {len(facts.classes):,} classes an image shows: {shown}. Trained and packed "
        f"by foldsweep {facts.version}."
    )
    yield ""
    yield "    python -m trainer.predict MODEL IMAGES > predictions.csv"
    yield ""
    yield from _prose(
        "MODEL is this folder, IMAGES a folder of images or a CSV with their paths. It needs the "
        "package `trainer` of foldsweep; no network connection, no database and no GPU."
    )
    if facts.onnx:
        yield ""
        yield from _prose(
            "Each `.onnx` file is one model. Its input is the pixels of prepared images, uint8 "
            "(images, height, width, red-green-blue); its output is the probability of each class. "
            "How the models are mixed is in mixture.json."
        )


def _expectation(facts: CardFacts) -> Iterator[str]:
    yield "## What to expect"
    yield ""
    if facts.expected is None:
        yield from _prose(
            f"{facts.metric} over all out-of-fold predictions: {facts.oof_score:.4f}. Each image "
            "was predicted by a model that did not see it. There is no honest estimate for this "
            "choice of models: if they were chosen by their score, the score is too good."
        )
    else:
        yield from _estimate(facts, facts.expected)
    if facts.refit:
        yield ""
        yield from _prose(
            "The models in this folder were trained on all images, so they have no score of their "
            "own: the numbers are those of the fold models with the same configurations."
        )


def _estimate(facts: CardFacts, expected: Interval) -> Iterator[str]:
    unit = "images" if facts.groups is None else "groups"
    yield from _prose(
        f"**{facts.metric} on new {unit}: {expected.value:.4f}, with 95 % certainty between "
        f"{expected.low:.4f} and {expected.high:.4f}.**"
    )
    yield ""
    yield from _prose(
        "For this number, the choice of models was repeated without the images that were then "
        f"predicted. It rests on the evidence of about {expected.evidence:.0f} {unit}, and holds "
        "for images like those of the training data. It is the score of single fold models, and so "
        "a floor for their average. Over all out-of-fold predictions the score is "
        f"{facts.oof_score:.4f}, which flatters."
    )


def _members(facts: CardFacts) -> Iterator[str]:
    yield "## Members"
    yield ""
    yield "| member | weight | models | backbone | image size | training began with |"
    yield "|---|---|---|---|---|---|"
    for m in facts.members:
        yield (
            f"| {m.name} | {m.weight:.3f} | {m.models} | {m.backbone} | {m.size} | {m.began_with} |"
        )
    yield ""
    yield from _prose(
        "The models of a member are calibrated and averaged, then the members by their weights. "
        + RULES[facts.rule]
    )


def _data(facts: CardFacts) -> Iterator[str]:
    images = int(facts.confusion_KK.sum())
    groups = "" if facts.groups is None else f" of {facts.groups:,} groups"
    yield "## Data"
    yield ""
    yield f"{images:,} images{groups} from {facts.source}, in {facts.folds} folds."
    if facts.groups is not None:
        yield "No group is in two folds."
    if facts.holdout:
        yield f"{facts.holdout:,} more images are a holdout that no fold model saw."
    yield ""
    yield "| class | images | recall | precision | F1 |"
    yield "|---|---|---|---|---|"
    confusion_KK = facts.confusion_KK
    right_K = np.diag(confusion_KK)
    actual_K = confusion_KK.sum(axis=1)
    predicted_K = confusion_KK.sum(axis=0)
    for k, name in enumerate(facts.classes):
        right, actual, predicted = int(right_K[k]), int(actual_K[k]), int(predicted_K[k])
        yield (
            f"| {_cell(name)} | {actual:,} | {_share(right, actual)} | "
            f"{_share(right, predicted)} | {_share(2 * right, actual + predicted)} |"
        )


def _mistakes(facts: CardFacts) -> Iterator[str]:
    yield "## Mistakes"
    yield ""
    if len(facts.classes) <= MOST_CLASSES:
        numbers = range(len(facts.classes))
        yield "Out-of-fold predictions: a row per actual class, a column per predicted class."
        yield ""
        yield f"| | {' | '.join(map(str, numbers))} |"
        yield f"|---|{'---|' * len(facts.classes)}"
        for k, name in enumerate(facts.classes):
            counts = " | ".join(f"{count:,}" for count in facts.confusion_KK[k].tolist())
            yield f"| {k} {_cell(name)} | {counts} |"
        return
    yield "The most frequent mistakes of the out-of-fold predictions:"
    yield ""
    yield "| actual | predicted | images |"
    yield "|---|---|---|"
    yield from (
        f"| {_cell(facts.classes[actual])} | {_cell(facts.classes[predicted])} | {count:,} |"
        for actual, predicted, count in most_mistakes(facts.confusion_KK, most=MOST_MISTAKES)
    )


def most_mistakes(confusion_KK: Ints, *, most: int) -> list[tuple[int, int, int]]:
    """Return the pairs of classes that are mistaken most often: actual, predicted, images.

    Example:
        >>> most_mistakes(np.array([[8, 2, 0], [3, 5, 0], [0, 1, 9]]), most=2)
        [(1, 0, 3), (0, 1, 2)]
    """
    wrong_KK = confusion_KK - np.diag(np.diag(confusion_KK))
    pairs = [(int(a), int(p), int(wrong_KK[a, p])) for a, p in np.argwhere(wrong_KK > 0)]
    return sorted(pairs, key=lambda pair: (-pair[2], pair))[:most]


def _licences(facts: CardFacts) -> Iterator[str]:
    yield "## Licences"
    yield ""
    for began_with, licence in dict.fromkeys((m.began_with, m.licence) for m in facts.members):
        if began_with == RANDOM:
            yield f"- {RANDOM}: no licence"
        elif licence is None:
            yield f"- {began_with}: not known. Ask where they come from"
        else:
            yield f"- {began_with}: {licence}, as timm states it{_restriction(licence)}"
    yield ""
    yield from _prose(
        "Pretrained weights may carry conditions of the data that they were trained on, and so may "
        "the training images. Nobody has checked either for this card."
    )


def _restriction(licence: str) -> str:
    return ". **Not for commercial use**" if "-nc" in licence.lower() else ""


def _limits(facts: CardFacts) -> Iterator[str]:
    actual_K = facts.confusion_KK.sum(axis=1).tolist()
    rare = [name for name, count in zip(facts.classes, actual_K, strict=True) if count < FEW]
    limits = [
        "For images like those of the training data: taken, cropped and selected in the same way.",
        "Every image gets one of the classes above, also an image that shows none of them.",
        "A probability is calibrated on the training data. Where the classes have other shares, it "
        "is off.",
        "An image that cannot be read gets the shares of the classes in the training data.",
        *([f"A guess, with fewer than {FEW} images: {', '.join(rare)}."] if rare else []),
        "Before decisions about people, measure how the mistakes differ between groups of people. "
        "This card does not say it.",
    ]
    yield "## Intended use and limits"
    yield ""
    for limit in limits:
        yield from _prose(limit, bullet="- ")


def _prose(text: str, *, bullet: str = "") -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=bullet,
        subsequent_indent=" " * len(bullet),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.3f}" if whole else "-"
