"""Tables of classes by name that packages and notebooks can add to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from typing import TypeVar, cast

from promptkit.core.errors import InputError
from promptkit.core.registry import Named

T = TypeVar("T", bound=Named)
C = TypeVar("C", bound=type[Named])


class ClassTable(Mapping[str, type[T]]):
    """A table of classes by their names. The fields of a dataclass are its keywords, as in `name:key=value`.

    Installed packages add to it by entry points, which are loaded when the table is first read.
    """

    def __init__(self, kind: str, classes: Sequence[type[T]], *, group: str, has_keywords: bool = True) -> None:
        """Creates a table.

        Args:
            kind: What the table contains, for error messages.
            classes: The first classes.
            group: The group of entry points; each names a class, as in `my_package.sepia:Sepia`.
            has_keywords: Whether the classes are created from spellings, so that they must be dataclasses.
        """
        self._kind, self._group, self._has_keywords = kind, group, has_keywords
        self._entries: dict[str, type[T]] = {}
        self._loaded = False
        for each in classes:
            self.register(each)

    def register(self, added: C) -> C:
        """Adds a class, and returns it, so that this can be used as a decorator.

        A class that is defined again, as in a notebook, replaces its earlier definition.

        Raises:
            InputError: It has no name or is not a dataclass, or another class has the same name in this table.
        """
        name = vars(added).get("name")
        if not isinstance(name, str) or (self._has_keywords and not is_dataclass(added)):
            raise InputError(
                f"A {self._kind} is a dataclass with a name",
                code="incomplete-class",
                got=f"{added.__module__}.{added.__qualname__}",
                hint='Write @dataclass(frozen=True, kw_only=True) above the class and name: ClassVar[str] = "..." in it',
                kind=self._kind,
                name=added.__name__,
            )
        present = self._entries.get(name)
        if present is not None and _definition(present) != _definition(added):
            raise InputError(
                f"There is already a {self._kind} named {name}",
                code="name-taken",
                got=".".join(_definition(added)),
                hint="Use another name",
                kind=self._kind,
                name=name,
            )
        self._entries[name] = cast("type[T]", added)
        return added

    def _load(self) -> dict[str, type[T]]:
        """Returns the table with the entry points of installed packages."""
        if not self._loaded:
            from importlib.metadata import entry_points

            self._loaded = True
            for point in entry_points(group=self._group):
                try:
                    added = point.load()
                except Exception as error:
                    self._loaded = False
                    raise InputError(
                        f"The {self._kind} {point.name} of an installed package cannot be loaded: {error}",
                        code="broken-extension",
                        got=point.value,
                        hint="Update or uninstall that package",
                        kind=self._kind,
                        name=point.name,
                    ) from error
                self.register(added)
        return self._entries

    def __getitem__(self, name: str) -> type[T]:
        return self._load()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._load())

    def __len__(self) -> int:
        return len(self._load())


class JoinedTable(Mapping[str, type[T]]):
    """A view of several tables, whose names differ, as one."""

    def __init__(self, *tables: Mapping[str, type[T]]) -> None:
        """Creates a view of tables, in the order of its names."""
        self._tables = tables

    def __getitem__(self, name: str) -> type[T]:
        for table in self._tables:
            if name in table:
                return table[name]
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return (name for table in self._tables for name in table)

    def __len__(self) -> int:
        return sum(map(len, self._tables))


def _definition(cls: type) -> tuple[str, str]:
    """Where a class is defined."""
    return cls.__module__, cls.__qualname__
