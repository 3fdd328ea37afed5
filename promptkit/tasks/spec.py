"""The format of task files (YAML), and how they are read and validated."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, StrictBool, StrictInt, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from promptkit.core.errors import PromptkitError, TaskError, unknown

_RESERVED_VARIABLES = ("label", "labels")
_UNION_MEMBERS = frozenset({"str", "RegexColumn", "list[str]", "bool", "int", "dict[str,nullable[dict[str,any]]]"})
"""Names of the types of a union, which pydantic adds to the location of an error."""


class RegexColumn(BaseModel):
    """A part of a column's text, selected by a regular expression."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    column: str
    """Column; `a.b` is the field b of the column a."""
    pattern: str
    """Regular expression; the text is its first group, or the whole match if it has no group."""

    @model_validator(mode="after")
    def _check_pattern(self) -> RegexColumn:
        _check_regex(self.pattern)
        return self


Column = str | RegexColumn
"""A column's name, or a part of a column's text."""


class ChoicesSource(BaseModel):
    """Where the answer choices of each row come from. Exactly one of column, columns and pattern is given."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    column: str | None = None
    """Column with a list of texts."""
    columns: list[str] | None = Field(default=None, min_length=2)
    """One column for each choice."""
    pattern: str | None = None
    """Regular expression; the choices are its distinct matches in the inputs, in order."""
    names: str | None = None
    """Column with a list of the choices' names, such as A, B, C, which the label column refers to."""
    count_from: Literal[0, 1] = 0
    """Index of the first choice, 0 or 1, where the label column contains an index."""

    @model_validator(mode="after")
    def _check_choices(self) -> ChoicesSource:
        if sum(value is not None for value in (self.column, self.columns, self.pattern)) != 1:
            raise PydanticCustomError("ambiguous-choices", "choices needs exactly one of column, columns and pattern")
        if self.pattern is not None:
            _check_regex(self.pattern)
        return self


