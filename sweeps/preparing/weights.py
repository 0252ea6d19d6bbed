"""The pretrained weights that the trials of a search space begin with: fetched before any trial."""

from sweeps.space.spec import SweepSpec
from trainer.config import TrainConfig
from trainer.fields.declare import is_user_function
from trainer.model.hub import Fetch


def pretrained_backbones(spec: SweepSpec) -> tuple[str, ...]:
    """The timm models that a trial of the search space can begin with their pretrained weights.

    A user function fetches its weights itself.
    """
    default = {name: TrainConfig.model_fields[name].default for name in ("backbone", "weights")}
    reached = [{**default, **values} for values in spec.reachable("backbone", "weights")]
    return tuple(
        dict.fromkeys(
            values["backbone"]
            for values in reached
            if values["weights"] == "pretrained" and not is_user_function(values["backbone"])
        )
    )


def begin_fetch(spec: SweepSpec) -> Fetch:
    """Look for the weights of the search space, and ask for those that are missing; see `Fetch`."""
    return Fetch(pretrained_backbones(spec), otherwise=without_weights(spec))


def without_weights(spec: SweepSpec) -> str:
    """How this search space trains without pretrained weights."""
    listed = "weights" in spec.space and "value" not in spec.raw["parameters"]["weights"]
    setting = "'parameters.weights={value: none}'" if listed else "parameters.weights.value=none"
    return f"train from random weights with --set {setting}"
