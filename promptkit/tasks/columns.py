"""What a row's columns say: its texts, the answers that it offers, and which of them is right. Knows nothing of tasks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import isnan

from promptkit.core.errors import TaskError, unknown
from promptkit.tasks.readers import Row
from promptkit.tasks.spec import ChoicesSource, Column, RegexColumn, Source


def _cell(row: Row, column: str, where: str) -> object:
    """What stands in a column, or in a field a.b of it; raises if it is missing or null."""
    value: object = row
    for step in [column] if column in row else column.split("."):
        if not isinstance(value, Mapping) or step not in value:
            known = value if isinstance(value, Mapping) else row
            hint = f"It was searched for in {where}"
            raise unknown("column", column, map(str, known), hint=hint, error=TaskError, where=where)
        value = value[step]
    if value is None or (isinstance(value, float) and isnan(value)):
        reason = f"The column {column} is empty (null) in {where}"
        raise TaskError(reason, code="empty-cell", hint="Fill it in or remove the row", column=column, where=where)
    return value


def text(row: Row, column: Column, where: str) -> str:
    """A column's text, or the part of it that is cut out."""
    name = column.column if isinstance(column, RegexColumn) else column
    value = _cell(row, name, where)
    if isinstance(value, (dict, list)):
        kind = type(value).__name__
        raise TaskError(
            f"The column {name} contains a {kind} in {where}",
            code="not-text",
            hint="Use a column of text",
            column=name,
            where=where,
            type=kind,
        )
    return _cut(cell_text(value), column, where)


def texts(row: Row, column: Column, where: str) -> tuple[str, ...]:
    """Every text of a column that may hold a list, none of them empty or twice."""
    name = column.column if isinstance(column, RegexColumn) else column
    value = _cell(row, name, where)
    listed = value if isinstance(value, list) else [value]
    found = tuple(dict.fromkeys(_cut(cell_text(each), column, where) for each in listed if not isinstance(each, (dict, list))))
    if not found or not all(each.strip() for each in found) or any(isinstance(each, (dict, list)) for each in listed):
        raise TaskError(
            f"The column {name} has no answer in {where}, or one that is not text",
            code="invalid-answer",
            got=str(value)[:100] or "an empty text",
            hint="Fill it in or remove the row",
            column=name,
            where=where,
        )
    return found


def _cut(whole: str, column: Column, where: str) -> str:
    if not isinstance(column, RegexColumn):
        return whole
    match = re.search(column.pattern, whole)
    if match is None:
        raise TaskError(
            f"The pattern {column.pattern!r} does not match the column {column.column} of {where}",
            code="pattern-not-found",
            got=whole[:100],
            hint="Change the pattern or remove the row",
            pattern=column.pattern,
            column=column.column,
            where=where,
        )
    return (match[1] or "") if match.re.groups else match[0]


def offered(row: Row, offer: ChoicesSource, inputs: Mapping[str, str], where: str) -> tuple[str, ...]:
    """The answers that a row offers, in its order; raises for fewer than two, or two that are equal."""
    if offer.pattern is not None:
        matches = [match for content in inputs.values() for match in re.finditer(offer.pattern, content)]
        answers = tuple(dict.fromkeys((match[1] or "") if match.re.groups else match[0] for match in matches))
    elif offer.columns is not None:
        answers = tuple(text(row, column, where) for column in offer.columns)
    else:
        listed = _cell(row, str(offer.column), where)
        if not isinstance(listed, list):
            raise TaskError(
                f"The column {offer.column} does not contain a list in {where}",
                code="not-a-list",
                got=str(listed)[:100],
                hint="Name a column of lists, or `columns` with one answer each, or a `pattern`",
                column=str(offer.column),
                where=where,
            )
        if any(each is None or isinstance(each, (dict, list)) for each in listed):
            raise TaskError(
                f"The list in the column {offer.column} has an answer that is not text in {where}",
                code="choice-not-text",
                got=str(listed)[:100],
                hint="Fill it in, or name `columns` with one answer each",
                column=str(offer.column),
                where=where,
            )
        answers = tuple(map(cell_text, listed))
    if len(answers) < 2 or len(set(answers)) < len(answers) or not all(answers):
        raise TaskError(
            f"There must be at least two answers to choose from, all different and none empty, in {where}",
            code="invalid-choices",
            got=" | ".join(map(repr, answers)) or "none",
            choices=answers,
            where=where,
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
    raise TaskError(
        f"The label of {where} is not one of the row's choices",
        code="label-not-in-choices",
        got=f"{label!r}, with the choices {' | '.join(choices)[:200]}",
        label=label,
        choices=tuple(choices),
        where=where,
    )


def cell_text(value: object) -> str:
    """A cell's text; a truth value's is JSON's."""
    return str(value).lower() if isinstance(value, bool) else str(value)
