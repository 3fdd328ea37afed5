"""Gold answers that are JSON objects, from one column or from a column for each field."""

from __future__ import annotations

import json
from collections.abc import Mapping

from promptkit.core.errors import TaskError
from promptkit.core.json_schema import ANY_OBJECT, JsonObject, JsonSchema, Problem, find_object, type_name, written
from promptkit.tasks.columns import cell, cell_text, decoded, is_null, text, texts
from promptkit.tasks.readers import Row
from promptkit.tasks.source import Column, RegexColumn, Source

_WORDS = {"true": True, "false": False}


def accepted_answers(row: Row, source: Source, schema: JsonSchema | None, where: str) -> tuple[str, ...]:
    """Returns the accepted answers of a row whose answer the model generates: texts, or JSON objects as text.

    Args:
        row: The row.
        source: The source, whose label is a column, or field -> column.
        schema: The schema of the objects; None for texts, and for objects of any kind.
        where: What to call the row in error messages.

    Raises:
        TaskError: The row has no answer, or an invalid one.
    """
    label = source.label
    if schema is None and not isinstance(label, dict):
        return texts(row, label, where)
    return read_objects(row, label, schema, where)


def read_objects(row: Row, label: Column | Mapping[str, Column], schema: JsonSchema | None, where: str) -> tuple[str, ...]:
    """Returns the accepted objects of a row as text, each on one line with its fields in the order of the schema.

    Args:
        row: The row.
        label: The column with an object, its text, or a list of accepted objects; or field -> column.
        schema: The schema of the objects; None to accept any object.
        where: What to call the row in error messages.

    Raises:
        TaskError: A column is missing, or contains no object that is valid under the schema.
    """
    schema = schema or JsonSchema(written(ANY_OBJECT))
    if isinstance(label, Mapping):
        return (_checked(_from_columns(row, label, schema, where), schema, where),)
    name = label.column if isinstance(label, RegexColumn) else label
    value = text(row, label, where) if isinstance(label, RegexColumn) else cell(row, name, where)
    items = value if isinstance(value, list) else [value]
    found = [item if isinstance(item, dict) else _parsed(item, name, where) for item in items]
    return tuple(dict.fromkeys(_checked(item, schema, where) for item in found))


def _from_columns(row: Row, columns: Mapping[str, Column], schema: JsonSchema, where: str) -> JsonObject:
    """Returns the object of a row; a field that may be missing is left out where its column is empty (null)."""
    values: dict[str, object] = {}
    for field, column in columns.items():
        types = schema.types_of(field)
        is_optional = field not in schema.required and schema != JsonSchema(written(ANY_OBJECT))
        if isinstance(column, str) and is_null(row.get(column, ...)) and (is_optional or "null" in types):
            if not is_optional:
                values[field] = None
            continue
        value = text(row, column, where) if isinstance(column, RegexColumn) else cell(row, column, where)
        values[field] = _converted(decoded(value, str(column), where), types)
    return values


def _converted(value: object, types: frozenset[str]) -> object:
    """Returns the value of a cell as one of the types; a value that is none of them is unchanged."""
    if not types or isinstance(value, list | dict) or type_name(value) in types:
        return value
    if "number" in types and isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, str):
        return cell_text(value) if "string" in types else value
    if "null" in types and not value.strip():
        return None
    try:
        parsed: object = _WORDS[value.strip().lower()] if value.strip().lower() in _WORDS else json.loads(value)
    except (ValueError, RecursionError):
        return value
    fits = type_name(parsed) in types or (type_name(parsed) == "integer" and "number" in types)
    return parsed if fits else value


def _parsed(value: object, column: str, where: str) -> JsonObject:
    found = find_object(str(decoded(value, column, where)))
    if found is None:
        raise TaskError(
            f"The column {column} contains no JSON object in {where}",
            code="not-an-object",
            got=str(value)[:100],
            hint="Name a column of JSON objects, or one column for each field: label: {field: column}",
            column=column,
            where=where,
        )
    return found


def _checked(value: JsonObject, schema: JsonSchema, where: str) -> str:
    try:
        text_of_value = schema.written(value)
    except (TypeError, ValueError) as error:
        raise TaskError(
            f"The gold answer of {where} contains a value that JSON does not have: {error}",
            code="not-json",
            got=str(value)[:200],
            hint="Convert it to text or to a number",
            where=where,
        ) from None
    problems = schema.problems(json.loads(text_of_value))
    if problems:
        raise TaskError(
            f"The gold answer of {where} is not valid under the schema of the task",
            code="invalid-gold-object",
            got=f"{text_of_value[:200]}; {described(problems)}",
            hint="Correct the schema or the row",
            where=where,
            problems=problems,
        )
    return text_of_value


def described(problems: Mapping[str, Problem]) -> str:
    """Returns what is wrong with an object, for messages."""
    return ", ".join(f"{name or 'the object'}: {problem}" for name, problem in problems.items())
