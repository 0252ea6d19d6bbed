"""The predictions of a network for given rows: probabilities, and logits for the loss.

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
    """The predictions for N rows, in their order.

    Attributes:
        probs_NK: float32; the mean over the TTA views of an image.
        logits: per head (N, K of the head), float32, on the device; of the plain image.
    """

    probs_NK: Probs
    logits: Logits


@torch.inference_mode()
def predict(
    network: Network, inputs: Inputs, rows_N: Rows, *, heads: Heads, batch_size: int
) -> Prediction:
    """Predict; leaves the network in eval mode."""
    network.eval()
    probs, logits = [], []
    for tta in inputs.held_out(rows_N, batch_size=batch_size):
        predicted = []
        for views in tta:
            with torch.autocast("cuda", dtype=torch.bfloat16, enabled=views[0].is_cuda):
                predicted.append(tuple(part.float() for part in inputs.forward(network, views)))
        probs.append(torch.stack([heads.log_probs(one).exp() for one in predicted]).mean(dim=0))
        logits.append(predicted[0])
    return Prediction(
        torch.cat(probs).cpu().numpy(),
        tuple(torch.cat([batch[head] for batch in logits]) for head in range(len(heads.names))),
    )
