"""The dimensions of a study and their combinations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import is_dataclass
from inspect import signature
from itertools import product
from typing import TypeGuard, cast

from promptkit.core.errors import InputError, unknown
from promptkit.core.registry import Named, spelling
from promptkit.display.table import Plain, text_of

ALIGN = "align"
"""The dimension of predictors that share a pass: the spelling of the last aligner in the chain of each."""


def dimensions(grid: Mapping[str, object]) -> dict[str, tuple[object, ...]]:
    """Returns the values of each dimension; a text, a number or a mapping is a dimension with one value.

    Raises:
        InputError: If a dimension has no values, or two values with the same name.
    """
    values_of = {name: tuple(value) if is_collection(value) else (value,) for name, value in grid.items()}
    for name, values in values_of.items():
        texts = [text_of(plain_value(value)) for value in values]
        if not values:
            hint = "Give at least one value, or leave the dimension out"
            raise InputError(f"The dimension {name} of the study has no values", code="no-values", hint=hint, dimension=name)
        duplicate = next((text for text in texts if texts.count(text) > 1), None)
        if duplicate is not None:
            raise InputError(
                f"Two values of the dimension {name} have the same name",
                code="duplicate-value",
                got=duplicate,
                hint="Give each value once, or give the objects different names or settings",
                dimension=name,
                value=duplicate,
            )
    return values_of


def is_collection(value: object) -> TypeGuard[Iterable[object]]:
    """Returns whether a value is a list, a range or another iterable, but not a text, bytes or a mapping."""
    return isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping)


def cells(dimensions: Mapping[str, Sequence[object]]) -> list[dict[str, object]]:
    """Returns every combination of the values; the last dimension varies fastest."""
    return [dict(zip(dimensions, values, strict=True)) for values in product(*dimensions.values())]


def check_parameters(build: Callable[..., object], names: Iterable[str]) -> None:
    """Checks that a function can be called with exactly these keyword arguments.

    Args:
        build: The function.
        names: The names of the dimensions.

    Raises:
        InputError: If `build` is not a function, does not accept a dimension, or has another parameter without a default.
    """
    try:
        parameters = signature(build).parameters.values()
    except (TypeError, ValueError):
        raise InputError(
            "A study needs a function that builds a predictor",
            code="not-a-function",
            got=repr(build)[:100],
            hint="Write pk.study(build, task, k=[0, 4])",
            value=repr(build)[:100],
        ) from None
    names = list(names)
    keywords = {p.name: p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    accepts_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    unexpected = next((name for name in names if name not in keywords and not accepts_any), None)
    if unexpected is not None:
        raise unknown("argument of the function that builds predictors", unexpected, keywords)
    missing = [name for name, p in keywords.items() if p.default is p.empty and name not in names]
    if missing:
        raise InputError(
            f"The function that builds predictors needs values for {', '.join(missing)}",
            code="missing-argument",
            hint=f"Add {missing[0]}= to the study, with one value or several",
            arguments=tuple(missing),
        )


def plain_value(value: object) -> Plain:
    """Returns a value as tables show it; objects by their spelling or name."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={text_of(plain_value(item))}" for key, item in value.items())
    if is_collection(value):
        return ", ".join(text_of(plain_value(item)) for item in value)
    if is_dataclass(value) and isinstance(getattr(type(value), "name", None), str):
        return spelling(cast(Named, value))
    name = getattr(value, "name", None) or getattr(value, "__name__", None)  # any object of the user's
    return name if isinstance(name, str) else str(value)


def format_values(values: Mapping[str, Plain]) -> str:
    """Returns the values of a cell in one line, such as `demos=random, k=4`."""
    return ", ".join(f"{name}={text_of(value)}" for name, value in values.items()) or "the only cell"
