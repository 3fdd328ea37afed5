"""The dimensions of a study and their cells: the product of the values, in the order given. Knows nothing of models."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import is_dataclass
from inspect import signature
from itertools import product
from typing import Any

from promptkit.core.errors import InputError, unknown
from promptkit.core.registry import spelling
from promptkit.display.table import Plain, text_of

ALIGN = "align"
"""The dimension of predictors that share a pass: the last word of each one's chain of aligners."""


def dimensions(grid: Mapping[str, object]) -> dict[str, tuple[object, ...]]:
    """The values of each dimension; what is no list of values (a text, a number, a mapping) is a constant."""
    table = {name: tuple(given) if _several(given) else (given,) for name, given in grid.items()}  # type: ignore[arg-type]
    for name, values in table.items():
        named = [text_of(plain(value)) for value in values]
        if not values:
            hint = "Give at least one value, or leave the dimension out"
            raise InputError(f"The dimension {name} of the study has no values", code="no-values", hint=hint, dimension=name)
        twice = next((text for text in named if named.count(text) > 1), None)
        if twice is not None:
            raise InputError(
                f"Two values of the dimension {name} have the same name",
                code="duplicate-value",
                got=twice,
                hint="Give each value once, or give the objects different names or settings",
                dimension=name,
                value=twice,
            )
    return table


def _several(value: object) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping)


def cells(table: Mapping[str, Sequence[object]]) -> list[dict[str, Any]]:
    """Every combination of the values, the last dimension running fastest."""
    return [dict(zip(table, values, strict=True)) for values in product(*table.values())]


def check_takes(build: Callable[..., object], names: Iterable[str]) -> None:
    """Raise unless the function takes every dimension by its name, and asks for no more."""
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
    named = {each.name: each for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)}
    anything = any(each.kind is each.VAR_KEYWORD for each in parameters)
    given = list(names)
    foreign = next((name for name in given if name not in named and not anything), None)
    if foreign is not None:
        raise unknown("argument of the function that builds predictors", foreign, named)
    absent = [name for name, each in named.items() if each.default is each.empty and name not in given]
    if absent:
        raise InputError(
            f"The function that builds predictors needs values for {', '.join(absent)}",
            code="missing-argument",
            hint=f"Add {absent[0]}= to the study, with one value or several",
            arguments=tuple(absent),
        )


def plain(value: object) -> Plain:
    """A value of a dimension as tables name it; objects by their spelling or name."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={text_of(plain(each))}" for key, each in value.items())
    if _several(value):
        return ", ".join(text_of(plain(each)) for each in value)  # type: ignore[attr-defined]
    name = getattr(value, "name", None) or getattr(value, "__name__", None)
    if is_dataclass(value) and isinstance(getattr(type(value), "name", None), str):
        return spelling(value)
    return name if isinstance(name, str) else str(value)


def listed(values: Mapping[str, Plain]) -> str:
    """A cell's values in one line: `demos=random, k=4`."""
    return ", ".join(f"{name}={text_of(value)}" for name, value in values.items()) or "the only cell"