class Source(BaseModel):
    """One place to read the task's rows from, and the names of its columns and labels there."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    files: dict[str, str] | None = None
    """Split -> path of a .jsonl, .csv, .tsv or .parquet file, relative to the task file."""
    mirror: str | None = None
    """Folder in --data DIR or PROMPTKIT_DATA with a file SPLIT.jsonl for each split."""
    hub: str | None = None
    """Dataset on the Hugging Face hub."""
    config: str | None = None
    """Configuration of the dataset, if it has several."""
    revision: str | None = None
    """Branch, tag or commit of the dataset."""
    inputs: dict[str, Column] = Field(min_length=1)
    """Template variable -> column."""
    label: Column
    """Column of the label or of the correct answer; a list of texts contains all correct answers."""
    choices: ChoicesSource | None = None
    """Where the answer choices of each row come from, in a multiple-choice task."""
    rationale: dict[str, Column] = {}
    """Template variable -> column with the reasoning, for the target block of demonstrations only."""
    label_ids: dict[StrictBool | StrictInt | str, str] | None = None
    """Value in the label column -> label; by default a number is the index of a label, from 0."""
    splits: dict[str, str] = {}
    """Name of a split in promptkit -> its name in the source, where they differ."""
    hold_out: PositiveInt | Annotated[float, Field(gt=0, lt=1)] | None = None
    """Number or fraction of the test rows that become the train split, for a source without one. Rows with the smallest
    hash of their inputs are chosen, so equal inputs stay together. With a number, all of these rows are demonstrations;
    with a fraction, they are divided into pool, fit and dev as usual."""

    @model_validator(mode="after")
    def _check_source(self) -> Source:
        if sum(value is not None for value in (self.files, self.mirror, self.hub)) != 1:
            raise PydanticCustomError("ambiguous-source", "a source needs exactly one of files, mirror and hub")
        reserved = [name for name in (*self.inputs, *self.rationale) if name in _RESERVED_VARIABLES]
        if reserved:
            raise PydanticCustomError(
                "reserved-variable", "{variable} is a reserved template variable; rename this input", {"variable": reserved[0]}
            )
        return self


class TaskSpec(BaseModel):
    """A task file (YAML). Exactly one of labels, answer, and choices in the sources determines the kind of task."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    description: str
    """One line that says what the task is and where its data come from."""
    template: str
    """Default template: the name of a shipped one, or the path of a `.j2` file relative to the task file."""
    labels: dict[str, str | list[str]] | None = Field(default=None, min_length=2)
    """Label -> its word or list of words, in the declared order; makes the task a classification task."""
    answer: str | dict[str, dict[str, Any] | None] | None = None
    """Rule that extracts the answer from a generated text: first_line, or {pattern: {regex: ..., max_tokens: 32}}; option
    where the rows also have choices, and the text names one of them."""
    split: str = "test"
    """Split to evaluate by default."""
    sources: list[Source] = Field(min_length=1)
    """Places to read the rows from; the first one that is available is used: a mirror if --data or PROMPTKIT_DATA is set,
    else the hub."""

    @property
    def kind(self) -> Literal["classification", "choice", "generation"]:
        """`classification`: the same labels for every row; `choice`: choices per row; `generation`: generated texts."""
        if self.labels is not None:
            return "classification"
        return "choice" if self.answer is None else "generation"

    @model_validator(mode="after")
    def _check_kind(self) -> TaskSpec:
        has_choices = [source.choices is not None for source in self.sources]
        kinds = {
            "labels": self.labels is not None,
            "answer": self.answer is not None,
            "choices": any(has_choices) and self.answer is None,
        }
        if sum(kinds.values()) != 1 or any(has_choices) != all(has_choices):
            raise PydanticCustomError(
                "ambiguous-task-kind",
                "a task needs exactly one of labels, answer, and choices in every source, and this has {given}",
                {"given": " and ".join(name for name, is_given in kinds.items() if is_given) or "none of them"},
            )
        if isinstance(self.answer, dict) and len(self.answer) != 1:
            raise PydanticCustomError(
                "invalid-extraction",
                "answer must be the name of one extraction, or {name: {keyword: value}}",
                {"place": "answer"},
            )
        return self

    @model_validator(mode="after")
    def _check_label_ids(self) -> TaskSpec:
        for source in self.sources:
            if source.label_ids is not None and self.labels is None:
                raise PydanticCustomError("label-ids-without-labels", "label_ids needs a task with labels")
            undeclared = sorted(set((source.label_ids or {}).values()) - (self.labels or {}).keys())
            if undeclared:
                raise PydanticCustomError(
                    "undeclared-label",
                    "label_ids contains '{label}', which is not one of the labels {labels}",
                    {"label": undeclared[0], "labels": ", ".join(self.labels or ())},
                )
        return self


class _Loader(yaml.SafeLoader):  # the loader of libyaml crashes on deep nesting
    """A YAML loader that refuses duplicate keys, of which YAML would silently use the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Constructs a mapping; raises ConstructorError for a duplicate key."""
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key.value} is given twice", key.start_mark)
            if isinstance(key, yaml.ScalarNode):
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_spec(path: Path) -> TaskSpec:
    """Reads a task file.

    Raises:
        TaskError: The file is not YAML or does not define a task.
        OSError: The file cannot be read.
    """
    data = read_yaml(path, "task", "Start from one that promptkit ships, or with promptkit task init FILE")
    try:
        return TaskSpec.model_validate(data)
    except ValidationError as error:
        raise validation_error(path, error, "task", _model_at) from None


def read_yaml(path: Path, kind: str, hint: str) -> dict[str, Any]:
    """Reads a YAML file that contains a mapping.

    Args:
        path: The file.
        kind: What the file defines, for error messages: `task` or `study`.
        hint: What to try if the file contains something else.

    Raises:
        TaskError: The file is not YAML or contains no mapping.
        OSError: The file cannot be read.
    """
    try:
        data: Any = yaml.load(path.read_text("utf-8"), _Loader)
    except (yaml.YAMLError, ValueError, KeyError, AttributeError, RecursionError) as error:
        raise TaskError(
            f"{path} is not YAML: {_yaml_reason(error)}", code="not-yaml", hint="Correct that line", file=str(path)
        ) from None
    if not isinstance(data, dict):
        shown = str(data)[:100] if data else "an empty file"
        raise TaskError(f"{path} does not define a {kind}", code="not-a-mapping", got=shown, hint=hint, file=str(path))
    return data


