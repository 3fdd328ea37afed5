"""The options for the source of a task's rows, on the command line and in study files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, FiniteFloat, PlainSerializer
from pydantic_core import PydanticCustomError

from promptkit.core.json_schema import JsonSchema, read_schema
from promptkit.tasks.columns import cell_text
from promptkit.tasks.division import division_text
from promptkit.tasks.strict_model import StrictModel


def to_names(value: object) -> object:
    """Returns names as a tuple: a text is a JSON or YAML list, or names separated by commas.

    In a list of several items each item is a name, so that names can contain commas; numbers and booleans are names, too.
    """
    if isinstance(value, list | tuple) and len(value) == 1 and isinstance(value[0], str):
        value = value[0]  # the command line takes the option several times
    if isinstance(value, str):
        value = _listed(value) if value.lstrip().startswith("[") else [name.strip() for name in value.split(",")]
    if value is None or value == [""]:
        return ()
    if not isinstance(value, list | tuple):
        return value
    return tuple(cell_text(item) if isinstance(item, int | float) else item for item in value)


def _listed(text: str) -> object:
    """The items of a list in JSON, or in YAML without quotes around its items; numbers stay what was written."""
    from promptkit.core.yaml_text import YamlError, parse_yaml

    try:
        return json.loads(text, parse_int=str, parse_float=str)
    except ValueError:
        pass
    try:
        return parse_yaml(text, numbers=False)
    except YamlError:
        raise PydanticCustomError(
            "malformed-list", '{text} is not a list in JSON or YAML, such as [a, b] or ["a, b", c]', {"text": text[:200]}
        ) from None


def to_text(names: Sequence[str]) -> str:
    """Returns names as the command line takes them: separated by commas, or as a JSON list if this would be ambiguous."""
    joined = ",".join(names)
    try:
        is_clear = to_names(joined) == tuple(names)
    except PydanticCustomError:  # it begins like a list
        is_clear = False
    return joined if is_clear else json.dumps([*names], ensure_ascii=False)


def to_values(value: object) -> object:
    """Returns the values of labels as a mapping: a text is `low=1,high=5`, or a mapping in JSON or YAML."""
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        value = ",".join(value)  # the command line takes the option several times
    if value is None or value == "":
        return {}
    if isinstance(value, str):
        value = _mapped(value) if value.lstrip().startswith("{") else dict(map(_pair, value.split(",")))
    if not isinstance(value, Mapping):
        return value
    return {cell_text(label): number for label, number in value.items()}


def _pair(text: str) -> tuple[str, str]:
    """The label and the value in `label=value`."""
    label, equals, number = text.rpartition("=")
    if not equals:
        raise PydanticCustomError("malformed-values", "{text} is not LABEL=NUMBER, such as low=1,high=5", {"text": text[:200]})
    return label.strip(), number.strip()


def _mapped(text: str) -> object:
    """The mapping in a JSON or YAML text."""
    from promptkit.core.yaml_text import YamlError, parse_yaml

    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return parse_yaml(text)
    except YamlError:
        raise PydanticCustomError(
            "malformed-values", "{text} is not a mapping in JSON or YAML, such as {low: 1, high: 5}", {"text": text[:200]}
        ) from None


def values_text(values: Mapping[str, float]) -> str:
    """Returns the values of labels as the command line takes them: `low=1,high=5`, or JSON if this would be ambiguous."""
    joined = ",".join(f"{label}={number:g}" for label, number in values.items())
    try:
        is_clear = to_values(joined) == {label: f"{number:g}" for label, number in values.items()}
    except PydanticCustomError:
        is_clear = False
    is_exact = all(float(f"{number:g}") == number for number in values.values())
    return joined if is_clear and is_exact else json.dumps(dict(values), ensure_ascii=False)


LabelValues = Annotated[dict[str, FiniteFloat], BeforeValidator(to_values), PlainSerializer(values_text)]
"""Label -> its value: a mapping, or a text such as `low=1,high=5`."""
Names = Annotated[tuple[str, ...], BeforeValidator(to_names), PlainSerializer(to_text)]
"""Names separated by commas, or a list."""


def to_fields(value: object) -> object:
    """Returns field -> column: a text is a JSON object, or pairs such as `city=place`, or names of columns, by commas."""
    if isinstance(value, Mapping):
        return {cell_text(field): cell_text(column) if isinstance(column, int) else column for field, column in value.items()}
    items = value if isinstance(value, list | tuple) else [value]
    if value is None or items in ([""], []):
        return {}
    texts = [item for item in items if isinstance(item, str)]
    if len(texts) < len(items):
        return value
    return {field: column for item in texts for field, column in _pairs(item).items()}


def _pairs(text: str) -> Mapping[str, object]:
    """The fields and columns in one text."""
    if text.lstrip().startswith("{"):
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            raise PydanticCustomError(
                "malformed-fields", "{text} is not a JSON object such as {example}", {"text": text[:200], "example": _FIELDS}
            ) from None
        return found if isinstance(found, dict) else {}
    pairs = [part.partition("=") for part in text.split(",")]
    return {field.strip(): (column if equals else field).strip() for field, equals, column in pairs}


def fields_text(fields: Mapping[str, str]) -> str:
    """Returns fields and their columns as the command line takes them: as pairs, or as JSON if these would be ambiguous."""
    joined = ",".join(field if field == column else f"{field}={column}" for field, column in fields.items())
    return joined if to_fields(joined) == fields else json.dumps(dict(fields), ensure_ascii=False)


Fields = Annotated[dict[str, str], BeforeValidator(to_fields), PlainSerializer(fields_text)]
"""Field -> column; on the command line pairs such as city=place, separated by commas."""
_FIELDS = '{"city": "place"}'


def to_schema(value: object) -> object:
    """Returns a JSON schema as JSON text, or the path of a file that contains it."""
    if isinstance(value, Mapping):
        try:
            return json.dumps(value, ensure_ascii=False)
        except (TypeError, ValueError):
            return value
    return Path(value) if isinstance(value, str) and not value.lstrip().startswith("{") else value


class SourceOptions(StrictModel):
    """The evaluated split, and where the datasets of tasks are."""

    split: str | None = None
    """Split to evaluate; by default the one that the task defines."""
    data: Path | None = None
    """Folder with a local mirror of the datasets; by default PROMPTKIT_DATA."""


class TableOptions(StrictModel):
    """What the columns of a data file or of data in memory mean. What is not given is chosen by the values of the rows.

    An option of data files is one field of this class; besides, `pk.task` has it as a keyword.
    """

    label_column: str | None = None
    """For a data file: column with the labels; by default `label`, or the only column with few different values."""
    inputs: Names = ()
    """For a data file: columns that the template shows, as a,b or a list; by default all that neither identify the row nor
    contain dates."""
    labels: Names = ()
    """For a data file: its labels in order, as a,b,c or a list such as ["a, b", c]; by default the values of the label
    column."""
    multi_label: bool = False
    """For a data file: any number of labels can apply to a row, as in a;b, "a,b" or ["a", "b"]."""
    ordinal: bool = False
    """For a data file: the labels are in ascending order, so that the expected value is predicted too; numbers are their own
    values, and other labels are 1, 2, ..."""
    values: LabelValues = Field(default_factory=dict)
    """For a data file: the labels and their values on a scale, as low=1,high=5, so that the expected
    value is predicted too; in place of {labels} and {ordinal}."""
    numeric: bool = False
    """For a data file: the label column contains numbers, which {labels} divides into a scale (with {answer_column}, numbers
    to generate)."""
    answer_column: str | None = None
    """For a data file with answers to generate: column with the correct answer; with {answer_schema}, a JSON object."""
    answer_fields: Fields = Field(default_factory=dict)
    """For a data file with JSON objects to generate: fields and their columns, as city=place,date or as a JSON object."""
    answer_schema: Annotated[str | Path | None, BeforeValidator(to_schema)] = None
    """For a data file with JSON objects to generate: their schema, as JSON such as {"city": "string"}, or a file with it; by
    default the types of the fields are those of their columns."""
    id_column: str | None = None
    """For a data file: column with your own id of each row, which predictions and comparisons show."""

    @property
    def generates(self) -> bool:
        """Whether the model generates the answer."""
        return bool(self.answer_column or self.answer_fields) or self.answer_schema is not None

    def read_answer_schema(self) -> JsonSchema | None:
        """Returns the schema of the JSON objects that are generated; None if none is given.

        Raises:
            InputError: It is no valid schema, or its file cannot be read.
        """
        return None if self.answer_schema is None else read_schema(str(self.answer_schema))

    def table_options(self) -> dict[str, object]:
        """Returns the options for data files that differ from their defaults, as JSON values."""
        given, default = (each.model_dump(mode="json", include={*TableOptions.model_fields}) for each in (self, TableOptions()))
        return {name: value for name, value in given.items() if value != default[name]}


PYTHON_NAMES = {
    "label_column": "label",
    "answer_column": "answer",
    "answer_fields": "answer",
    "answer_schema": "schema",
    "id_column": "id",
}
"""Option for data files -> the keyword of `pk.task`, where they differ."""


class DataOptions(TableOptions, SourceOptions):  # pydantic has the fields of the last class first
    """Where the rows of a task come from. All but `split`, `data` and `split_train` apply only to data files."""

    train: Path | None = None
    """For a data file: file with the demonstrations; by default half of the rows, split by hash."""
    split_train: Annotated[str | None, BeforeValidator(division_text)] = None
    """How the train rows are divided: pool (demonstrations, training), fit (aligners) and dev (searches), as in
    pool=0.6,fit=0.2,dev=0.2 (default)."""
