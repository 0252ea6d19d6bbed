"""Whether a machine can train pretrained networks: it has a GPU, and has or gets the weights."""

from collections.abc import Callable, Sequence
from pathlib import Path

from sweeps.preparing.weights import pretrained_backbones
from sweeps.space.spec_reader import read_spec

ANSWER_S = 3.0  # how long the model hub may take; the user waits for a recommendation only


def obstacle(space: Path) -> str:
    """Why the pretrained networks of a search space cannot be trained here, in a few words.

    Returns:
        an empty text if they can. The hub is asked only where there is a GPU and weights are not
        in the cache.
    """
    import torch

    from trainer.model import hub

    def missing() -> list[str]:
        backbones = pretrained_backbones(read_spec(space))
        return [name for name in backbones if hub.cached_weights(name) is None]

    def answers(backbone: str) -> bool:
        return hub.answers(backbone, within_s=ANSWER_S)

    return decide(torch.cuda.is_available, missing, answers)


def decide(
    gpu: Callable[[], bool], missing: Callable[[], Sequence[str]], answers: Callable[[str], bool]
) -> str:
    """What is in the way of pretrained networks; a question is asked only if it decides.

    Args:
        gpu: whether there is a GPU.
        missing: the backbones whose pretrained weights are not in the cache.
        answers: whether the place that has the weights of a backbone answers.

    Example:
        >>> decide(lambda: True, lambda: ["resnet18"], lambda name: False)
        'pretrained weights are not in the cache, and the model hub does not answer'
    """
    if not gpu():
        return "no GPU"
    lacking = missing()
    if lacking and not answers(lacking[0]):
        return "pretrained weights are not in the cache, and the model hub does not answer"
    return ""
