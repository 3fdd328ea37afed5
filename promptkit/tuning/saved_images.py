"""The images of labeled rows as one file of tensors: arrays as they are, and files as their bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from promptkit.core.arrays import as_array, as_uint8_array
from promptkit.core.examples import LabeledExample
from promptkit.core.values import FileReference, Value

FILE = "file "
"""The prefix of the name of a tensor with the bytes of a file."""


def without_images(rows: Sequence[LabeledExample]) -> tuple[list[LabeledExample], bytes]:
    """Returns rows with only their texts, and the contents of the file of tensors with their images."""
    from safetensors.numpy import save

    tensors: dict[str, np.ndarray] = {}
    texts: list[LabeledExample] = []
    for number, row in enumerate(rows):
        for variable, value in row.inputs.items():
            if isinstance(value, FileReference):
                tensors[f"{FILE}{number} {variable}"] = np.frombuffer(value.read_bytes(), np.uint8)
            elif not isinstance(value, str):
                tensors[f"{number} {variable}"] = np.ascontiguousarray(value.numpy())
        inputs: dict[str, Value] = {name: value for name, value in row.inputs.items() if isinstance(value, str)}
        texts.append(replace(row, inputs=inputs, fingerprint=row.content))
    return texts, bytes(save(tensors)) if tensors else b""


def with_images(rows: Sequence[LabeledExample], contents: bytes) -> list[LabeledExample]:
    """Returns rows with the images in a file of tensors, as `without_images` returns it."""
    from safetensors.numpy import load

    inputs: list[dict[str, Value]] = [dict(row.inputs) for row in rows]
    for name, tensor in load(contents).items() if contents else ():
        number, _, variable = name.removeprefix(FILE).partition(" ")
        inputs[int(number)][variable] = _value(name, tensor)
    return [replace(row, inputs=values) for row, values in zip(rows, inputs, strict=True)]


def _value(name: str, tensor: np.ndarray) -> Value:
    if name.startswith(FILE):
        return FileReference.of_bytes(tensor.tobytes(), name)
    return as_uint8_array(tensor) if tensor.dtype == np.uint8 else as_array(tensor)
