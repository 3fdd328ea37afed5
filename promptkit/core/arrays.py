"""Learned numbers: as values, as numpy's, and as the bytes of safetensors files, in which nothing can be executed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptkit.core.errors import CheckpointError


@dataclass(frozen=True, slots=True, kw_only=True)
class Array:
    """Learned numbers."""

    data: bytes
    """float32, little-endian, row by row."""
    shape: tuple[int, ...]


if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

_FLOATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}


def as_numpy(array: Array) -> Any:
    """The numbers, of the array's shape."""
    import numpy as np

    return np.frombuffer(array.data, "<f4").reshape(array.shape)


def as_array(numbers: Any) -> Array:
    """Numbers of any shape as a value."""
    return Array(data=numbers.astype("<f4").tobytes(), shape=tuple(numbers.shape))


def digest(parameters: Mapping[str, Array]) -> str:
    """What tells parameters apart."""
    told = hashlib.sha256()
    for name, array in sorted(parameters.items()):
        told.update(f"{name}{array.shape}".encode() + array.data)
    return told.hexdigest()[:16]


def check_held(kind: str, parameters: Mapping[str, Array], shapes: Mapping[str, str], **sizes: int) -> None:
    """Refuse parameters that are not those of their kind, by name and shape, or whose bytes are not; none are none yet.

    `shapes` names dimensions, as `layers rank`; those of one name are of one size, which may be among `sizes` (0: any).
    """
    if parameters and parameters.keys() != shapes.keys():
        raise CheckpointError(
            f"The parameters of {kind} must be named {', '.join(shapes)}",
            code="wrong-parameter-names",
            got=", ".join(map(str, parameters)),
            manipulation=kind,
            names=tuple(map(str, parameters)),
            expected=tuple(shapes),
        )
    known = {name: size for name, size in sizes.items() if size}
    for name, array in parameters.items():
        names = shapes[name].split()
        own = zip(names, array.shape, strict=False)
        if len(names) != len(array.shape) or any(known.setdefault(each, size) != size for each, size in own):
            expected = ", ".join(f"{known[each]} {each}" if each in known else each for each in names)
            raise CheckpointError(
                f"The parameter {name} of {kind} has the wrong shape",
                code="wrong-parameter-shape",
                got=f"{array.shape}, not ({expected})",
                manipulation=kind,
                parameter=name,
                shape=array.shape,
                expected=expected,
            )
        if len(array.data) != 4 * prod(array.shape):
            raise CheckpointError(
                f"The parameter {name} of {kind} must have 4 bytes per number",
                code="wrong-parameter-size",
                got=f"{len(array.data)} bytes for the shape {array.shape}",
                manipulation=kind,
                parameter=name,
                shape=array.shape,
                bytes=len(array.data),
            )


def serialize(arrays: Mapping[str, Array], metadata: Mapping[str, str] | None = None) -> bytes:
    """Arrays as the bytes of a safetensors file."""
    from safetensors.numpy import save as dumped

    content: bytes = dumped({name: as_numpy(array) for name, array in arrays.items()}, dict(metadata or {}))
    return content


def deserialize(content: bytes) -> dict[str, Array]:
    """The arrays of the bytes of a safetensors file. Raises ValueError for other bytes, and for numbers that are no floats."""
    from safetensors import SafetensorError, deserialize

    try:
        found = deserialize(content)  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        raise ValueError(str(error)) from None
    return {name: as_array(_floats(told["dtype"], told["data"]).reshape(told["shape"])) for name, told in found}


def _floats(dtype: str, data: bytes) -> Any:
    import numpy as np

    if dtype == "BF16":  # the upper half of a float32
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
    if dtype not in _FLOATS:
        raise ValueError(f"the number type {dtype} is not supported")
    return np.frombuffer(data, _FLOATS[dtype])


def put(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files into a folder, each at once; the folder is made if it is not there. Raises CheckpointError otherwise."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            scratch = folder / f".{name}.part"
            scratch.write_bytes(content)
            scratch.replace(folder / name)
    except OSError as error:
        raise CheckpointError(
            f"The folder {folder} cannot be written to: {error.strerror}",
            code="cannot-write",
            hint="Give another folder",
            folder=str(folder),
            reason=error.strerror,
        ) from None
