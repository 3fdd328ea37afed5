"""Shows rows of images as a model reads them. Implements `promptkit render` for images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from promptkit.core.examples import LabeledExample
from promptkit.core.inputs import ImageInput
from promptkit.core.rendered import Rendered
from promptkit.core.values import describe_value
from promptkit.inputs.image import image_input


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageView:
    """One row of images."""

    example: LabeledExample
    rendered: Rendered
    verb: str
    """The name of the request that is sent with the image."""

    @property
    def image(self) -> ImageInput:
        """The image before the operations of the manipulations."""
        (value,) = self.example.inputs.values()
        return image_input(value, self.example.id)

    @property
    def sources(self) -> Sequence[str]:
        """The file or the array of the image."""
        return [describe_value(value) for value in self.example.inputs.values()]

    @property
    def operations(self) -> Sequence[str]:
        """The names of the operations that the manipulations add, in order."""
        return [operation.name for operation in self.rendered.interventions.operations]

    def to_json(self) -> dict[str, object]:
        """Returns what `promptkit render --json` prints for a row."""
        pixels = self.image.pixels.numpy()
        return {
            "id": self.example.id,
            "label": self.example.label,
            "image": list(self.sources),
            "shape": list(pixels.shape),
            "range": [float(pixels.min()), float(pixels.max())],
            "mean": float(pixels.mean()),
            "operations": list(self.operations),
            "request": self.verb,
        }

    def show(self, *, tokens: bool) -> None:
        """Prints the row. An image has no tokens.

        Args:
            tokens: Whether to print token ids.
        """
        from rich.console import Console

        console = Console(highlight=False, soft_wrap=True)
        console.rule(f"row {self.example.id}")
        pixels = self.image.pixels.numpy()
        channels, height, width = pixels.shape
        values = f"values {pixels.min():.3f} to {pixels.max():.3f}, mean {pixels.mean():.3f}"
        lines = [
            f"image: {', '.join(self.sources)}",
            f"decoded: {channels} channels, {height} x {width} pixels, {values}",
            f"label: {self.example.label}",
            f"operations: {', '.join(self.operations) or 'none'}",
            f"request: {self.verb}",
        ]
        for line in lines:
            console.print(line, markup=False)
