"""A cached property that is computed once, whichever threads read it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from threading import RLock
from typing import Any, Self, TypeVar, overload

T = TypeVar("T")


class locked_property(cached_property[T]):  # noqa: N801 - a decorator, named as cached_property is
    """A `cached_property` that one thread computes while others wait; from Python 3.12 on, `cached_property` has no lock."""

    def __init__(self, compute: Callable[[Any], T]) -> None:
        super().__init__(compute)
        self._computing = RLock()

    @overload
    def __get__(self, instance: None, owner: type[Any] | None = None) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type[Any] | None = None) -> T: ...
    def __get__(self, instance: object, owner: type[Any] | None = None) -> Self | T:
        """Returns the value, or the property itself for a class."""
        if instance is None:
            return self
        with self._computing:
            return super().__get__(instance, owner)
