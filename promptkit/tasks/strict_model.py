"""The base class of options and of YAML files."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, ValidatorFunctionWrapHandler, field_validator
from pydantic_core import PydanticKnownError


class StrictModel(BaseModel):
    """An immutable pydantic model that refuses unknown keys. The docstring under a field is its description."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @field_validator("*", mode="wrap")
    @classmethod
    def _check_numbers_are_not_booleans(cls, value: object, validate: ValidatorFunctionWrapHandler) -> object:
        """Refuses `true` for a number, which pydantic would read as 1."""
        validated: object = validate(value)
        if isinstance(value, bool) and isinstance(validated, int | float) and not isinstance(validated, bool):
            raise PydanticKnownError("int_type")
        return validated
