"""How fast this machine trains a backbone: a few real steps on made-up images.

Shapes: B batch, H height, W width.
"""

import time

import torch

from trainer.config import TrainConfig
from trainer.model.heads import Heads
from trainer.model.network import build_network

STEPS = 2  # timed steps, after one that warms up
FEW = 4  # images of a step where whole batches would take too long
PATIENCE_S = 1.0  # that a step of a whole batch may take
CLASSES = 10


def seconds_per_image(
    backbone: str, side: int, *, batch_size: int, device: str, threads: int | None = None
) -> float:
    """Seconds that one image takes in training: forward pass, backward pass and update.

    Batches are whole if that does not take too long, as the fixed costs of a step count for small
    networks. The network has random weights, which are as fast as others. Only the order of
    magnitude is meant: other trials and the loading of images are not part of it.

    Args:
        side: height and width of the images in pixels.
        device: `cpu` or `cuda`.
        threads: the CPU threads of a trial; None for as many as torch has chosen.

    Raises:
        ConfigError: the backbone cannot be built or does not take this size.
    """
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return _measured(backbone, side, batch_size=batch_size, device=torch.device(device))
    finally:
        torch.set_num_threads(before)


def _measured(backbone: str, side: int, *, batch_size: int, device: torch.device) -> float:
    config = TrainConfig(backbone=backbone, weights="none", resize=side)
    heads = Heads(("class",), (CLASSES,), class_of=())
    network = build_network(config, heads, code=None).to(device)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-6)
    images_BCHW = torch.rand(batch_size, 3, side, side, device=device)

    def step_s(count: int) -> float:
        """Seconds of a step with so many of the images."""
        begun = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=images_BCHW.is_cuda):
            (logits_BK,) = network([images_BCHW[:count]])
        logits_BK.square().mean().backward()
        optimizer.step()
        if images_BCHW.is_cuda:
            torch.cuda.synchronize()
        return time.perf_counter() - begun

    few = min(FEW, batch_size)
    step_s(few)  # the first step is slow
    count = batch_size if step_s(few) * batch_size / few < PATIENCE_S else few
    return min(step_s(count) for _ in range(STEPS)) / count
