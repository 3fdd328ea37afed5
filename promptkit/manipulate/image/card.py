"""The card of an image classifier."""

from __future__ import annotations

from promptkit.core.errors import Unsupported
from promptkit.core.model import ImageCard


def image_card(card: object) -> ImageCard:
    """Returns the card of a model as that of an image classifier.

    Raises:
        Unsupported: The model does not read images.
    """
    if isinstance(card, ImageCard):
        return card
    raise Unsupported(
        "A program for images needs an image classifier", code="needs-image-model", hint="Use a vision model: vision:demo"
    )
