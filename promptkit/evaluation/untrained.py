"""Notes about learned manipulations that were not trained."""

from __future__ import annotations

from promptkit.core.caller import by_caller
from promptkit.core.manipulation import Learnable, Manipulation


def untrained_notes(manipulation: Manipulation) -> list[str]:
    """Returns a note for each learned manipulation whose parameters have their initial values.

    Args:
        manipulation: The manipulation that is evaluated.
    """
    return [
        f"The manipulation {modifier.name} is not trained: the figures are those of its initial parameters; train it with "
        + by_caller(command="promptkit train", python="pk.train")
        for modifier in manipulation.modifiers
        if isinstance(modifier, Learnable) and not modifier.parameters
    ]
