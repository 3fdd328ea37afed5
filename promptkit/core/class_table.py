"""Tables of classes by name, to which packages and notebooks can add."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any, TypeVar, cast

from promptkit.core.registry import Named, Registry

T = TypeVar("T", bound=Named)
S = TypeVar("S")


class ClassTable(Registry[type[T]]):
    """A table of classes by their names. The fields of a dataclass are its keywords, as in `name:key=value`."""

    def __init__(
        self,
        kind: str,
        classes: Sequence[type[T]],
        *,
        group: str,
        has_keywords: bool = True,
        beside: Sequence[Registry[Any]] = (),
    ) -> None:
        """Creates a table.

        Args:
            kind: What the table contains, for error messages.
            classes: The initial classes.
            group: The group of entry points; each names a class, as in `my_package.sepia:Sepia`.
            has_keywords: Whether the classes are created from specs, and therefore must be dataclasses.
            beside: Other tables with the same namespace: a name can be in only one of the tables.
        """
        self._has_keywords = has_keywords
        super().__init__(kind, classes, group=group, beside=beside)

    def _entry(self, added: object) -> tuple[str, type[T]]:
        name = vars(added).get("name") if isinstance(added, type) else None
        if not isinstance(name, str) or (self._has_keywords and not is_dataclass(added)):
            decorator = "@dataclass(frozen=True, kw_only=True) above the class and " if self._has_keywords else ""
            needed = "a dataclass with a name" if self._has_keywords else "a class with a name"
            hint = f'Write {decorator}name: ClassVar[str] = "..." in the class'
            raise self._incomplete(added, f"The {self.kind} must be {needed}", hint)
        return name, cast("type[T]", added)


def attribute_of(name: str) -> str:
    """Returns the attribute of a module that a registered name has: `random_each` for `random-each`, `blm_plus` for `blm+`."""
    return name.replace("-", "_").replace("+", "_plus")


def named_attributes(module: str, table: Mapping[str, type]) -> Callable[[str], type]:
    """Returns the `__getattr__` of a public module, by which registered names are attributes of the module.

    Classes are spelled in CamelCase, as in `pk.demos.RandomEach(k=4)`. The name that the command line and YAML use is the same
    class: `pk.demos.random_each(k=4)`, with `_` for `-` and `_plus` for `+`. The names of promptkit's own classes are written
    in the module, because type checkers read them there and because some of them are also the names of files; this function
    adds those that other packages and notebooks register.

    Args:
        module: The name of the module.
        table: The classes by name.
    """

    def attribute(name: str) -> type:
        found = [] if name.startswith("_") else [added for key, added in table.items() if attribute_of(key) == name]
        if not found:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        return found[0]

    return attribute


class JoinedTable(Mapping[str, type[T]]):
    """A view of several tables with different names as one table."""

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


class PartOfTable(Mapping[str, S]):
    """A view of the entries of a table that meet a condition."""

    def __init__(self, table: Mapping[str, object], condition: Callable[[object], bool]) -> None:
        """Creates a view.

        Args:
            table: The table.
            condition: Returns whether an entry is part of the view.
        """
        self._table, self._condition = table, condition

    def __getitem__(self, name: str) -> S:
        entry = self._table[name]
        if not self._condition(entry):
            raise KeyError(name)
        return cast(S, entry)

    def __iter__(self) -> Iterator[str]:
        return (name for name, entry in self._table.items() if self._condition(entry))

    def __len__(self) -> int:
        return sum(1 for _ in self)
