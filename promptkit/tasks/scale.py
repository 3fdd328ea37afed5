"""The values of labels on a numeric scale, and checks of the keys of a task file for scales and several labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite

from pydantic_core import PydanticCustomError

from promptkit.core.caller import by_caller, setting
from promptkit.core.errors import InputError
from promptkit.tasks.source import RegexColumn, Source


def scale_of(labels: Sequence[str], values: Mapping[str, float] | None, *, ordinal: bool) -> Mapping[str, float] | None:
    """Returns the value of each label in the declared order; None without a scale.

    Args:
        labels: The labels.
        values: The declared values.
        ordinal: Whether the labels are in ascending order. Their values are the labels themselves if these are ascending
            numbers, and otherwise 1, 2, ...
    """
    if values is not None:
        return {label: values[label] for label in labels}
    if not ordinal:
        return None
    numbers = [as_number(label) for label in labels]
    found = [number for number in numbers if number is not None]
    if len(found) < len(labels) or found != sorted(set(found)):
        found = [float(position) for position in range(1, len(labels) + 1)]
    return dict(zip(labels, found, strict=True))


def as_number(text: str) -> float | None:
    """Returns the finite number that a text is; None for other texts."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if isfinite(number) else None


def check_scale(
    labels: Sequence[str], values: Mapping[str, float] | None, *, ordinal: bool, numeric: bool, generates: bool
) -> None:
    """Checks the keys `values`, `ordinal` and `numeric` of a task file.

    Args:
        labels: The labels; empty if there are none.
        values: The declared values.
        ordinal: Whether the labels are in ascending order.
        numeric: Whether the label column contains numbers.
        generates: Whether the model generates the answers.

    Raises:
        PydanticCustomError: The keys do not agree with each other or with the labels.
    """
    key = "values" if values is not None else "ordinal"
    if values is not None and ordinal:
        raise PydanticCustomError("ambiguous-scale", "give values or ordinal, not both", {"key": "ordinal"})
    if (values is not None or ordinal) and not labels:
        raise PydanticCustomError("scale-without-labels", "a scale needs a task with labels", {"key": key})
    if numeric and not generates and values is None and not ordinal:
        message = "numbers need a scale (values or ordinal), or an answer that is generated"
        raise PydanticCustomError("numeric-without-scale", message, {"key": "numeric"})
    if values is not None:
        _check_values(labels, values)


def _check_values(labels: Sequence[str], values: Mapping[str, float]) -> None:
    wrong = [label for label in values if label not in labels]
    if wrong:
        raise PydanticCustomError(
            "undeclared-label",
            "values contains '{label}', which is not one of the labels {labels}",
            {"label": wrong[0], "labels": ", ".join(labels), "key": "values"},
        )
    missing = [label for label in labels if label not in values]
    if missing:
        message = "values must have a number for each label, and has none for {label}"
        raise PydanticCustomError("label-without-value", message, {"label": ", ".join(missing), "key": "values"})
    if not all(map(isfinite, values.values())) or len(set(values.values())) < len(values):
        raise PydanticCustomError("invalid-values", "the values must be finite and all different", {"key": "values"})


def check_multi_label(labels: Mapping[str, str | list[str]] | None, sources: Sequence[Source], *, multi_label: bool) -> None:
    """Checks a task file with `multi_label`.

    Raises:
        PydanticCustomError: There are no labels, a label has several words, or the label is a part of a column.
    """
    if not multi_label:
        return
    if labels is None:
        raise PydanticCustomError("multi-label-without-labels", "a multi-label task needs labels", {"key": "multi_label"})
    several = [label for label, words in labels.items() if isinstance(words, list) and len(words) != 1]
    if several:
        message = "a label of a multi-label task has one word, and {label} has a list"
        raise PydanticCustomError("several-words", message, {"label": several[0], "key": f"labels.{several[0]}"})
    for index, source in enumerate(sources):
        if isinstance(source.label, RegexColumn):
            message = "the label of a multi-label task is a column, without a pattern"
            raise PydanticCustomError("label-pattern", message, {"key": f"sources[{index}].label"})


def check_given_values(labels: Sequence[str], values: Mapping[str, float]) -> None:
    """Raises InputError unless the values that a user gives are finite and different, and of all labels that are given."""
    if not values:
        return
    numbers = set(values.values())
    if labels and set(labels) != values.keys():
        raise InputError(
            "The labels and the labels with values are different",
            code="conflicting-options",
            got=f"labels {', '.join(labels)}, and values of {', '.join(values)}",
            hint=f"Leave out {setting('labels')}",
            options=("labels", "values"),
        )
    if len(numbers) < len(values) or not all(map(isfinite, numbers)):
        raise InputError(
            "The values of labels must be finite and all different",
            code="invalid-values",
            got=", ".join(f"{label}={number}" for label, number in values.items()),
            hint="Give each label a number of its own, as in "
            + by_caller(command="--values low=1,high=5", python='values={"low": 1, "high": 5}'),
            values=dict(values),
        )
