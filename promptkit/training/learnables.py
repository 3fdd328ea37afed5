"""The learnable manipulations of a predictor."""

from __future__ import annotations

from promptkit.core.errors import TrainingError
from promptkit.core.manipulation import Learnable
from promptkit.manipulate.compose import Composed
from promptkit.predictor.predictor import Predictor


def learnables(predictor: Predictor) -> tuple[Learnable, ...]:
    """Returns the learnable manipulations of a predictor, in order."""
    return tuple(modifier for modifier in predictor.manipulate.modifiers if isinstance(modifier, Learnable))


def trainable_manipulation(predictor: Predictor) -> Composed:
    """Returns the predictor's prompt with its modifiers.

    Raises:
        TrainingError: If none of them is learnable.
    """
    manipulation = predictor.manipulate
    if not isinstance(manipulation, Composed) or not learnables(predictor):
        hint = 'Write pk.Predictor(model, [pk.Prompt("sentiment/review"), pk.SoftPrompt(10)], ...)'
        raise TrainingError(
            "The predictor has no trainable parameters", code="nothing-to-train", hint=hint, predictor=predictor.name
        )
    return manipulation
