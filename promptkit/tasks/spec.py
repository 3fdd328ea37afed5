"""The format of task files (YAML)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, PositiveInt, StrictBool, StrictInt, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from promptkit.tasks.strict_model import StrictModel
from promptkit.tasks.yaml_file import read_yaml, validation_error

_RESERVED_VARIABLES = ("label", "labels")


class RegexColumn(StrictModel):
    """A part of a column's text, selected by a regular expression."""

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


class ChoicesSource(StrictModel):
    """Where the answer choices of each row come from. Exactly one of column, columns and pattern is given."""

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


class Source(StrictModel):
    """One place to read the task's rows from, and the names of its columns and labels there."""

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
    rationale: dict[str, Column] = Field(default_factory=dict)
    """Template variable -> column with the reasoning, for the target block of demonstrations only."""
    label_ids: dict[StrictBool | StrictInt | str, str] | None = None
    """Value in the label column -> label; by default a number is the index of a label, from 0."""
    splits: dict[str, str] = Field(default_factory=dict)
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
                "reserved-variable",
                "{variable} is a reserved template variable; rename this input",
                {"variable": reserved[0], "key": f"{'inputs' if reserved[0] in self.inputs else 'rationale'}.{reserved[0]}"},
            )
        return self


class TaskSpec(StrictModel):
    """A task file (YAML). Exactly one of labels, answer, and choices in the sources determines the kind of task."""

    description: str
    """One-line description of the task and the source of its data."""
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
                {"key": "answer"},
            )
        return self

    @model_validator(mode="after")
    def _check_label_ids(self) -> TaskSpec:
        for index, source in enumerate(self.sources):
            key = f"sources[{index}].label_ids"
            if source.label_ids is not None and self.labels is None:
                raise PydanticCustomError("label-ids-without-labels", "label_ids needs a task with labels", {"key": key})
            undeclared = sorted(set((source.label_ids or {}).values()) - (self.labels or {}).keys())
            if undeclared:
                raise PydanticCustomError(
                    "undeclared-label",
                    "label_ids contains '{label}', which is not one of the labels {labels}",
                    {"label": undeclared[0], "labels": ", ".join(self.labels or ()), "key": key},
                )
        return self


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
            {"pattern": pattern, "shown": repr(pattern), "reason": str(error), "key": "pattern"},
        ) from None
