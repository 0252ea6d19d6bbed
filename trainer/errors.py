"""What can go wrong in one training, as a user can cause it.

TrainerError
├── DataError         the manifest, an image or the folds are not usable
├── ConfigError       the configuration cannot work with this backbone or data
├── CheckpointError   a checkpoint is damaged or belongs to another configuration
└── NonFiniteLossError     the loss became NaN or infinite; the fold run stopped before the optimizer step
"""


class TrainerError(Exception):
    """Base of all errors below; its text is complete and meant for the user."""


class DataError(TrainerError):
    """The manifest, an image or the folds are not usable."""


class ConfigError(TrainerError):
    """The configuration cannot work with this backbone or this data."""


class CheckpointError(TrainerError):
    """A checkpoint is damaged, or belongs to another configuration or other folds."""


class NonFiniteLossError(TrainerError):
    """The training loss is NaN or infinite."""
