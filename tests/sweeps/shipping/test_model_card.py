"""The model card, from facts."""

import dataclasses

import numpy as np
import pytest

from sweeps.results.resampling import Interval
from sweeps.shipping.model_card import (
    MOST_CLASSES,
    RULES,
    WIDTH,
    CardFacts,
    MemberFacts,
    model_card,
)

FACTS = CardFacts(
    sweep="mask",
    title="the ensemble",
    version="0.1.0",
    metric="f1",
    expected=Interval(0.7213, 0.7012, 0.7414, 0.01, 86.4),
    oof_score=0.7331,
    classes=("mask / old", "mask / young", "none | old"),
    confusion_KK=np.array([[1200, 3, 0], [20, 70, 10], [2, 0, 5]]),
    folds=5,
    groups=187,
    holdout=0,
    source="data/train.csv",
    members=(
        MemberFacts(
            "trial 12",
            0.75,
            5,
            "resnet18",
            "224 x 168",
            "pretrained weights resnet18.a1_in1k",
            "apache-2.0",
        ),
        MemberFacts("trial 3", 0.25, 4, "my_task.py:net", "64 x 64", "random weights", None),
    ),
    rule="f1",
    refit=False,
    onnx=False,
)
CARD = """\
# mask: the ensemble

Says which of 3 classes an image shows: mask / old, mask / young, none | old. Trained and packed by
foldsweep 0.1.0.

    python -m trainer.predict MODEL IMAGES > predictions.csv

MODEL is this folder, IMAGES a folder of images or a CSV with their paths. It needs the package
`trainer` of foldsweep; no network connection, no database and no GPU.

## What to expect

**f1 on new groups: 0.7213, with 95 % certainty between 0.7012 and 0.7414.**

For this number, the choice of models was repeated without the images that were then predicted. It
rests on the evidence of about 86 groups, and holds for images like those of the training data. It
is the score of single fold models, and so a floor for their average. Over all out-of-fold
predictions the score is 0.7331, which flatters.

## Members

| member | weight | models | backbone | image size | training began with |
|---|---|---|---|---|---|
| trial 12 | 0.750 | 5 | resnet18 | 224 x 168 | pretrained weights resnet18.a1_in1k |
| trial 3 | 0.250 | 4 | my_task.py:net | 64 x 64 | random weights |

The models of a member are calibrated and averaged, then the members by their weights. The class is
predicted that adds most to macro-F1, which favours rare classes.

## Data

1,310 images of 187 groups from data/train.csv, in 5 folds.
No group is in two folds.

| class | images | recall | precision | F1 |
|---|---|---|---|---|
| mask / old | 1,203 | 0.998 | 0.982 | 0.990 |
| mask / young | 100 | 0.700 | 0.959 | 0.809 |
| none \\| old | 7 | 0.714 | 0.333 | 0.455 |

## Mistakes

Out-of-fold predictions: a row per actual class, a column per predicted class.

| | 0 | 1 | 2 |
|---|---|---|---|
| 0 mask / old | 1,200 | 3 | 0 |
| 1 mask / young | 20 | 70 | 10 |
| 2 none \\| old | 2 | 0 | 5 |

## Licences

- pretrained weights resnet18.a1_in1k: apache-2.0, as timm states it
- random weights: no licence

Pretrained weights may carry conditions of the data that they were trained on, and so may the
training images. Nobody has checked either for this card.

## Intended use and limits

- For images like those of the training data: taken, cropped and selected in the same way.
- Every image gets one of the classes above, also an image that shows none of them.
- A probability is calibrated on the training data. Where the classes have other shares, it is off.
- An image that cannot be read gets the shares of the classes in the training data.
- A guess, with fewer than 10 images: none | old.
- Before decisions about people, measure how the mistakes differ between groups of people. This card
  does not say it.
"""


def card(**changes: object) -> str:
    return model_card(dataclasses.replace(FACTS, **changes))  # type: ignore[arg-type]


def test_the_whole_card():
    assert card() == CARD


def test_without_groups_new_images_are_meant():
    text = card(groups=None)
    assert "**f1 on new images: 0.7213" in text
    assert "about 86 images" in text
    assert "1,310 images from data/train.csv, in 5 folds.\n\n" in text


def test_a_choice_without_an_honest_estimate_says_so():
    text = card(expected=None)
    assert "There is no honest estimate for this choice of models" in text.replace("\n", " ")
    assert "f1 over all out-of-fold predictions: 0.7331." in text
    assert "certainty" not in text


def test_models_of_all_images_have_no_score_of_their_own():
    assert "so they have no score of their own" in card(refit=True).replace("\n", " ")
    assert "no score of their" not in card()


def test_onnx_files_are_explained_where_there_are_any():
    assert "Each `.onnx` file is one model." in card(onnx=True)
    assert "onnx" not in card()


def test_the_holdout_is_counted():
    assert "1,500 more images are a holdout that no fold model saw." in card(holdout=1500)
    assert "holdout" not in card()


@pytest.mark.parametrize(
    ("began_with", "licence", "line"),
    [
        (
            "pretrained weights convnextv2_tiny.fcmae",
            "cc-by-nc-4.0",
            "- pretrained weights convnextv2_tiny.fcmae: cc-by-nc-4.0, as timm states it. "
            "**Not for commercial use**",
        ),
        ("a file of weights", None, "- a file of weights: not known. Ask where they come from"),
    ],
)
def test_licences_that_need_a_look(began_with: str, licence: str | None, line: str):
    member = dataclasses.replace(FACTS.members[0], began_with=began_with, licence=licence)
    text = card(members=[member, member])
    assert text.count(line) == 1


def test_of_many_classes_the_most_frequent_mistakes_are_shown():
    k = MOST_CLASSES + 1
    confusion_KK = 20 * np.eye(k, dtype=np.int64)
    confusion_KK[3, 4] = 7
    confusion_KK[5, 1] = 9
    text = card(classes=tuple(f"class {i}" for i in range(k)), confusion_KK=confusion_KK)
    assert (
        "The most frequent mistakes of the out-of-fold predictions:\n\n"
        "| actual | predicted | images |\n|---|---|---|\n"
        "| class 5 | class 1 | 9 |\n| class 3 | class 4 | 7 |\n\n"
    ) in text
    assert f"Says which of {k} classes an image shows: class 0, class 1," in text
    assert "class 9, ...." in text


@pytest.mark.parametrize("rule", ["argmax", "balanced_accuracy"])
def test_every_rule_has_its_words_and_no_line_is_long(rule: str):
    text = card(rule=rule)
    assert RULES[rule] in text.replace("\n", " ")
    assert max(map(len, text.splitlines())) <= WIDTH


def test_a_class_without_images_has_no_shares():
    text = card(confusion_KK=np.array([[9, 0, 0], [0, 9, 0], [0, 0, 0]]))
    assert "| none \\| old | 0 | - | - | - |" in text
