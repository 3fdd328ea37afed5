"""Converts fitted objects to JSON values and arrays, and back, so that they can be saved without pickle.

A fitted object is a frozen dataclass whose fields are numbers, texts, None, arrays, tuples, mappings and further such
dataclasses. Its class is registered under a name by `stateful`; a file refers to classes by these names only, so that reading a
file never imports anything.

```python
@stateful("sharpened")
@dataclass(frozen=True)
class Sharpened:
    power: float
```
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar, cast

from promptkit.core.errors import CheckpointError, InputError
from promptkit.core.hashing import SHORT, Hasher

if TYPE_CHECKING:
    import numpy as np
    from _typeshed import DataclassInstance
    from numpy.typing import NDArray

    StoredArray = NDArray[np.generic]

C = TypeVar("C", bound=type)

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
"""A JSON value."""

_CLASSES: dict[str, type] = {}
"""The registered classes by name."""
_NAMES: dict[type, str] = {}
"""The name of each registered class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A fitted object as a JSON value and arrays."""

    value: Json
    """The object; an array is replaced by `{"array": NAME}`."""
    arrays: Mapping[str, StoredArray]
    """Name -> array, contiguous in row-major order."""


def stateful(name: str) -> Callable[[C], C]:
    """Returns a decorator that registers a frozen dataclass, so that its objects can be saved and loaded.

    A class that is defined again, as in a notebook, replaces its earlier definition.

    Args:
        name: A unique name, which saved files contain. Changing it makes them unreadable.

    Raises:
        InputError: Another class has this name (`name-taken`), or the class is not a dataclass (`incomplete-class`).
    """

    def register(cls: C) -> C:
        if not is_dataclass(cls):
            raise InputError(
                f"The class {cls.__name__} must be a dataclass so that its objects can be saved",
                code="incomplete-class",
                got=f"{cls.__module__}.{cls.__qualname__}",
                hint="Write @dataclass(frozen=True) below @stateful(...)",
                kind="stateful class",
                name=cls.__name__,
            )
        existing = _CLASSES.get(name, cls)
        if (existing.__module__, existing.__qualname__) != (cls.__module__, cls.__qualname__):
            raise InputError(
                f"There is already a stateful class named {name}",
                code="name-taken",
                got=f"{existing.__module__}.{existing.__qualname__}",
                hint="Use another name",
                kind="stateful class",
                name=name,
            )
        _CLASSES[name], _NAMES[cls] = cls, name
        return cls

    return register


def to_state(value: object, name: str = "state") -> State:
    """Returns a fitted object as a JSON value and arrays.

    Args:
        value: The object.
        name: The start of the names of the arrays.

    Raises:
        InputError: The object contains something that cannot be saved (`not-saveable`).
    """
    writer = _Writer()
    return State(value=writer.write(value, name), arrays=writer.arrays)


def from_state(state: State) -> object:
    """Returns the object of a state. Its arrays are copies, contiguous in row-major order.

    Raises:
        CheckpointError: A class is unknown (`unknown-state`), or the state is malformed (`malformed-state`).
    """
    return _Reader(state.arrays).read(state.value)


def state_digest(state: State) -> str:
    """Returns a hash of a state, which differs if a value or a number in an array differs."""
    hasher = Hasher()
    hasher.update(json.dumps(state.value, sort_keys=True).encode())
    for name, array in sorted(state.arrays.items()):
        hasher.update(f"\0{name} {array.dtype.str} {array.shape}\0".encode() + array.tobytes())
    return hasher.hexdigest()[:SHORT]


class _Writer:
    """Collects arrays while an object is converted. An array that occurs twice is stored once."""

    def __init__(self) -> None:
        self.arrays: dict[str, StoredArray] = {}
        self._names: dict[int, str] = {}

    def write(self, value: object, path: str) -> Json:
        import numpy as np

        match value:
            case None | bool() | int() | str():
                written: Json = value
            case float():
                written = float(value) if math.isfinite(value) else {"number": repr(float(value))}
            case np.ndarray():
                written = {"array": self._array(value, path)}
            case np.generic():
                written = self.write(value.item(), path)
            case tuple() | list():
                written = [self.write(item, f"{path}.{number}") for number, item in enumerate(value)]
            case Mapping():
                written = {"mapping": [self._pair(pair, f"{path}.{number}") for number, pair in enumerate(value.items())]}
            case _:
                written = self._object(value, path)
        return written

    def _pair(self, pair: tuple[object, object], path: str) -> Json:
        return [self.write(pair[0], f"{path}.key"), self.write(pair[1], path)]

    def _array(self, value: StoredArray, path: str) -> str:
        import numpy as np

        if value.dtype.kind not in "biuf":
            raise _not_saveable(f"an array of {value.dtype}", path)
        if id(value) not in self._names:
            self._names[id(value)] = path
            self.arrays[path] = np.ascontiguousarray(value)
        return self._names[id(value)]

    def _object(self, value: object, path: str) -> Json:
        if type(value) not in _NAMES:
            raise _not_saveable(f"{type(value).__module__}.{type(value).__qualname__}", path)
        stored = [field for field in fields(cast("DataclassInstance", value)) if field.init]
        return {
            "type": _NAMES[type(value)],
            "fields": {field.name: self.write(getattr(value, field.name), f"{path}.{field.name}") for field in stored},
        }


def _not_saveable(kind: str, path: str) -> InputError:
    return InputError(
        "A fitted object contains something that cannot be saved",
        code="not-saveable",
        got=f"{path} is {kind}",
        hint='Use numbers, texts, arrays, tuples and dataclasses that are registered with @stateful("...")',
        place=path,
        type=kind,
    )


class _Reader:
    """Converts a JSON value back to an object."""

    def __init__(self, arrays: Mapping[str, StoredArray]) -> None:
        self._arrays = arrays
        self._read: dict[str, StoredArray] = {}

    def read(self, value: Json) -> object:
        if isinstance(value, list):
            return tuple(map(self.read, value))
        if not isinstance(value, dict):
            return value
        try:
            match value:
                case {"number": str(text), **rest} if not rest:
                    return float(text)
                case {"array": str(name), **rest} if not rest:
                    return self._array(name)
                case {"mapping": list(pairs), **rest} if not rest:
                    return dict(cast("Sequence[tuple[object, object]]", [self.read(pair) for pair in pairs]))
                case {"type": str(name), "fields": dict(values), **rest} if not rest:
                    return self._object(name, values)
        except (TypeError, ValueError, KeyError) as error:
            raise _malformed(str(error)) from error
        raise _malformed(f"an object with the keys {', '.join(value)}")

    def _array(self, name: str) -> StoredArray:
        import numpy as np

        if name not in self._read:
            self._read[name] = np.array(self._arrays[name], order="C")
        return self._read[name]

    def _object(self, name: str, values: Mapping[str, Json]) -> object:
        if name not in _CLASSES:
            raise CheckpointError(
                f"The fitted object {name} is not known",
                code="unknown-state",
                hint="Install and import the package that defines it",
                name=name,
            )
        return _CLASSES[name](**{key: self.read(value) for key, value in values.items()})


def _malformed(reason: str) -> CheckpointError:
    return CheckpointError("The state of a fitted object is malformed", code="malformed-state", got=reason, reason=reason)


def is_saveable(value: object) -> bool:
    """Returns whether an object can be converted by `to_state`."""
    try:
        to_state(value)
    except InputError:
        return False
    return True
