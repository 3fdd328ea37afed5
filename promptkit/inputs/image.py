"""Decodes images to RGB values of float32 between 0 and 1, shape (3, height, width), at their own size.

- Gray is repeated in the three channels. 16-bit gray keeps its precision; Pillow reads 16-bit colors with 8 bits.
- Transparent images are composited on white.
- The orientation in EXIF data is applied. Color profiles are not.
- The first image of an animation, or of a file with several images, is used.
"""

from __future__ import annotations

import io
from functools import partial
from typing import TYPE_CHECKING

from promptkit.core.arrays import Array, ReloadedArray
from promptkit.core.errors import TaskError, missing_extra
from promptkit.core.inputs import ImageInput
from promptkit.core.values import FileReference, Value, describe_value

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
"""The formats that are decoded. Pillow decodes others too, some of them by running other programs."""
_BACKGROUND = 1.0
"""The value of the white that transparent images are composited on."""
_KEPT_PIXELS = 2**16
"""The largest number of pixels of an image that is kept in memory. Larger images are decoded each time that they are read: a
photograph of 12 megapixels takes 146 MB as floats."""


def image_input(value: Value, row: str) -> ImageInput:
    """Returns the image in a value.

    Args:
        value: A file, or an array of shape (height, width) or (height, width, channels) with 1, 3 or 4 channels, of uint8 or of
            floats between 0 and 1.
        row: What to call the row in error messages.

    Raises:
        TaskError: The file cannot be decoded, or the value is not an image.
        MissingPackage: The value is a file, and Pillow is not installed.
    """
    pixels = _pixels(value, row)
    if pixels[0].size <= _KEPT_PIXELS:
        return ImageInput(pixels=Array(pixels))
    return ImageInput(pixels=ReloadedArray(pixels, partial(_pixels, value, row)))


def _pixels(value: Value, row: str) -> NDArray[np.float32]:
    """The checked pixels, shape (3, height, width)."""
    import numpy as np

    if isinstance(value, str):
        raise _not_an_image(value, row)
    pixels = _scaled(_decoded(value, row)) if isinstance(value, FileReference) else _scaled(value.numpy())
    if pixels.ndim not in (2, 3) or not pixels.size or (pixels.ndim == 3 and pixels.shape[2] not in (1, 3, 4)):
        raise _not_an_image(value, row)
    if not (pixels.min() >= 0 and pixels.max() <= 1):
        raise _not_an_image(value, row)
    return np.array(_rgb(pixels).transpose(2, 0, 1), dtype="<f4", order="C")


def _scaled(pixels: NDArray[np.generic]) -> NDArray[np.float32]:
    """Pixels of a whole-number type divided by the largest value of the type; floats are unchanged."""
    import numpy as np

    scaled: NDArray[np.float32] = pixels.astype(np.float32)
    scaled /= np.float32({"uint8": 255, "uint16": 65535}.get(pixels.dtype.name, 1))
    return scaled


def _rgb(pixels: NDArray[np.float32]) -> NDArray[np.floating]:
    """Three channels: gray is repeated, and transparent pixels are composited."""
    import numpy as np

    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.shape[2] == 4:
        alpha = pixels[:, :, 3:].astype(np.float64)
        return pixels[:, :, :3] * alpha + _BACKGROUND * (1 - alpha)
    return np.broadcast_to(pixels, (*pixels.shape[:2], 3))


def _decoded(file: FileReference, row: str) -> NDArray[np.generic]:
    """The pixels of an image file: gray, RGB or RGBA of uint8, gray of uint16, or gray of float32."""
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise missing_extra("pillow", "vision", "Reading image files") from None
    content = file.read_bytes()
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            image.seek(0)
            return _array(ImageOps.exif_transpose(image))
    except Exception as error:  # a decoder raises errors of many types for a broken file
        reason = _reason(error)
        raise TaskError(
            f"The image {file.name} cannot be read, in row {row}: {reason}",
            code="unreadable-image",
            hint="Replace the file, or remove the row",
            file=file.name,
            where=row,
            reason=reason,
        ) from None


def _reason(error: Exception) -> str:
    """Why a file cannot be decoded."""
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return f"its format is none of {', '.join(FORMATS)}"
    if isinstance(error, Image.DecompressionBombError):
        return f"it has more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels"
    return str(error) or type(error).__name__


def _array(image: Image) -> NDArray[np.generic]:
    import numpy as np

    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)
    if image.mode in ("I", "F"):
        return _whole_or_float(np.asarray(image))
    has_alpha = image.has_transparency_data
    if image.mode in ("1", "L") and not has_alpha:
        return np.asarray(image.convert("L"))
    return np.asarray(image.convert("RGBA" if has_alpha else "RGB"))


def _whole_or_float(pixels: NDArray[np.generic]) -> NDArray[np.generic]:
    """Gray values of 32 bits: 16-bit values in a wider type, or floats between 0 and 1."""
    import numpy as np

    if pixels.dtype.kind == "f":
        return pixels
    if pixels.min() < 0 or pixels.max() > 65535:
        raise ValueError("its values have more than 16 bits")
    return pixels.astype(np.uint16)


def _not_an_image(value: Value, row: str) -> TaskError:
    return TaskError(
        f"The input of row {row} is not an image",
        code="not-an-image",
        got=describe_value(value)[:100],
        hint="An array has the shape (height, width) or (height, width, 1, 3 or 4 channels), with uint8 or floats from 0 to 1",
        where=row,
    )
