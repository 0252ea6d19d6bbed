"""What a network says of given rows: probabilities, and logits for the loss.

Shapes: N images, K classes, T ways of looking at an image.
"""

import dataclasses

import torch

from trainer.data.images import Rows
from trainer.inputs import Inputs
from trainer.labels import Heads
from trainer.metrics import Probs
from trainer.network import Logits, Network


@dataclasses.dataclass(frozen=True)
class Prediction:
    """Of N rows, in their order.

    Attributes:
        probs_NK: float32; the mean over the ways of looking at an image (test-time augmentation).
        logits: per head (N, K of the head), float32, on the device; of the plain image.
    """

    probs_NK: Probs
    logits: Logits


@torch.inference_mode()
def predict(network: Network, inputs: Inputs, rows_N: Rows, *, heads: Heads, batch_size: int) -> Prediction:
    """Predict; leaves the network in eval mode."""
    network.eval()
    probs, logits = [], []
    for looks in inputs.held_out(rows_N, batch_size=batch_size):
        said = []
        for views in looks:
            with torch.autocast("cuda", dtype=torch.bfloat16, enabled=views[0].is_cuda):
                said.append(tuple(part.float() for part in inputs.forward(network, views)))
        probs.append(torch.stack([heads.log_probs(one).exp() for one in said]).mean(dim=0))
        logits.append(said[0])
    return Prediction(
        torch.cat(probs).cpu().numpy(),
        tuple(torch.cat([batch[head] for batch in logits]) for head in range(len(heads.names))),
    )
