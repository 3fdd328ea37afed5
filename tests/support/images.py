"""Rows of images as a model reads them."""

from __future__ import annotations

from numpy.typing import ArrayLike

from promptkit.core.arrays import as_array
from promptkit.core.inputs import ImageInput
from promptkit.core.rendered import Rendered


def rendered_image(pixels: ArrayLike) -> Rendered:
    """Returns what a classifier reads for an image of shape (channels, height, width) with values between 0 and 1."""
    return Rendered(input=ImageInput(pixels=as_array(pixels)))
