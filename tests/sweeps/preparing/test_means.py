"""Whether pretrained networks can be trained here, and what is asked to know it."""

from collections.abc import Sequence

import pytest

from sweeps.preparing.means import decide

NO_WEIGHTS = "pretrained weights are not in the cache, and the model hub does not answer"


@pytest.mark.parametrize(
    ("gpu", "missing", "answers", "expected", "asked"),
    [
        (True, (), False, "", ["cache"]),
        (True, ("resnet18", "resnet50"), True, "", ["cache", "resnet18"]),
        (True, ("resnet18", "resnet50"), False, NO_WEIGHTS, ["cache", "resnet18"]),
        (False, (), True, "no GPU", []),
        (False, ("resnet18",), False, "no GPU", []),
    ],
)
def test_pretrained_networks_need_a_gpu_and_weights_and_only_what_decides_is_asked(
    gpu: bool, missing: Sequence[str], answers: bool, expected: str, asked: list[str]
):
    questions: list[str] = []

    def look() -> Sequence[str]:
        questions.append("cache")
        return missing

    def ask(backbone: str) -> bool:
        questions.append(backbone)
        return answers

    assert decide(lambda: gpu, look, ask) == expected
    assert questions == asked
