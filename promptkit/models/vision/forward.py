"""Converts images and interventions to the pixels that a classifier reads, and its outputs to answers of requests."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from promptkit.core.arrays import Array, as_array
from promptkit.core.errors import InputError, Unsupported
from promptkit.core.inputs import ImageInput
from promptkit.core.interventions import InputOperation
from promptkit.core.requests import Classify, ClassifyOutput, Output, Read, ReadOutput, Request, Verb
from promptkit.models.vision.network import Classifier
from promptkit.models.vision.operations import apply

_VALUES_AT_ONCE = 2**25
"""The largest number of values of images that are resized in one step; 128 MB."""


def answer(classifier: Classifier, requests: Sequence[Request]) -> tuple[Output, ...]:
    """Returns the outputs of requests with the same interventions, in one forward pass over their different images.

    Args:
        classifier: The classifier.
        requests: The requests.
    """
    places: dict[ImageInput, int] = {}
    rows = [places.setdefault(request.image, len(places)) for request in requests]
    count = len(classifier.structure.layers)
    verbs = {request.verb for request in requests}
    layers = {verb.hidden_layer % count for verb in verbs if isinstance(verb, Read) and verb.hidden_layer is not None}
    operations = [on_device(operation, classifier.device) for operation in requests[0].interventions.operations]
    with torch.no_grad():
        pixels = pixels_of(classifier, [*places], operations)
        logits, features = classifier.outputs(pixels, layers)
        normalizers = logits.logsumexp(1).cpu().numpy()
    numbers = logits.cpu().numpy()
    states = {number: values.cpu().numpy() for number, values in features.items()}
    return tuple(
        _output(request.verb, numbers[row], float(normalizers[row]), {key: value[row] for key, value in states.items()}, count)
        for request, row in zip(requests, rows, strict=True)
    )


def pixels_of(classifier: Classifier, images: Sequence[ImageInput], operations: Sequence[InputOperation[Tensor]]) -> Tensor:
    """Returns the pixels that the classifier reads: after the operations and at its size, shape (N, C, H, W).

    Args:
        classifier: The classifier.
        images: Images of any sizes.
        operations: Operations with tensors on the device of the classifier.
    """
    groups = [*_groups(images)]
    parts = []
    for numbers in groups:
        batch = torch.from_numpy(np.stack([images[number].pixels.numpy() for number in numbers])).to(classifier.device)
        parts.append(apply(batch, operations, classifier.size))
    if len(parts) == 1:
        return parts[0]
    order = torch.tensor([number for numbers in groups for number in numbers], device=classifier.device)
    return torch.cat(parts)[order.argsort()]


def _groups(images: Sequence[ImageInput]) -> Iterator[list[int]]:
    """Yields the indices of images of the same shape, in groups that are small enough for memory."""
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for number, image in enumerate(images):
        by_shape.setdefault(image.pixels.shape, []).append(number)
    for shape, numbers in by_shape.items():
        count = max(1, _VALUES_AT_ONCE // math.prod(shape))
        yield from (numbers[start : start + count] for start in range(0, len(numbers), count))


def pixels_of_request(classifier: Classifier, request: Request) -> Array:
    """Returns the pixels that the classifier reads for a request, before its normalization; shape (channels, height, width)."""
    operations = [on_device(operation, classifier.device) for operation in request.interventions.operations]
    with torch.no_grad():
        return as_array(pixels_of(classifier, [request.image], operations)[0].float().cpu().numpy())


def check_requests(requests: Sequence[Request], *, classes: int, layers: int, channels: int, name: str) -> None:
    """Checks that a classifier can answer requests.

    Args:
        requests: The requests, of verbs that the engine supports.
        classes: The number of classes.
        layers: The number of layers that can be read.
        channels: The number of channels of the images that the model reads.
        name: The model as the user named it.

    Raises:
        InputError: A class or a layer does not exist, or an image has the wrong number of channels.
        Unsupported: A request reads something that only language models have.
    """
    for verb in dict.fromkeys(request.verb for request in requests):
        _check_verb(verb, classes=classes, layers=layers, name=name)
    shape = next((request.image.pixels.shape for request in requests if _channels(request.image.pixels) != channels), None)
    if shape is not None:
        raise InputError(
            f"The model {name} reads images with {channels} channels",
            code="wrong-channels",
            got=f"pixels of shape {shape}",
            hint=f"Give pixels of shape ({channels}, height, width)",
            model=name,
            shape=shape,
        )


def _check_verb(verb: Verb, *, classes: int, layers: int, name: str) -> None:
    if isinstance(verb, Classify) and not all(0 <= number < classes for number in verb.classes):
        raise InputError(
            f"The model {name} has the classes 0 to {classes - 1}",
            code="no-such-class",
            got=f"classes {verb.classes}",
            hint="Its card lists them: model.card.class_names",
            model=name,
            classes=verb.classes,
        )
    if not isinstance(verb, Read):
        return
    if verb.hidden_layer is None or verb.token_ids or verb.top_m or verb.mean_from is not None:
        raise Unsupported(
            f"A request to the image classifier {name} can read only the pooled features of a layer",
            code="only-pooled-features",
            hint="Give hidden_layer alone, or use Classify for the logits of classes",
            model=name,
        )
    if not -layers <= verb.hidden_layer < layers:
        raise InputError(
            f"The model {name} has {layers} layers that can be read, counted from 0, or from -1 backwards",
            code="no-such-layer",
            got=f"layer {verb.hidden_layer}",
            hint="Its card lists them: model.card.layers",
            model=name,
            layer=verb.hidden_layer,
        )


def _output(verb: Verb, logits: np.ndarray, normalizer: float, features: Mapping[int, np.ndarray], layers: int) -> Output:
    if isinstance(verb, Read):
        assert verb.hidden_layer is not None
        return ReadOutput(hidden=as_array(features[verb.hidden_layer % layers]))
    assert isinstance(verb, Classify)
    chosen = logits[list(verb.classes)] if verb.classes else logits
    return ClassifyOutput(logits=as_array(chosen), log_normalizer=normalizer)


def _channels(pixels: Array) -> int:
    return pixels.shape[0] if len(pixels.shape) == 3 else -1


def on_device(operation: InputOperation[Array], device: torch.device) -> InputOperation[Tensor]:
    """Returns an operation with its parameters as tensors on a device."""
    arrays = tuple(torch.from_numpy(array.numpy().copy()).to(device) for array in operation.arrays)
    return InputOperation(name=operation.name, arrays=arrays, settings=operation.settings)
