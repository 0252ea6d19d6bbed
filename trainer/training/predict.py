"""The prediction of a network for given rows: probabilities, and logits for the loss.

Shapes: N images, K classes, T TTA views of an image.
"""

import dataclasses
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from trainer.fields.evaluation import Tta
from trainer.images.images import Rows
from trainer.metrics import Probs
from trainer.model.heads import Heads
from trainer.model.network import Logits, Network
from trainer.training.inputs import PredictedInputs


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The prediction for N rows, in the order of the rows.

    Attributes:
        probs_NK: probabilities in float32, the mean over the TTA views of an image.
        logits: one tensor (N, classes of the head) per head, in float32 on the device. With
            several TTA views they are the logarithm of the head's mean probabilities.
    """

    probs_NK: Probs
    logits: Logits


@torch.inference_mode()
def predict(
    network: Network,
    inputs: PredictedInputs,
    rows_N: Rows,
    *,
    heads: Heads,
    batch_size: int,
    tta: Tta,
) -> Prediction:
    """Return the prediction of `network` for `rows_N`. The network is in eval mode afterwards."""
    network.eval()
    probs = []
    logits = []
    for looks in inputs.in_order(rows_N, batch_size=batch_size, tta=tta):
        predicted: list[Logits] = []
        for views in looks:
            with torch.autocast("cuda", dtype=torch.bfloat16, enabled=views[0].is_cuda):
                predicted.append(tuple(part.float() for part in inputs.forward(network, views)))
        probs.append(torch.stack([heads.log_probs(view).exp() for view in predicted]).mean(dim=0))
        logits.append(averaged(predicted))
    return Prediction(
        torch.cat(probs).cpu().numpy(),
        tuple(torch.cat([batch[head] for batch in logits]) for head in range(len(heads.names))),
    )


def averaged(views: Sequence[Logits]) -> Logits:
    """Return for each head the logits of its mean probabilities over the TTA views.

    A loss of these logits is the loss of the averaged prediction, because a softmax does not change
    the logarithm of probabilities. A single view keeps its logits.
    """
    return tuple(map(_mean_log_probs, zip(*views, strict=True)))


def _mean_log_probs(looks: Sequence[Tensor]) -> Tensor:
    if len(looks) == 1:
        return looks[0]
    logs_TBK = torch.stack([logits_BK.log_softmax(dim=1) for logits_BK in looks])
    return logs_TBK.logsumexp(dim=0) - math.log(len(looks))
