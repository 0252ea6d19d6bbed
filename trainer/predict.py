"""Class probabilities of a model for given rows."""

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from trainer.data.batches import Batches
from trainer.metrics import Probs


@torch.inference_mode()
def predict(model: nn.Module, batches: Batches, rows_N: npt.NDArray[np.int64], *, batch_size: int) -> Probs:
    """Probabilities (N, K) in float32, in the order of `rows_N`; leaves the model in eval mode."""
    model.eval()
    probs = []
    for images_BCHW, _ in batches.in_order(rows_N, batch_size=batch_size):
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=images_BCHW.is_cuda):
            logits_BK = model(images_BCHW)
        probs.append(logits_BK.float().softmax(dim=1))
    return torch.cat(probs).cpu().numpy()
