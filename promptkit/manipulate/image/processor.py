"""Encodes rows of images: decodes each image to RGB values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from promptkit.core.capabilities import Feature
from promptkit.core.errors import TaskError, Unsupported
from promptkit.core.examples import Example, Part
from promptkit.core.fingerprints import Fingerprint
from promptkit.core.manipulation import BindContext, Modifier
from promptkit.core.rendered import Rendered
from promptkit.core.taxonomy import Kind
from promptkit.core.values import Value
from promptkit.inputs.image import image_input


@dataclass(frozen=True)
class ImageProcessor:
    """Decodes the image of a row to RGB values between 0 and 1 at its own size.

    It is the first manipulation of a predictor for images, as `Prompt` is for texts; programs such as `pk.Place()` follow it.
    The model then resizes the image to its own size, if needed, and applies its own normalization.
    """

    kind: ClassVar[Kind] = Kind(format="fixed", location="input", operator="parametric")
    requires: ClassVar[frozenset[Feature]] = frozenset({"image"})
    parts: ClassVar[tuple[Part, ...]] = ()
    models: ClassVar[tuple[str, ...]] = ()
    slots: ClassVar[Mapping[str, int]] = {}
    modifiers: ClassVar[tuple[Modifier, ...]] = ()
    variables: ClassVar[frozenset[str]] = frozenset({"image"})
    fitted_on: ClassVar[frozenset[Fingerprint]] = frozenset()

    def settings(self) -> Mapping[str, object]:
        """Returns the name: there is nothing to set."""
        return {"name": "image"}

    def bind(self, bind_context: BindContext) -> BoundImageProcessor:
        """Returns the decoder of rows, which needs neither rows nor the model."""
        return BoundImageProcessor()

    def fit(self, bind_context: BindContext) -> ImageProcessor:
        """Returns the processor itself, which uses no other rows."""
        return self


class BoundImageProcessor:
    """Decodes the images of rows."""

    def __call__(self, examples: Sequence[Example], *, context_of: Sequence[Example] | None = None) -> list[Rendered]:
        """Returns the image of each row. `context_of` is ignored: an image has no context.

        Raises:
            TaskError: A row has no image, several, or one that cannot be decoded.
        """
        return [Rendered(input=image_input(_only_input(example), example.id)) for example in examples]

    def premise(self, example: Example) -> Rendered:
        """Raises Unsupported: an image has no text before its answer."""
        raise Unsupported(
            "An image has no premise, the text before an answer",
            code="no-premise",
            hint="Use a calibration that needs none, such as batch",
            row=example.id,
        )


def _only_input(example: Example) -> Value:
    values = tuple(example.inputs.values())
    if len(values) != 1:
        raise TaskError(
            f"Row {example.id} does not have exactly one input, its image",
            code="not-one-image",
            got=", ".join(example.inputs) or "none",
            row=example.id,
        )
    return values[0]
