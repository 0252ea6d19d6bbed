"""The prediction of a network for given rows: probabilities, and logits for the loss.

Shapes: N images, K classes, T TTA views of an image.
"""

import dataclasses

import torch

from trainer.images.images import Rows
from trainer.metrics import Probs
from trainer.model.heads import Heads
from trainer.model.network import Logits, Network
from trainer.training.inputs import Inputs


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The prediction for N rows, in the order of the rows.

    Attributes:
        probs_NK: probabilities in float32, the mean over the TTA views of an image.
        logits: one tensor (N, classes of the head) per head, in float32 on the device, for the
            plain view of an image.
    """

    probs_NK: Probs
    logits: Logits


@torch.inference_mode()
def predict(
    network: Network, inputs: Inputs, rows_N: Rows, *, heads: Heads, batch_size: int
) -> Prediction:
    """Return the prediction of `network` for `rows_N`. The network is in eval mode afterwards."""
    network.eval()
    probs = []
    logits = []
    for tta in inputs.held_out(rows_N, batch_size=batch_size):
        predicted = []
        for views in tta:
            with torch.autocast("cuda", dtype=torch.bfloat16, enabled=views[0].is_cuda):
                predicted.append(tuple(part.float() for part in inputs.forward(network, views)))
        probs.append(torch.stack([heads.log_probs(view).exp() for view in predicted]).mean(dim=0))
        logits.append(predicted[0])
    return Prediction(
        torch.cat(probs).cpu().numpy(),
        tuple(torch.cat([batch[head] for batch in logits]) for head in range(len(heads.names))),
    )
