"""The section `tracking` of a search space: where else a sweep is shown."""

from collections.abc import Iterable
from typing import Annotated, Literal, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator

from trainer.data.options import Section

TrackerName = Literal["wandb", "tensorboard", "mlflow"]
TRACKERS: tuple[TrackerName, ...] = get_args(TrackerName)
MLFLOW_SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql", "databricks")


def _mlflow_uri(uri: str) -> str:
    """An address that MLflow 3 takes and that has no secret.

    Raises:
        ValueError: it is none.
    """
    scheme = urlsplit(uri).scheme.partition("+")[0]
    if scheme not in MLFLOW_SCHEMES and uri not in MLFLOW_SCHEMES:
        raise ValueError(
            "expected the address of a server or database, such as http://host:5000 or "
            f"sqlite:///mlflow.db (MLflow 3 refuses folders), got {uri!r}"
        )
    if urlsplit(uri).password:
        raise ValueError(
            "has a password, and this file is copied into the folder of the sweep. "
            "Give MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD in the environment"
        )
    return uri


class WandbOptions(Section):
    """The sweep in Weights & Biases.

    Attributes:
        project: the project; None for the name of the sweep.
        entity: the user or team; None for the default of the account.
        mode: `auto` is online if there is a key; else `sweeps sync` uploads the sweep later.
            `online` needs a key. `off` shows nothing there.
    """

    project: str | None = None
    entity: str | None = None
    mode: Literal["auto", "online", "off"] = "auto"


class MlflowOptions(Section):
    """The sweep in MLflow.

    Attributes:
        uri: the address of a server or database; None for a database in the runs folder.
    """

    uri: Annotated[str, AfterValidator(_mlflow_uri)] | None = None


class Tracking(Section):
    """Where a sweep is shown besides our own commands.

    It may change when a sweep is continued.

    Attributes:
        tensorboard: whether event files are written below the folder of the sweep.

    Example:
        >>> Tracking(tensorboard=True).also(["wandb"]).names
        ('wandb', 'tensorboard')
    """

    wandb: WandbOptions | None = None
    tensorboard: bool = False
    mlflow: MlflowOptions | None = None

    @property
    def names(self) -> tuple[TrackerName, ...]:
        """The trackers that are asked for."""
        asked: dict[TrackerName, bool] = {
            "wandb": self.wandb is not None and self.wandb.mode != "off",
            "tensorboard": self.tensorboard,
            "mlflow": self.mlflow is not None,
        }
        return tuple(name for name in TRACKERS if asked[name])

    def also(self, names: Iterable[TrackerName]) -> "Tracking":
        """These options with some trackers more; those that are asked for already stay as is."""
        new = set(names) - set(self.names)
        changes: dict[str, object] = {}
        if "wandb" in new:
            wandb = self.wandb or WandbOptions()
            changes["wandb"] = wandb.model_copy(update={"mode": "auto"})
        if "tensorboard" in new:
            changes["tensorboard"] = True
        if "mlflow" in new:
            changes["mlflow"] = MlflowOptions()
        return self.model_copy(update=changes)

    def online(self) -> "Tracking":
        """These options with W&B as somebody who asks for it now means it: with `mode: online`."""
        wandb = (self.wandb or WandbOptions()).model_copy(update={"mode": "online"})
        return self.model_copy(update={"wandb": wandb})
