"""The manipulations by name, with their coordinates in the taxonomy of neural network reprogrammability (arXiv 2506.04650)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol, cast

from promptkit.core.taxonomy import Kind
from promptkit.manipulate.image.processor import ImageProcessor
from promptkit.manipulate.modifiers import MODIFIERS
from promptkit.manipulate.prompt import Prompt


class HasKind(Protocol):
    """A class whose instances all have the same coordinates in the taxonomy."""

    kind: ClassVar[Kind]
    """The coordinates."""


def manipulations() -> dict[str, type[HasKind]]:
    """Returns the classes of all manipulations by their names in Python."""
    classes = cast("Sequence[type[HasKind]]", [Prompt, ImageProcessor, *MODIFIERS.values()])
    return {manipulation.__name__: manipulation for manipulation in classes}
