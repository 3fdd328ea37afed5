"""The error for numbers that are not finite, which the choice of tokens and comparisons of numbers would hide."""

from __future__ import annotations

from promptkit.core.caller import engine_setting
from promptkit.core.errors import ModelError


def not_finite(what: str, **fields: object) -> ModelError:
    """Returns the error for a model that returned something that is not finite.

    Args:
        what: What it returned, such as `a log-probability`.
        fields: Further fields of the error.
    """
    return ModelError(
        f"The model returned {what} that is not finite",
        code="not-finite",
        hint="Its activations overflow at this precision: try another dtype, such as "
        f"{engine_setting('dtype', 'float32')}, also of a server",
        **fields,
    )
