"""Read-only arrays as hashable values, and the serialization of float32 arrays as safetensors files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Generic

from typing_extensions import TypeVar

from promptkit.core.errors import CheckpointError
from promptkit.core.hashing import Hasher, sha256_hex

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray
    from pydantic_core import CoreSchema

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Bools = NDArray[np.bool_]

D = TypeVar("D", bound="np.float32 | np.uint8", default="np.float32")
"""The type of the numbers in an array."""

_FLOAT_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}


class Array(Generic[D]):
    """A read-only array of float32 or uint8 that can be compared, hashed and pickled. `Array` alone means float32.

    Two arrays are equal if they have the same type, the same shape and the same bytes. Create one with `as_array` or
    `as_uint8_array`.
    """

    __slots__ = ("_digest", "_numbers")

    def __init__(self, numbers: NDArray[D]) -> None:
        """Wrap a contiguous, little-endian array without copying it, and make it read-only."""
        numbers.setflags(write=False)
        self._numbers = numbers
        self._digest: str | None = None

    @property
    def dtype(self) -> str:
        """The type of the numbers: `float32` or `uint8`."""
        return self._numbers.dtype.name

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of each axis."""
        return self._numbers.shape

    @property
    def digest(self) -> str:
        """The SHA-256 of the bytes in row-major order, in hexadecimal. Computed once."""
        if self._digest is None:
            self._digest = sha256_hex(self.tobytes())
        return self._digest

    def numpy(self) -> NDArray[D]:
        """Returns the values as a read-only NumPy array, without a copy."""
        return self._numbers

    def tobytes(self) -> bytes:
        """Returns the values as bytes, little-endian, in row-major order."""
        return self.numpy().tobytes()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Array):
            return NotImplemented
        same_form = (self.dtype, self.shape) == (other.dtype, other.shape)
        return self is other or (same_form and self.digest == other.digest)

    def __hash__(self) -> int:
        return hash((self.dtype, self.shape, self.digest))

    def __repr__(self) -> str:
        return f"Array({self.dtype}, shape={self.shape}, sha256={self.digest})"

    def __reduce__(self) -> tuple[object, ...]:
        return as_uint8_array if self.dtype == "uint8" else as_array, (self.numpy(),)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> CoreSchema:
        from pydantic_core.core_schema import is_instance_schema

        return is_instance_schema(cls)


class ReloadedArray(Array):
    """An array whose values are not kept in memory but loaded whenever they are needed, such as a large image."""

    __slots__ = ("_load", "_shape")

    def __init__(self, numbers: NDArray[np.float32], load: Callable[[], NDArray[np.float32]]) -> None:
        """Computes the digest of the values.

        Args:
            numbers: The values, a contiguous, little-endian array of float32.
            load: Returns the values again.
        """
        self._shape, self._load = numbers.shape, load
        self._digest = sha256_hex(numbers.tobytes())

    @property
    def dtype(self) -> str:
        """The type of the numbers: `float32`."""
        return "float32"

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of each axis."""
        return self._shape

    def numpy(self) -> NDArray[np.float32]:
        """Loads the values and returns them as a read-only NumPy array."""
        numbers = self._load()
        numbers.setflags(write=False)
        return numbers


def as_array(values: ArrayLike) -> Array:
    """Returns a copy of numbers of any shape as an `Array`, rounded to float32."""
    import numpy as np

    return Array(np.array(values, dtype="<f4", order="C"))


def as_uint8_array(values: ArrayLike) -> Array[np.uint8]:
    """Returns a copy of whole numbers from 0 to 255, of any shape, as an `Array`."""
    import numpy as np

    return Array(np.array(values, dtype=np.uint8, order="C"))


def zeros(*shape: int) -> Array:
    """Returns an array of zeros of this shape."""
    import numpy as np

    return Array(np.zeros(shape, dtype="<f4"))


def parameters_digest(parameters: Mapping[str, Array]) -> str:
    """Returns a 16-digit hash of the names, shapes and values of parameters."""
    hasher = Hasher()
    for name, array in sorted(parameters.items()):
        hasher.update(f"{name}{array.shape}".encode() + array.tobytes())
    return hasher.hexdigest()[:16]


def check_parameters(kind: str, parameters: Mapping[str, Array], shapes: Mapping[str, str], **sizes: int) -> None:
    """Checks the names and shapes of the parameters of a learned manipulation; no parameters are accepted too.

    Args:
        kind: The manipulation, for the error message.
        parameters: The parameters by name.
        shapes: Parameter name -> its dimensions by name, such as `layers rank`. Dimensions of the same name must have the
            same size.
        **sizes: Dimension name -> its required size, where 0 allows any.

    Raises:
        CheckpointError: A parameter is missing, unknown or has another shape.
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
    known_sizes = {dimension: size for dimension, size in sizes.items() if size}
    for name, array in parameters.items():
        _check_shape(kind, name, array.shape, shapes[name].split(), known_sizes)


def _check_shape(kind: str, name: str, shape: tuple[int, ...], dimensions: list[str], known_sizes: dict[str, int]) -> None:
    """Checks one shape, and adds the sizes of dimensions that are not known yet to `known_sizes`."""
    same_rank = len(dimensions) == len(shape)
    sizes = zip(dimensions, shape, strict=False)
    if not same_rank or any(known_sizes.setdefault(dimension, size) != size for dimension, size in sizes):
        expected = ", ".join(f"{known_sizes[d]} {d}" if d in known_sizes else d for d in dimensions)
        raise CheckpointError(
            f"The parameter {name} of {kind} has the wrong shape",
            code="wrong-parameter-shape",
            got=f"{shape}, not ({expected})",
            manipulation=kind,
            parameter=name,
            shape=shape,
            expected=expected,
        )


def serialize(arrays: Mapping[str, Array], metadata: Mapping[str, str] | None = None) -> bytes:
    """Returns arrays as the content of a safetensors file."""
    from safetensors.numpy import save

    content: bytes = save({name: array.numpy() for name, array in arrays.items()}, dict(metadata or {}))
    return content


def deserialize(content: bytes) -> dict[str, Array]:
    """Returns the arrays in the content of a safetensors file, converted to float32.

    Raises:
        ValueError: The content is not a safetensors file, or a tensor is not of a floating-point type.
    """
    from safetensors import SafetensorError, deserialize

    try:
        tensors = deserialize(content)  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        raise ValueError(str(error)) from None
    return {name: as_array(_floats(tensor["dtype"], tensor["data"]).reshape(tensor["shape"])) for name, tensor in tensors}


def _floats(dtype: str, data: bytes) -> NDArray[np.floating]:
    import numpy as np

    if dtype == "BF16":  # the upper half of a float32
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
    if dtype not in _FLOAT_DTYPES:
        raise ValueError(f"the number type {dtype} is not supported")
    return np.frombuffer(data, _FLOAT_DTYPES[dtype])
