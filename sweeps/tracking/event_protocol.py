"""What tensorboardX offers that this package uses: events as protocol buffers, and summaries.

tensorboardX imports torch wherever it is installed, for drawings of networks that nobody makes
here. That takes 1.3 s of CPU and 400 MB of the process that shows a sweep. So torch counts as
missing while tensorboardX is imported.
"""

import contextlib
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def _without_torch() -> Iterator[None]:
    """Let `import torch` fail, unless this process has imported it before."""
    if "torch" in sys.modules:
        yield
        return
    sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["torch"]


with _without_torch():
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.summary_pb2 import Summary
    from tensorboardX.record_writer import masked_crc32c
    from tensorboardX.summary import hparams, text

__all__ = ["Event", "Summary", "hparams", "masked_crc32c", "text"]
