"""Values that several objects share and that nobody may change: mappings and arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NoReturn, TypeVar

from promptkit.core.arguments import shortened
from promptkit.core.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

K = TypeVar("K")
V = TypeVar("V")
A = TypeVar("A", bound="NDArray[np.generic]")


class ReadOnlyDict(dict[K, V]):
    """A copy of a mapping that cannot be changed, and that can be pickled. `dict(...)` of it can be changed."""

    __slots__ = ()

    def _refuse(self, *args: object, **kwargs: object) -> NoReturn:
        raise InputError(
            "This mapping cannot be changed, because others share it",
            code="read-only",
            got=f"a change of the mapping with the keys {', '.join(map(str, self))}",
            hint="Change a copy: dict(...)",
            keys=tuple(self),
        )

    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (dict(self),)


def read_only(mapping: Mapping[K, V]) -> ReadOnlyDict[K, V]:
    """Returns a copy of a mapping that cannot be changed; itself if it is one."""
    return mapping if isinstance(mapping, ReadOnlyDict) else ReadOnlyDict(mapping)


def numeric_array(name: str, values: object, *, of: str) -> NDArray[np.generic]:
    """Returns numbers as an array; raises InputError if these are not numbers, or not finite.

    Args:
        name: The name of the argument, for error messages.
        values: The numbers, in an array of any shape or in lists.
        of: The name of the function or class that takes them, for error messages.
    """
    import numpy as np

    try:
        array = np.asarray(values)
    except ValueError:  # lists of different lengths
        array = np.array(None)
    if array.dtype.kind not in "iufb" or not array.ndim or not np.isfinite(array).all():
        raise InputError(
            f"Invalid value for {name} of {of}: it should be an array of finite numbers",
            code="not-numbers",
            got=f"{name}={shortened(values)}",
            of=of,
            keyword=name,
            value=shortened(values),
        )
    return array


def read_only_array(array: A) -> A:
    """Returns a view of an array that cannot be changed."""
    view = array.view()
    view.setflags(write=False)
    return view
