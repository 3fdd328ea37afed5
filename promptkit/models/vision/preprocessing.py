"""The size and the normalization of the images that a classifier reads."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, PositiveInt

from promptkit.core.caller import engine_setting
from promptkit.core.errors import InputError, ModelError, Unsupported

PIXEL_LEVELS = 255
"""The largest value of a pixel in an image file, which is 1 here."""
BILINEAR = 2
"""The number that stands for bilinear interpolation in image processors of transformers, as in Pillow."""


def parse_size(size: object) -> object:
    """Returns the height and width of a setting; a value that is neither a number nor a text is unchanged."""
    sides = size.split("x") if isinstance(size, str) else [size] if isinstance(size, int) else size
    return tuple(sides) * 2 if isinstance(sides, list) and len(sides) == 1 else sides


ImageSize = Annotated[tuple[PositiveInt, PositiveInt], BeforeValidator(parse_size)]
"""The setting of a height and a width: one number for both, as in 96, or two, as in 96x128 or (96, 128)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """The size and the normalization of a classifier, which reads (pixels - mean) / std for pixels between 0 and 1."""

    size: tuple[int, int]
    """The height and width of the images that the model reads."""
    mean: tuple[float, ...]
    """The mean of each channel."""
    std: tuple[float, ...]
    """The standard deviation of each channel."""
    notes: tuple[str, ...] = ()
    """How the preprocessing differs from the one in the model's files."""

    @property
    def channels(self) -> int:
        """The number of channels."""
        return len(self.mean)


def preprocessing_of(processor: Mapping[str, Any], stated: Collection[str], channels: int, name: str) -> Preprocessing:
    """Returns the preprocessing that an image processor of transformers specifies.

    The whole image is resized, even if the processor would crop it; a note says so. Another note names the settings that are
    defaults of the processor's class, because the model's files do not state them.

    Args:
        processor: The settings of the processor, including defaults.
        stated: The names of the settings that the model's files or the user state.
        channels: The number of channels that the model reads.
        name: The model as the user named it, for error messages.

    Raises:
        Unsupported: The processor does something else with the pixels.
        ModelError: The processor states no size, or its normalization is invalid.
    """
    if processor.get("do_flip_channel_order"):
        raise Unsupported(
            f"The image processor of the model {name} changes the order of the color channels",
            code="unsupported-preprocessing",
            hint="Use another model, or load its module with pk.load_module",
            model=name,
        )
    scale = PIXEL_LEVELS * (processor.get("rescale_factor") or 1.0) if processor.get("do_rescale", True) else PIXEL_LEVELS
    offset = 1.0 if processor.get("rescale_offset") else 0.0  # EfficientNet of transformers: pixels / 127.5 - 1
    mean, std = [0.0] * channels, [1.0] * channels
    if processor.get("do_normalize"):
        mean, std = _per_channel(processor["image_mean"], channels), _per_channel(processor["image_std"], channels)
    if processor.get("include_top"):  # EfficientNet of transformers divides twice
        std = [x * y for x, y in zip(std, _per_channel(processor["image_std"], channels), strict=True)]
    if not len(mean) == len(std) == channels or not all(deviation > 0 for deviation in std):
        raise ModelError(
            f"The image processor of the model {name} has no valid normalization",
            code="invalid-normalization",
            got=f"image_mean={processor['image_mean']}, image_std={processor['image_std']}",
            hint=f"It needs a mean and a positive standard deviation for each of the {channels} channels",
            model=name,
        )
    return Preprocessing(
        size=_size(processor, name),
        mean=tuple((x + offset) / scale for x in mean),
        std=tuple(x / scale for x in std),
        notes=(*_defaults(processor, stated), *_differences(processor)),
    )


def given_preprocessing(size: int | tuple[int, int], mean: Sequence[float], std: Sequence[float]) -> Preprocessing:
    """Returns the preprocessing that a user states.

    Args:
        size: The height and width of the images that the model reads, or one number for both.
        mean: The mean of each channel, for pixels between 0 and 1.
        std: The standard deviation of each channel.

    Raises:
        InputError: A size or a standard deviation is not positive, or there is not one of each for every channel.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < 1:
        raise InputError(
            "The size of the images must be positive",
            code="wrong-image-size",
            got=f"size={size}",
            hint="Give the height and width that the model reads, such as size=224",
            size=size,
        )
    if not mean or len(mean) != len(std) or not all(deviation > 0 for deviation in std):
        raise InputError(
            "The normalization needs a mean and a positive standard deviation for each channel",
            code="wrong-normalization",
            got=f"normalization=({tuple(mean)}, {tuple(std)})",
            hint="For a model trained on ImageNet: normalization=((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))",
            mean=tuple(mean),
            std=tuple(std),
        )
    return Preprocessing(size=(height, width), mean=tuple(map(float, mean)), std=tuple(map(float, std)))


def _per_channel(values: float | Sequence[float], channels: int) -> list[float]:
    return [float(x) for x in values] if isinstance(values, Sequence) else [float(values)] * channels


def _size(processor: Mapping[str, Any], name: str) -> tuple[int, int]:
    """Returns the size of the images after resizing and cropping; a stated shortest edge becomes both edges."""
    cropped = processor.get("do_center_crop") and processor.get("crop_size")
    stated = cropped or processor.get("size") or {}
    sizes = stated if isinstance(stated, Mapping) else {"height": stated, "width": stated}
    edge = sizes.get("shortest_edge")
    height, width = sizes.get("height", edge), sizes.get("width", edge)
    if not height or not width:
        raise ModelError(
            f"The image processor of the model {name} states no height and width",
            code="no-image-size",
            got=f"size={stated}",
            hint=f"Give the size of the images, such as {engine_setting('size', 224)}",
            model=name,
        )
    return int(height), int(width)


def _defaults(processor: Mapping[str, Any], stated: Collection[str]) -> list[str]:
    needed = ["crop_size" if processor.get("do_center_crop") else "size"]
    if processor.get("do_normalize"):
        needed += ["image_mean", "image_std"]
    defaults = [f"{key}={processor.get(key)}" for key in needed if key not in stated]
    if not defaults:
        return []
    kind = processor.get("image_processor_type", "the image processor")
    return [
        f"the model's files do not state its whole preprocessing, so that defaults of {kind} are used: {', '.join(defaults)}"
    ]


def _differences(processor: Mapping[str, Any]) -> list[str]:
    notes = []
    if processor.get("do_center_crop") or "shortest_edge" in (processor.get("size") or ()):
        notes.append("images are resized to the model's size as a whole, and its image processor would crop them")
    if processor.get("resample", BILINEAR) != BILINEAR:
        notes.append("images are resized by bilinear interpolation, and the model's image processor uses another method")
    return notes