def _yaml_reason(error: Exception) -> str:
    """Why a text is not YAML, with line and column."""
    mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
    if mark is None or not isinstance(error, yaml.MarkedYAMLError):
        return " ".join(str(error).split()) or "nested too deeply"
    context = f" {error.context}" if error.context else ""
    return f"{error.problem}{context} (line {mark.line + 1}, column {mark.column + 1})"


def validation_error(
    path: Path, error: ValidationError, kind: str, model_at: Callable[[tuple[int | str, ...]], type[BaseModel]]
) -> PromptkitError:
    """Returns a readable error for the most informative of pydantic's errors.

    Args:
        path: The file that was validated.
        error: The error of pydantic.
        kind: What the file defines: `task` or `study`.
        model_at: Returns the model that defines the keys at a location of the file.
    """
    details = min(error.errors(), key=_error_rank)
    location, error_type = details["loc"], details["type"]
    keys = [str(step) for step in location if step not in _UNION_MEMBERS and not str(step).startswith("function-")]
    place = ".".join(keys)
    where: dict[str, Any] = {"file": str(path), "place": place}
    if error_type == "extra_forbidden":
        known = model_at(location).model_fields
        return unknown(f"key of a {kind}", keys[-1], known, hint=f"It is at {place} in {path}", error=TaskError, **where)
    if "[key]" in location:
        return TaskError(
            f"{path}: the key {details['input']!r} of {keys[0]} is not text",
            code="key-not-text",
            hint="Put it in quotes: in YAML, no, yes, on and off without quotes are booleans, and digits are numbers",
            key=str(details["input"])[:200],
            **where,
        )
    field = model_at(location).model_fields.get(keys[-1]) if keys else None
    description = " ".join(((field and field.description) or "").split())
    if error_type == "missing":
        return TaskError(f"{path}: {place} is missing", code="missing-key", hint=description, **where)
    prefix = f"{path}: {place or 'the file'} is invalid"
    if _is_own_code(error_type):
        return TaskError(f"{prefix}: {details['msg']}", code=error_type, **{**where, **details.get("ctx", {})})
    if error_type == "value_error":  # the message of a validator includes the value
        return TaskError(f"{prefix}: {details['msg'].removeprefix('Value error, ')}", code="invalid-value", **where)
    message = details["msg"].replace("valid dictionary", "mapping (key: value)")
    value = str(details.get("input"))[:200]
    return TaskError(
        f"{path}: {place} is invalid: {message}", code="invalid-value", got=value, hint=description, value=value, **where
    )


def _error_rank(details: Mapping[str, Any]) -> tuple[bool, bool]:
    """Unknown keys first; last, that a list or mapping is not a text, where a union also allows other types."""
    is_not_text = details["loc"][-1:] == ("str",) and isinstance(details["input"], dict | list)
    return details["type"] != "extra_forbidden", is_not_text


def _is_own_code(error_type: str) -> bool:
    """Whether a validator of this module raised the error: its codes have hyphens, those of pydantic underscores."""
    return "-" in error_type


def _model_at(location: tuple[int | str, ...]) -> type[BaseModel]:
    """The model that defines the keys at a location of a task file."""
    parents = [str(step) for step in location[:-1]]
    if "choices" in parents:
        return ChoicesSource
    if any("RegexColumn" in step for step in parents):
        return RegexColumn
    return Source if "sources" in parents else TaskSpec


def _check_regex(pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise PydanticCustomError(
            "invalid-pattern",
            "{shown} is not a regular expression: {reason}",
            {"pattern": pattern, "shown": repr(pattern), "reason": str(error)},
        ) from None
