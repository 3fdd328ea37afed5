"""Creates a task from images in memory."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from promptkit.core.arguments import check_arguments
from promptkit.core.arrays import Array, as_array, as_uint8_array
from promptkit.core.errors import InputError
from promptkit.core.hashing import short_hash
from promptkit.core.values import value_identity
from promptkit.tasks.columns import cell_text
from promptkit.tasks.folds import HOLD_OUT
from promptkit.tasks.label_values import label_order
from promptkit.tasks.readers import Row
from promptkit.tasks.spec import TaskSpec
from promptkit.tasks.task import Task

_CHANNELS = (1, 3, 4)
_LAYOUT = "(images, height, width) or (images, height, width, channels) with 1, 3 or 4 channels"


Labels = Sequence[int | str] | NDArray[np.generic]


@check_arguments("image_task")
def image_task(
    images: NDArray[np.generic],
    labels: Labels,
    *,
    test_images: NDArray[np.generic] | None = None,
    test_labels: Labels | None = None,
    label_names: Sequence[str] | None = None,
    classes: Mapping[str, str | Sequence[str]] | None = None,
    hold_out: float | None = None,
    name: str = "images",
) -> Task:
    """Creates a task from arrays of images.

    Args:
        images: Shape (images, height, width) or (images, height, width, channels), with 1, 3 or 4 channels (gray, RGB, RGBA):
            whole numbers from 0 to 255, or floats from 0 to 1.
        labels: The label of each image.
        test_images: Images to evaluate; `images` are then the train split. Without them a part of `images` is evaluated.
        test_labels: The labels of `test_images`.
        label_names: The names of the labels, if these are numbers from 0; by default the different labels in order.
        classes: Label -> the classes of a pretrained classifier that mean it, by their names.
        hold_out: Without `test_images`, the number or fraction of the images that become the train split; by default half.
        name: The name of the task.

    Raises:
        InputError: The arrays do not fit together or are not images, or `classes` does not fit the labels.
    """
    tables = {"test": _table(images, labels, label_names)}
    if test_images is not None and test_labels is not None:
        tables = {"train": tables["test"], "test": _table(test_images, test_labels, label_names)}
    elif test_images is not None or test_labels is not None:
        given = "test_images" if test_labels is None else "test_labels"
        hint = "Give both or none"
        raise InputError("There are test images or test labels, but not both", code="half-a-split", hint=hint, given=given)
    if hold_out is not None and "train" in tables:
        hint = "Leave out one of them"
        raise InputError("hold_out is for a task without test images", code="unused-hold-out", hint=hint, hold_out=hold_out)
    found = {str(row["label"]) for rows in tables.values() for row in rows}
    source = {
        "memory": {split: _digest(rows) for split, rows in tables.items()},
        "inputs": {"image": "image"},
        "label": "label",
        "hold_out": None if "train" in tables else HOLD_OUT if hold_out is None else hold_out,
    }
    spec = _spec(label_names or sorted(found, key=label_order), classes, source)
    return Task(name, spec, spec.sources[0], Path(), tables=tables)


def _spec(labels: Sequence[str], classes: Mapping[str, str | Sequence[str]] | None, source: Mapping[str, object]) -> TaskSpec:
    values = {
        "description": "images in memory",
        "modality": "image",
        "labels": {label: label for label in labels},
        "classes": classes and {label: [given] if isinstance(given, str) else [*given] for label, given in classes.items()},
        "sources": [source],
    }
    if len(labels) < 2:
        hint = "Give label_names if a label has no images"
        reason = "A task of images needs at least two labels"
        raise InputError(reason, code="too-few-labels", got=", ".join(labels), hint=hint, labels=tuple(labels))
    try:
        return TaskSpec.model_validate(values)
    except ValidationError as error:
        details = error.errors()[0]
        reason = f"The task of images is invalid: {details['msg']}"
        raise InputError(reason, code="invalid-image-task", got=", ".join(labels), reason=details["type"]) from None


def _table(images: NDArray[np.generic], labels: Labels, label_names: Sequence[str] | None) -> list[Row]:
    if np.ndim(np.asarray(labels)) != 1:
        reason, shape = "The labels must be a sequence with one label for each image", np.shape(labels)
        hint = "labels.ravel() removes axes of length 1"
        raise InputError(reason, code="wrong-label-shape", got=f"shape {shape}", hint=hint, shape=shape)
    pixels, texts = _pixels(images), [cell_text(label) for label in np.asarray(labels).tolist()]
    if len(pixels) != len(texts):
        raise InputError(
            f"There are {len(pixels)} images and {len(texts)} labels",
            code="wrong-number-of-labels",
            images=len(pixels),
            labels=len(texts),
        )
    names = dict(enumerate(label_names or ()))
    named = [names.get(int(text), text) if text.isdecimal() else text for text in texts]
    return [{"image": image, "label": label} for image, label in zip(pixels, named, strict=True)]


def _pixels(images: NDArray[np.generic]) -> Sequence[Array[np.uint8] | Array[np.float32]]:
    if images.ndim == 4 and images.shape[-1] == 1:
        images = images[..., 0]
    if not len(images) or images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[-1] not in _CHANNELS):
        hint = "Channels come last: images.transpose(0, 2, 3, 1) moves them there"
        raise InputError(
            f"Images have the shape {_LAYOUT}", code="wrong-image-shape", got=images.shape, hint=hint, shape=images.shape
        )
    is_whole = images.dtype.kind in "iu"
    low, high = (float(images.min()), float(images.max())) if images.dtype.kind in "iuf" else (np.nan, np.nan)
    if not (low >= 0 and high <= (255 if is_whole else 1)):
        raise InputError(
            "Pixels are whole numbers from 0 to 255 or floats from 0 to 1",
            code="invalid-pixels",
            got=f"{images.dtype}, {_values(low, high, images)}",
            hint="Divide floats by their largest possible value" if low <= high else "Convert or replace them",
            dtype=str(images.dtype),
            low=low,
            high=high,
        )
    return [as_uint8_array(image) for image in images] if is_whole else [as_array(image) for image in images]


def _values(low: float, high: float, images: NDArray[np.generic]) -> str:
    """Describes the values of images, given the smallest and the largest one, which may be NaN."""
    if low <= high:
        return f"from {low:g} to {high:g}"
    return "with NaN" if images.dtype.kind == "f" else "which are not numbers"


def _digest(rows: Sequence[Row]) -> str:
    """A hash of images and labels."""
    contents = [[value_identity(row["image"]), row["label"]] for row in rows if isinstance(row["image"], Array)]
    return short_hash(json.dumps(contents))
