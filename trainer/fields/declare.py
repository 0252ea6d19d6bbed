"""How a field is declared: bounds, one line of meaning, and where the method comes from."""

from typing import Annotated, Any

from pydantic import Field

USER_FUNCTION = r"^[^:]+\.py:[A-Za-z_]\w*$"  # my_task.py:weighted_kappa
UserFunction = Annotated[str, Field(pattern=USER_FUNCTION)]


def is_user_function(value: str | None) -> bool:
    """Whether a backbone, loss or metric names a function in the user's file."""
    return value is not None and ".py:" in value


def about(description: str, *, source: str = "", **bounds: Any) -> Any:
    """A pydantic Field: meaning and unit, the paper or project it comes from, and bounds (ge, gt, le, lt, ...)."""
    return Field(
        description=description, json_schema_extra={"source": source} if source else None, **bounds
    )
