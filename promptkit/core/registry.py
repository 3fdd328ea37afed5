"""Registered classes and their specs: `name:key=value` on the command line, `name(key=value)` in Python.

Names are looked up in tables of dataclasses, never as import paths. The fields of a class are its keywords, except those
created by `parameters_field`. A `Registry` is a table to which other packages and notebooks can add.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import Field, field, fields
from types import FunctionType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from promptkit.core.arguments import check_value, error_code, field_types, shortened
from promptkit.core.errors import InputError, unknown

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from pydantic_core import ErrorDetails

    from promptkit.core.fingerprints import Fingerprint

T = TypeVar("T")
V = TypeVar("V")

LEARNED = "learned"
"""The metadata key of fields that hold trained parameters and are therefore not keywords."""


class Named(Protocol):
    """An object with the name that its class is registered by."""

    @property
    def name(self) -> str:
        """The name on the command line."""
        ...


N = TypeVar("N", bound=Named)
C = TypeVar("C")


class Registry(Mapping[str, V], ABC):
    """A table by name, to which packages and notebooks can add.

    Installed packages add to it by entry points, which are loaded when the table is first read, and notebooks by `register`.
    Subclasses define the entry of an added object.
    """

    def __init__(self, kind: str, first: Iterable[object], *, group: str, beside: Sequence[Registry[Any]] = ()) -> None:
        """Creates a table.

        Args:
            kind: What the table contains, for error messages.
            first: The objects to add first.
            group: The group of entry points; each names what a package adds, as in `my_package.specificity:Specificity`.
            beside: Other tables with the same namespace: a name can be in only one of the tables.
        """
        self.kind, self.group = kind, group
        self._beside = [*beside]
        for table in beside:
            table._beside.append(self)
        self._entries: dict[str, V] = {}
        self._definitions: dict[str, tuple[str, str]] = {}
        self._loaded = False
        for added in first:
            self.register(added)

    @abstractmethod
    def _entry(self, added: object) -> tuple[str, V]:
        """Returns the name and the entry of an added object.

        Raises:
            InputError: The object lacks something that all objects in this table have.
        """

    def register(self, added: C) -> C:
        """Adds a class, and returns it, so that this can be used as a decorator.

        A class that is defined again, as in a notebook, replaces its earlier definition.

        Raises:
            InputError: The class is incomplete, or another one has the same name in this table.
        """
        name, entry = self._entry(added)
        definition = _definition(added)
        is_elsewhere = any(name in table._entries for table in self._beside)
        if is_elsewhere or self._definitions.get(name, definition) != definition:
            raise InputError(
                f"There is already a {self.kind} named {name}",
                code="name-taken",
                got=".".join(definition),
                hint="Use another name",
                kind=self.kind,
                name=name,
            )
        self._entries[name], self._definitions[name] = entry, definition
        return added

    def _incomplete(self, added: object, what: str, hint: str) -> InputError:
        """Returns the error for a class that lacks something."""
        module, name = _definition(added)
        return InputError(
            what, code="incomplete-class", got=f"{module}.{name}", hint=hint, kind=self.kind, name=name.rpartition(".")[2]
        )

    def _load(self) -> dict[str, V]:
        """Returns the table with the entry points of installed packages."""
        if not self._loaded:
            from importlib.metadata import entry_points

            self._loaded = True
            for point in entry_points(group=self.group):
                try:
                    self.register(point.load())
                except Exception as error:
                    self._loaded = False
                    if isinstance(error, InputError) and error.code == "name-taken":
                        raise
                    raise InputError(
                        f"The {self.kind} {point.name} of an installed package cannot be loaded: {error}",
                        code="broken-extension",
                        got=point.value,
                        hint="Update or uninstall that package",
                        kind=self.kind,
                        name=point.name,
                    ) from error
        return self._entries

    def __getitem__(self, name: str) -> V:
        return self._load()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._load())

    def __len__(self) -> int:
        return len(self._load())


def _definition(added: object) -> tuple[str, str]:
    """Where a class, a function, or the class of an object, is defined."""
    definition = added if isinstance(added, type | FunctionType) else type(added)
    return definition.__module__, definition.__qualname__


def parse(spelling: str) -> tuple[str, dict[str, str]]:
    """Parses a spec: `batch:estimate_on=test` -> ("batch", {"estimate_on": "test"}).

    Keywords are separated by `:`, the items of a value by `|`. A part without `=` continues the value before it, as in
    `similar:encoder=hf:demo`.

    Raises:
        InputError: The spec is malformed or has a keyword twice.
    """
    name, *pairs = re.split(r"(?<!\?):(?![ (\\|)\[?])", spelling)  # a colon inside a regular expression does not separate
    keywords: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if pair and not equals and keywords:  # the value continues, as in encoder=hf:demo
            keywords[[*keywords][-1]] += f":{pair}"
            continue
        if not (key and equals):
            raise InputError(
                f"{spelling!r} cannot be parsed",
                code="malformed-keyword",
                got=pair,
                hint="Write name:key=value",
                spelling=spelling,
                part=pair,
            )
        if key in keywords:
            raise InputError(
                f"{spelling!r} has the keyword {key} twice",
                code="duplicate-keyword",
                hint="Give each keyword once",
                spelling=spelling,
                keyword=key,
            )
        keywords[key] = value
    return name.strip(), keywords


def build(kind: str, table: Mapping[str, type[T]], spelling: str, **defaults: object) -> T:
    """Creates the object of a spec.

    Args:
        kind: What the table contains, for error messages.
        table: The registered classes by name.
        spelling: The spec, as `name:key=value`.
        **defaults: Values for fields of the class that the spec does not set. Names without a field are ignored.

    Raises:
        InputError: The spec, its name, a keyword or a value is invalid.
    """
    name, keywords = parse(spelling)
    return build_from(kind, table, name, keywords, **defaults)


def build_from(kind: str, table: Mapping[str, type[T]], name: str, keywords: Mapping[str, object], **defaults: object) -> T:
    """Creates the object of a name and keywords.

    Args:
        kind: What the table contains, for error messages.
        table: The registered classes by name.
        name: The name of a class.
        keywords: Values by field name, as texts from the command line or as values from YAML.
        **defaults: As for `build`.

    Raises:
        InputError: The name, a keyword or a value is invalid.
    """
    from pydantic import TypeAdapter, ValidationError

    if name not in table:
        raise unknown(kind, name, table)
    known = {field.name: field for field in keywords_of(table[name])}
    for key in keywords:
        if key not in known:
            raise unknown(f"keyword of the {kind} {name}", key, known)
    registered: type = table[name]
    for key, value in keywords.items():
        if isinstance(value, bool):  # pydantic would convert it to a number
            check_value(key, value, field_types(registered)[key], of=name)
    settable = {field.name for field in fields(cast("type[DataclassInstance]", table[name])) if field.init}
    values = {key: value for key, value in defaults.items() if key in settable}
    values |= {key: _split(value, known[key]) for key, value in keywords.items()}
    try:
        return TypeAdapter(table[name]).validate_python(values)
    except ValidationError as error:
        raise _invalid_keyword(kind, name, values, error.errors()[0]) from None


def _split(value: object, field: Field[object]) -> object:
    """Splits the text of a tuple field at `|`."""
    return tuple(value.split("|")) if isinstance(value, str) and "tuple" in str(field.type) else value


def _invalid_keyword(kind: str, name: str, values: Mapping[str, object], details: ErrorDetails) -> InputError:
    keyword = str(details["loc"][0]) if details["loc"] else ""
    return InputError(
        f"Invalid settings for the {kind} {name}: {details['msg']}",
        code=error_code(details["type"]),
        got=f"{keyword}={shortened(details['input'])}" if keyword else repr(dict(values)),
        of=name,
        keyword=keyword,
        value=shortened(details["input"] if keyword else dict(values)),
    )


def keywords_of(value: object) -> list[Field[object]]:
    """Returns the keywords of a registered class or object: the fields that it is created with, without trained parameters."""
    return [field for field in fields(cast("DataclassInstance", value)) if field.init and not field.metadata.get(LEARNED)]


def parameters_field() -> dict[str, V]:
    """Returns a dataclass field for trained parameters, which is empty by default and not a keyword."""
    return field(default_factory=dict, repr=False, metadata={LEARNED: True})


def trained_rows_field() -> frozenset[Fingerprint]:
    """Returns a dataclass field for the rows that something was trained on, which is empty by default and not a keyword.

    Comparisons ignore it, because they compare behavior.
    """
    return field(default=frozenset(), repr=False, compare=False, metadata={LEARNED: True})


def spelling(value: Named, *, without: str = "") -> str:
    """Returns the spec of a registered object, with the keywords that differ from the defaults.

    Args:
        value: The object.
        without: The name of a keyword to leave out.
    """
    changed = [field for field in keywords_of(value) if getattr(value, field.name) != field.default and field.name != without]
    return spell(value.name, {field.name: getattr(value, field.name) for field in changed})


def spell(name: str, keywords: Mapping[str, object]) -> str:
    """Returns the spec of a name and keywords, as the command line writes it."""
    return ":".join([name, *(f"{key}={_joined(value)}" for key, value in keywords.items())])


def _joined(value: object) -> str:
    return "|".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def settings_of(value: Named) -> dict[str, object]:
    """Returns the name and keywords of a registered object, as a run records them."""
    return {"name": value.name} | {field.name: getattr(value, field.name) for field in keywords_of(value)}
