"""The gold JSON objects of a table without a task file: their fields, columns and schema."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from promptkit.core.caller import setting
from promptkit.core.errors import TaskError
from promptkit.core.json_schema import JsonSchema, read_schema, type_name
from promptkit.tasks.column_roles import Rows, check_columns
from promptkit.tasks.columns import cell_text, is_null


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonAnswer:
    """What the gold JSON objects of a table are made of."""

    label: str | dict[str, str]
    """The column that contains the objects, or field -> column."""
    schema: JsonSchema
    """The schema of the objects."""
    note: str = ""
    """How the schema was chosen by the values of the table; empty if it was given."""


def json_answer(
    rows: Rows, *, column: str | None, fields: Mapping[str, str], schema: JsonSchema | None, where: str
) -> JsonAnswer | None:
    """Returns what the gold objects of a table are made of; None if its answers are not JSON objects.

    Args:
        rows: The rows.
        column: The column of the answers, if they are in one column.
        fields: Field -> its column. Without it and without `column`, each field of the schema has a column of its name.
        schema: The schema. Without it, the type of each field is that of the values of its column.
        where: What to call the data in error messages.

    Raises:
        TaskError: A column does not exist, or a field is not in the schema or has no column.
    """
    if schema is None and not fields:
        return None
    if schema is not None and column is not None:
        return JsonAnswer(label=column, schema=schema)
    if schema is None:
        check_columns([*fields.values()], rows, where)
        inferred = _inferred(rows, fields)
        note = f"The schema of the answers, by the values of their columns, is {inferred.text}; another can be given."
        return JsonAnswer(label=dict(fields), schema=inferred, note=note)
    columns = dict(fields) or {name: name for name in schema.fields if name in rows[0] or name in schema.required}
    _check_fields(columns, schema)
    check_columns([*columns.values()], rows, where)
    return JsonAnswer(label=columns, schema=schema)


def _check_fields(columns: Mapping[str, str], schema: JsonSchema) -> None:
    """Raises TaskError unless the fields with a column are fields of the schema, and include those that all objects have."""
    closed = schema.value.get("additionalProperties") is False
    unknown = [name for name in columns if closed and name not in schema.properties]
    missing = sorted(schema.required - columns.keys())
    if unknown or missing or not columns:
        raise TaskError(
            "The fields of the gold answers do not agree with the schema",
            code="fields-differ-from-schema",
            got=f"fields {', '.join(columns) or 'none'}; the schema has {', '.join(schema.fields) or 'no named fields'}",
            hint=f"Name a column for each field of the schema with {setting('answer_fields', python='answer')}",
            unknown=tuple(unknown),
            missing=tuple(missing),
        )


def _inferred(rows: Rows, fields: Mapping[str, str]) -> JsonSchema:
    return read_schema({field: _schema_of([row[column] for row in rows]) for field, column in fields.items()})


def _schema_of(values: Sequence[object]) -> dict[str, object]:
    """Returns the schema of a field by the values of its column; an empty cell is null."""
    filled = [value for value in values if not _is_empty(value)]
    types = {_type_of(value) for value in filled}
    if types == {"integer", "number"}:
        types = {"number"}
    kind = types.pop() if len(types) == 1 else "string"
    return {"type": kind if len(filled) == len(values) else [kind, "null"]}


def _is_empty(value: object) -> bool:
    return is_null(value) or (isinstance(value, str) and not value.strip())


def _type_of(value: object) -> str:
    """Returns the type of a JSON value; a text that is a number, `true` or `false` is one."""
    if not isinstance(value, str):
        return type_name(value) if isinstance(value, bool | int | float | list | dict) else "string"
    try:
        parsed: object = json.loads(value.strip().lower())
    except (ValueError, RecursionError):
        return "string"
    is_same = isinstance(parsed, bool) or (isinstance(parsed, int | float) and cell_text(parsed) == value.strip())
    return type_name(parsed) if is_same else "string"
