"""How a field is declared: its bounds, its meaning in one line, and the source of the method."""

from typing import Annotated, Any

from pydantic import Field

USER_FUNCTION = r"^[^:]+\.py:[A-Za-z_]\w*$"  # for example my_task.py:weighted_kappa
UserFunction = Annotated[str, Field(pattern=USER_FUNCTION)]


def is_user_function(value: str | None) -> bool:
    """Whether the value of a backbone, loss or metric names a function in the user's file."""
    return value is not None and ".py:" in value


def about(description: str, *, source: str = "", **bounds: Any) -> Any:
    """A pydantic Field for one hyperparameter.

    Args:
        description: the meaning and the unit.
        source: the paper or project that the method comes from.
        bounds: pydantic's ge, gt, le, lt, min_length and so on.
    """
    return Field(
        description=description, json_schema_extra={"source": source} if source else None, **bounds
    )
