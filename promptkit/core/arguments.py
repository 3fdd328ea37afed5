"""Checks the values that users give in Python: the arguments of public functions and the fields of public dataclasses.

A value must have the annotated type. Nothing is converted, except NumPy scalars given to a function; a bool is not a number,
and numbers must be finite.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cache, reduce, wraps
from inspect import Parameter, Signature, signature
from operator import or_
from pathlib import Path
from types import FunctionType, UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    ParamSpec,
    Protocol,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from promptkit.core.errors import InputError, unknown

if TYPE_CHECKING:
    import numpy as np
    from _typeshed import DataclassInstance
    from pydantic import TypeAdapter
    from pydantic_core import CoreSchema, ErrorDetails

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

MAX_SHOWN = 200
"""The maximum number of characters of an invalid value in an error message."""
_EXPECTED = "Input should be "
_NOT_AN_OBJECT = "not_an_object"
"""The type of pydantic's error for a value that is not an instance of a class."""
_TEXT_AS_SEQUENCE = "sequence_str"
"""The type of pydantic's error for a text where a sequence of texts is expected."""
_OBJECTS: Mapping[str, tuple[str, str]] = {
    "Baselines": ("a table of baselines", "pk.baselines(task)"),
    "Cot": ("a chain of thought", "pk.cot.ZeroShot(), with parentheses"),
    "Learnable": ("a learned manipulation", "pk.SoftPrompt(10)"),
    "Model": ("a model", 'pk.load("demo")'),
    "Optimizer": ("an optimizer", "pk.CmaEs()"),
    "Order": ("an order", "pk.order.Shuffled(), with parentheses; a custom order inherits from pk.order.Order"),
    "OutputReader": ("an aligner that reads the model's output", 'pk.Verbalizer({"no": "bad", "yes": "good"})'),
    "Path": ("a pathlib.Path", ""),
    "Predictor": ("a predictor", "pk.Predictor(model, prompt, labels)"),
    "Run": ("a run", 'pk.Run.load("runs/sentiment-1a2b3c4d")'),
    "Selector": ("a selector", "pk.demos.Balanced(k=8), with parentheses; a custom selector inherits from pk.demos.Selector"),
    "Shard": ("a shard", "pk.Shard(1, 3)"),
    "Task": ("a task", 'pk.task("sentiment")'),
}
"""Class -> its name in error messages, and how to create an instance."""
_CODES = {"Model": "not-a-model", "Path": "not-a-path", "Predictor": "not-a-predictor", "Task": "not-a-task"}
"""Class -> the code of the error for a value that is not an instance of it, if that is not `not-an-instance`."""
_GENERAL = {"not-an-instance": 0, "invalid-value": 1}
"""Codes that are not used for a union of types if one of the types has a more specific code."""


