"""What can go wrong in one training, as a user can cause it.

TrainerError
├── DataError         the manifest, an image or the folds are not usable
│   └── UnreadableError   one image cannot be read; data preparation counts it and goes on
├── ConfigError       the configuration cannot work with this backbone or data
├── CheckpointError   a checkpoint is damaged or belongs to another configuration
├── OutOfMemoryError  the GPU has too little memory, even with the batch split
└── NonFiniteLossError     the loss became NaN or infinite; the fold run stopped before the optimizer step
"""


class TrainerError(Exception):
    """Base of all errors below; its text is complete and meant for the user."""


class DataError(TrainerError):
    """The manifest, an image or the folds are not usable."""


class UnreadableError(DataError):
    """One image cannot be read: its text says why, without the file's name."""


class ConfigError(TrainerError):
    """The configuration cannot work with this backbone or this data."""


class CheckpointError(TrainerError):
    """A checkpoint is damaged, or belongs to another configuration or other folds."""


class NonFiniteLossError(TrainerError):
    """The training loss is NaN or infinite."""


class OutOfMemoryError(TrainerError):
    """A batch does not fit into the GPU's memory, not even split in parts."""


def first_line(error: BaseException) -> str:
    """The first line of an exception's text, or its type where it has none: for a message of one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
