"""The errors of one training that a user can cause.

TrainerError
├── DataError         the manifest, an image or the folds are not usable
│   └── UnreadableError   one image cannot be read; data preparation counts the image and goes on
├── ConfigError       the configuration cannot work with this backbone or data
├── HubError          pretrained weights are not on this machine and cannot be fetched
├── CheckpointError   a checkpoint is damaged or belongs to another configuration
├── OutOfMemoryError  the GPU has too little memory, even with the batch split
└── NonFiniteLossError     the loss became NaN or infinite; the fold run stopped before the
                           optimizer step
"""

# The advice in messages about values of the configuration with which others may well work.
LOWER_RATE = "A lower lr or a warm-up usually helps"
SMALLER_BATCH = "A smaller batch_size or resize helps"


class TrainerError(Exception):
    """The base of all errors below. Its text is a complete message for the user."""


class DataError(TrainerError):
    """The manifest, an image or the folds are not usable."""


class UnreadableError(DataError):
    """One image cannot be read. The error's text gives the reason, without the file's name."""


class ConfigError(TrainerError):
    """The configuration cannot work with this backbone or this data."""


class HubError(TrainerError):
    """Pretrained weights are not on this machine, and they cannot be fetched."""


class CheckpointError(TrainerError):
    """A checkpoint is damaged, or it belongs to another configuration or to other folds."""


class NonFiniteLossError(TrainerError):
    """The training loss is NaN or infinite."""


class OutOfMemoryError(TrainerError):
    """A batch does not fit into the GPU's memory, even if the batch is split into parts."""


def first_line(error: BaseException) -> str:
    """The first line of an exception's text, for a message of one line.

    An exception without text gives the name of its type.

    Example:
        >>> first_line(OSError("disk full\\nsecond line"))
        'disk full'
        >>> first_line(ValueError())
        'ValueError'
    """
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