def check_arguments(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Returns a decorator that checks the arguments of a function against its annotations.

    Parameters without an annotation, such as `self`, are not checked.

    Args:
        name: The public name of the function, for error messages.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        parameters = signature(function)

        @wraps(function)
        def checked_function(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                bound = parameters.bind(*args, **kwargs)
            except TypeError:  # a missing or unexpected argument, for which the call itself raises a better message
                return function(*args, **kwargs)
            for key, value in bound.arguments.items():
                bound.arguments[key] = _checked_argument(parameters, key, value, _parameter_hints(function), name)
            return function(*bound.args, **bound.kwargs)

        return checked_function

    return decorate


def _checked_argument(parameters: Signature, key: str, value: object, hints: Mapping[str, object], of: str) -> object:
    """Checks one bound argument, and returns it with NumPy scalars as Python numbers."""
    if key not in hints:
        return value
    kind = parameters.parameters[key].kind
    if kind is Parameter.VAR_KEYWORD and isinstance(value, dict):
        named = {keyword: as_python(item) for keyword, item in value.items()}
        for keyword, item in named.items():
            check_value(keyword, item, hints[key], of=of)
        return named
    if kind is Parameter.VAR_POSITIONAL and isinstance(value, tuple):
        values = tuple(map(as_python, value))
        for item in values:
            check_value(key, item, hints[key], of=of)
        return values
    value = as_python(value)
    check_value(key, value, hints[key], of=of)
    return value


@cache
def _parameter_hints(function: Callable[..., object]) -> dict[str, object]:
    """Returns the annotations of the parameters. That of the result is left out: it may name types that are not imported."""
    bare = FunctionType(cast(FunctionType, function).__code__, cast(FunctionType, function).__globals__)
    bare.__annotations__ = {key: hint for key, hint in function.__annotations__.items() if key != "return"}
    return get_type_hints(bare, include_extras=True)


class _Named(Protocol):
    """An object that is registered by a name."""

    name: str


def checked(value: object, name: str = "") -> None:
    """Checks the types of all fields of a dataclass instance; numbers must be finite. Call it in `__post_init__`.

    Args:
        value: The instance.
        name: Its name in error messages; the name that it is registered by, unless given.

    Raises:
        InputError: A field has an invalid value.
    """
    kind: type = type(value)
    hints = field_types(kind)
    for item in fields(cast("DataclassInstance", value)):
        if item.init:
            check_value(item.name, getattr(value, item.name), hints[item.name], of=name or cast(_Named, value).name)


@cache
def field_types(kind: type) -> dict[str, object]:
    """Returns the type annotations of the fields of a dataclass."""
    return get_type_hints(kind, include_extras=True)


def check_value(name: str, value: object, kind: object, *, of: str) -> None:
    """Checks that a value has a type, without conversion; numbers must be finite.

    Args:
        name: The name of the argument or field, for error messages.
        value: The value.
        kind: The type annotation.
        of: The name of the function or object that takes the value, for error messages.

    Raises:
        InputError: The value is invalid.
    """
    from pydantic import ValidationError

    try:
        _adapter(kind).validate_python(value, strict=True)
    except ValidationError as error:
        if isinstance(value, str) and (literals := _literals(kind)):
            raise unknown(f"{name.replace('_', ' ')} of {of}", value, literals) from None
        raise _invalid_value(name, value, error.errors(), of) from None


def _invalid_value(name: str, value: object, errors: list[ErrorDetails], of: str) -> InputError:
    # the most specific error: one with its own code, and the item of a sequence rather than the sequence
    error = min(errors, key=lambda details: (_GENERAL.get(_code_of(details), -1), -len(details["loc"])))
    hint = ""
    if error["type"] == _NOT_AN_OBJECT:
        value, hint = error["input"], error["ctx"]["hint"]
    elif error["type"] == _TEXT_AS_SEQUENCE:
        hint = f"Write {name}=[{shortened(value)}]"
    elif (python_value := as_python(value)) is not value:
        hint = f"Convert it with {type(python_value).__name__}(...)"
    return InputError(
        f"Invalid value for {name} of {of}: {_alternatives(errors)}",
        code=_code_of(error),
        got=f"{name}={shortened(value)}",
        hint=hint,
        of=of,
        keyword=name,
        value=shortened(value),
    )


def _code_of(details: ErrorDetails) -> str:
    return str(details["ctx"]["code"]) if details["type"] == _NOT_AN_OBJECT else error_code(details["type"])


def _alternatives(errors: list[ErrorDetails]) -> str:
    """Returns a description of the expected value; for a union of types, of all its members."""
    messages = list(dict.fromkeys(_message_of(details) for details in errors))
    if all(message.startswith(_EXPECTED) for message in messages):
        return _EXPECTED + " or ".join(message.removeprefix(_EXPECTED) for message in messages)
    return messages[0]


def _message_of(details: ErrorDetails) -> str:
    if details["type"] == _TEXT_AS_SEQUENCE:
        return "Input should be a list of texts, not a single text"
    return details["msg"].replace("an instance of Sequence", "a sequence")


def error_code(pydantic_type: str) -> str:
    """Returns the code of an error that pydantic reports for a value."""
    return {"finite_number": "not-finite", "callable_type": "not-a-function"}.get(pydantic_type, "invalid-value")


def as_python(value: T) -> T:
    """Returns a NumPy scalar as a Python number, and any other value unchanged."""
    is_scalar = type(value).__module__ == "numpy" and getattr(value, "ndim", 1) == 0
    return cast("np.generic", value).item() if is_scalar else value


def shortened(value: object) -> str:
    """Returns the representation of a value on one line, of limited length."""
    text = " ".join(line.strip() for line in repr(value).splitlines())
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "..."


def _literals(kind: object) -> list[str]:
    """Returns the strings that a type annotation allows by name."""
    if get_origin(kind) is Literal:
        return [value for value in get_args(kind) if isinstance(value, str)]
    return [name for part in get_args(kind) for name in _literals(part)]


@cache
def _adapter(kind: object) -> TypeAdapter[object]:
    from pydantic import ConfigDict, TypeAdapter

    return TypeAdapter(_with_instances(kind), config=ConfigDict(allow_inf_nan=False, arbitrary_types_allowed=True))


def _with_instances(kind: Any) -> Any:
    """Returns a type annotation in which a class of promptkit, or Path, accepts any instance, without a check of its fields."""
    origin, arguments = get_origin(kind), get_args(kind)
    if isinstance(kind, type) and not arguments and (kind is Path or kind.__module__.startswith("promptkit.")):
        return Annotated[object, _InstanceOf(kind)]
    if origin in (Literal, Annotated, Callable, type) or not arguments:
        return kind
    parts = tuple(map(_with_instances, arguments))
    return reduce(or_, parts) if origin in (Union, UnionType) else origin[parts]


@dataclass(frozen=True, slots=True)
class _InstanceOf:
    """Makes pydantic accept exactly the instances of a class; a class itself is not one, even if it has all the methods."""

    kind: type

    def __get_pydantic_core_schema__(self, source: object, handler: object) -> CoreSchema:
        from pydantic_core import PydanticCustomError, core_schema

        noun, example = _OBJECTS.get(self.kind.__name__, (f"a {self.kind.__name__.lower()}", ""))
        code = _CODES.get(self.kind.__name__, "not-an-instance")
        context = {"noun": noun, "code": code, "hint": example and f"Write {example}"}

        def check(value: object) -> object:
            if isinstance(value, type) or not isinstance(value, self.kind):
                raise PydanticCustomError(_NOT_AN_OBJECT, "Input should be {noun}", context)
            return value

        return core_schema.no_info_plain_validator_function(check)
