"""The fields of the network: backbone, weights, heads, and which layers are frozen."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, field_validator

from trainer.fields.declare import about

Pooling = Literal["default", "avg", "max", "avgmax", "catavgmax", "token"]
UP_TO = "up_to:"
FREEZE = ("none", "backbone", "all_but_last_block")
WEIGHT_FILES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".tar")


class NetworkFields(BaseModel):
    """Network"""

    backbone: Annotated[
        str,
        about(
            "A timm model, e.g. resnet18 or efficientnet_b0.ra_in1k, or your own function "
            "my_task.py:my_backbone.",
            min_length=1,
        ),
    ] = "resnet18"
    weights: Annotated[
        str,
        about(
            "pretrained (timm's, from its model hub; of some models for one image size only), none "
            "(random), or the path of a .safetensors or torch file with weights of this backbone; "
            "the file's classifier is left out."
        ),
    ] = "pretrained"
    pooling: Annotated[
        Pooling,
        about(
            "How feature maps become one vector: the backbone's own way (default), avg, max, "
            "both, or the token. All other layers are those of the default, whatever the weights."
        ),
    ] = "default"
    head_norm: Annotated[
        bool,
        about(
            "Batch norm between pooled features and classifier.", source="pet expression project"
        ),
    ] = False
    dropout: Annotated[float, about("Dropout probability before the classifier.", ge=0, lt=1)] = 0.0
    drop_path: Annotated[
        float | None,
        about(
            "Stochastic depth: the probability that the last block is skipped, per image and step "
            "of training; it rises from 0 at the first block. null: as timm builds the backbone "
            "(0 of most, 0.1 of swin).",
            source="https://arxiv.org/abs/1603.09382",
            ge=0,
            lt=1,
        ),
    ] = None
    heads: Annotated[
        Literal["joint", "separate"],
        about(
            "joint: one classifier over all classes. separate: one per label column; the "
            "probabilities of a class are the product of its parts', scaled to sum 1 over the "
            "classes that occur.",
            source="mask project: mask, gender and age apart",
        ),
    ] = "joint"
    head_weights: Annotated[
        dict[str, Annotated[float, about("", ge=0)]],
        about(
            "heads: separate only: weight of a label column's loss, e.g. {age: 2.0}; the others "
            "count 1."
        ),
    ] = {}
    freeze: Annotated[
        str,
        about(
            "Which layers are not trained: none; backbone (all but the classifier); "
            "all_but_last_block; or up_to:STAGE, a stage or module of the timm model and all "
            "before it, e.g. up_to:layer3. Frozen batch norms keep their statistics.",
            source=(
                "landmark project: ResNet-50 frozen up to the third stage; "
                "pet expression: last block only"
            ),
        ),
    ] = "none"
    unfreeze_epoch: Annotated[
        int, about("From this epoch on everything is trained; 0: never.", ge=0, le=10_000)
    ] = 0

    @field_validator("weights")
    @classmethod
    def _weights_are_known(cls, value: str) -> str:
        if value not in ("pretrained", "none") and not value.endswith(WEIGHT_FILES):
            raise ValueError(
                "weights are pretrained, none, or a file that ends with "
                f"{', '.join(WEIGHT_FILES)}, got {value!r}"
            )
        return value

    @field_validator("freeze", mode="before")
    @classmethod
    def _freeze_is_known(cls, value: Any) -> Any:
        if isinstance(value, dict) and set(value) == {"up_to"}:  # the YAML form {up_to: layer3}
            value = f"{UP_TO}{value['up_to']}"
        if not isinstance(value, str) or not (
            value in FREEZE or value.removeprefix(UP_TO) not in (value, "")
        ):
            raise ValueError(f"freeze is {', '.join(FREEZE)} or {UP_TO}STAGE, got {value!r}")
        return value
