"""What a row's columns say: its texts, the answers that it offers, and which of them is right. Knows nothing of tasks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import isnan

from promptkit.errors import PromptkitError, unknown
from promptkit.readers import Row
from promptkit.spec import Column, Cut, Offer, Source


def _cell(row: Row, column: str, where: str) -> object:
    """What stands in a column, or in a field a.b of it; raises if it is missing or null."""
    value: object = row
    for step in [column] if column in row else column.split("."):
        if not isinstance(value, Mapping) or step not in value:
            known = value if isinstance(value, Mapping) else row
            raise unknown("column", column, map(str, known), hint=f"It was looked for in {where}")
        value = value[step]
    if value is None or (isinstance(value, float) and isnan(value)):
        raise PromptkitError(f"The column {column} is empty (null) in {where}", hint="Fill it or leave the row out")
    return value


def text(row: Row, column: Column, where: str) -> str:
    """A column's text, or the part of it that is cut out."""
    name = column.column if isinstance(column, Cut) else column
    value = _cell(row, name, where)
    if isinstance(value, (dict, list)):
        raise PromptkitError(f"The column {name} holds a {type(value).__name__} in {where}", hint="Use a column of text")
    return _cut(cell_text(value), column, where)


def texts(row: Row, column: Column, where: str) -> tuple[str, ...]:
    """Every text of a column that may hold a list, none of them empty or twice."""
    name = column.column if isinstance(column, Cut) else column
    value = _cell(row, name, where)
    listed = value if isinstance(value, list) else [value]
    found = tuple(dict.fromkeys(_cut(cell_text(each), column, where) for each in listed if not isinstance(each, (dict, list))))
    if not found or not all(each.strip() for each in found) or any(isinstance(each, (dict, list)) for each in listed):
        raise PromptkitError(
            f"The column {name} holds no answer, or one that is no text, in {where}",
            got=str(value)[:100] or "an empty text",
            hint="Fill it or leave the row out",
        )
    return found


def _cut(whole: str, column: Column, where: str) -> str:
    if not isinstance(column, Cut):
        return whole
    match = re.search(column.pattern, whole)
    if match is None:
        raise PromptkitError(
            f"The pattern {column.pattern!r} matches nothing in the column {column.column} of {where}",
            got=whole[:100],
            hint="Change the pattern, or leave the row out",
        )
    return (match[1] or "") if match.re.groups else match[0]


def offered(row: Row, offer: Offer, inputs: Mapping[str, str], where: str) -> tuple[str, ...]:
    """The answers that a row offers, in its order; raises for fewer than two, or two that are equal."""
    if offer.pattern is not None:
        matches = [match for content in inputs.values() for match in re.finditer(offer.pattern, content)]
        answers = tuple(dict.fromkeys((match[1] or "") if match.re.groups else match[0] for match in matches))
    elif offer.columns is not None:
        answers = tuple(text(row, column, where) for column in offer.columns)
    else:
        listed = _cell(row, str(offer.column), where)
        if not isinstance(listed, list):
            hint = "Name a column of lists, or `columns` that hold an answer each, or a `pattern`"
            raise PromptkitError(f"The column {offer.column} holds no list in {where}", got=str(listed)[:100], hint=hint)
        if any(each is None or isinstance(each, (dict, list)) for each in listed):
            hint = "Fill it, or name columns that hold an answer each"
            raise PromptkitError(
                f"An answer of the column {offer.column} is no text in {where}", got=str(listed)[:100], hint=hint
            )
        answers = tuple(map(cell_text, listed))
    if len(answers) < 2 or len(set(answers)) < len(answers) or not all(answers):
        raise PromptkitError(
            f"There must be at least two answers to choose from, all different and none empty, in {where}",
            got=" | ".join(map(repr, answers)) or "none",
        )
    return answers


def chosen(row: Row, source: Source, choices: Sequence[str], where: str) -> str:
    """Which of a row's choices its label means: by its name where there are names; a number is a place; a text is an answer's
    text, or in digits a place where no answer is a number itself."""
    label = text(row, source.label, where)
    place = isinstance(source.label, str) and type(_cell(row, source.label, where)) is int
    place = place or (label.isdecimal() and not any(choice.isdecimal() for choice in choices))
    offer = source.choices
    assert offer is not None
    if offer.names is not None:
        called = _cell(row, offer.names, where)
        names = list(map(cell_text, called)) if isinstance(called, list) else []
        if len(names) == len(choices) and names.count(label) == 1:
            return choices[names.index(label)]
    elif place:
        if 0 <= int(label) - offer.count_from < len(choices):
            return choices[int(label) - offer.count_from]
    elif label in choices:
        return label
    raise PromptkitError(
        f"The label of {where} is none of the answers that the row offers", got=f"{label!r} of {' | '.join(choices)[:200]}"
    )


def cell_text(value: object) -> str:
    """A cell's text; a truth value's is JSON's."""
    return str(value).lower() if isinstance(value, bool) else str(value)
