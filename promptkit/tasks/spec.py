"""A task's YAML file: what it may say, checked. Knows nothing of rows."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, StrictBool, StrictInt, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from promptkit.core.errors import PromptkitError, TaskError, unknown

_TAKEN = ("label", "labels")
_UNION = frozenset({"str", "Cut", "list[str]", "bool", "int", "dict[str,nullable[dict[str,any]]]"})
"""What pydantic puts into a place for each type that a value may have."""


class RegexColumn(BaseModel):
    """A part of a column's text."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    column: str
    """The column; a.b is the column a's field b."""
    pattern: str
    """A regular expression: its first group, or the whole match if it has none, is the text."""

    @model_validator(mode="after")
    def _compiles(self) -> RegexColumn:
        _compiled(self.pattern)
        return self


Column = str | RegexColumn
"""A column's name, or the part of it that a pattern matches."""


class ChoicesSource(BaseModel):
    """Where the answers stand that a row offers, of which one is right."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    column: str | None = None
    """A column that holds a list of texts."""
    columns: list[str] | None = Field(default=None, min_length=2)
    """A column for each answer."""
    pattern: str | None = None
    """A regular expression; what it matches in the inputs, each once and in order, is what is offered."""
    names: str | None = None
    """A column that holds a list of what the label calls each of them, such as A, B, C."""
    count_from: Literal[0, 1] = 0
    """Where the label is a number that counts them: what the first is called."""

    @model_validator(mode="after")
    def _one_way(self) -> ChoicesSource:
        if sum(way is not None for way in (self.column, self.columns, self.pattern)) != 1:
            raise PydanticCustomError("ambiguous-choices", "choices needs exactly one of column, columns and pattern")
        if self.pattern is not None:
            _compiled(self.pattern)
        return self


class Source(BaseModel):
    """One place that holds the task's rows, and how its columns and labels are named there."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    files: dict[str, str] | None = None
    """Split -> path of a .jsonl, .csv, .tsv or .parquet file, relative to the task's own file."""
    mirror: str | None = None
    """Folder below --data DIR or PROMPTKIT_DATA that holds a SPLIT.jsonl for each split."""
    hub: str | None = None
    """Data set on the Hugging Face hub."""
    config: str | None = None
    """Its configuration, for a data set on the hub that has several."""
    revision: str | None = None
    """Its branch, tag or commit."""
    inputs: dict[str, Column] = Field(min_length=1)
    """Template variable -> column."""
    label: Column
    """The column of the label, or of the answer; a column that holds a list of texts gives every answer that is right."""
    choices: ChoicesSource | None = None
    """Where the answers stand that each row offers, in a task of multiple choice."""
    rationale: dict[str, Column] = {}
    """Template variable -> column, for the target block of a demonstration alone: how its answer is come by."""
    label_ids: dict[StrictBool | StrictInt | str, str] | None = None
    """Value in that column -> label; unless given, a number counts the labels as declared, from 0."""
    splits: dict[str, str] = {}
    """The task's name of a split -> the source's, where they differ."""
    hold_out: PositiveInt | Annotated[float, Field(gt=0, lt=1)] | None = None
    """Where the source has a test split only: how many of its rows, or which share of them, are the train split; those
    with the smallest hash of their inputs, so that equal inputs stay together. The rest is the test split. A count is
    small, and is the pool whole; a share is divided as any train split."""

    @model_validator(mode="after")
    def _one_place(self) -> Source:
        if sum(place is not None for place in (self.files, self.mirror, self.hub)) != 1:
            raise PydanticCustomError("ambiguous-source", "a source needs exactly one of files, mirror and hub")
        taken = [name for name in (*self.inputs, *self.rationale) if name in _TAKEN]
        if taken:
            raise PydanticCustomError(
                "reserved-variable", "{variable} is a reserved template variable; rename this input", {"variable": taken[0]}
            )
        return self


class TaskSpec(BaseModel):
    """A task's YAML file."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    description: str
    """One line: what is asked, and where the data are from."""
    template: str
    """The template that shows it unless another is asked for: a shipped one, or the path of a `.j2` file from here."""
    labels: dict[str, str | list[str]] | None = Field(default=None, min_length=2)
    """Label -> its word, or its words, in the declared order: a task of classification."""
    answer: str | dict[str, dict[str, Any] | None] | None = None
    """How the answer is found in a text that the model writes: first_line, or {pattern: {regex: ..., max_tokens: 32}}; where
    the rows offer choices too, the text names one of them: option."""
    split: str = "test"
    """The split that is evaluated unless another is asked for."""
    sources: list[Source] = Field(min_length=1)
    """Tried in order: a mirror where --data or PROMPTKIT_DATA is set, the hub where it is not."""

    @property
    def kind(self) -> Literal["classification", "choice", "generation"]:
        """Labels that are the same for every row; answers that each row offers; or a text of the model's own."""
        if self.labels is not None:
            return "classification"
        return "choice" if self.answer is None else "generation"

    @model_validator(mode="after")
    def _one_kind(self) -> TaskSpec:
        offered = [source.choices is not None for source in self.sources]
        ways = (self.labels is not None, self.answer is not None, any(offered) and self.answer is None)
        if sum(ways) != 1 or any(offered) != all(offered):
            named = [name for name, there in zip(("labels", "answer", "choices"), ways, strict=True) if there]
            raise PydanticCustomError(
                "ambiguous-task-kind",
                "a task needs exactly one of labels, answer, and choices in every source, and this has {given}",
                {"given": " and ".join(named) or "none of them"},
            )
        if isinstance(self.answer, dict) and len(self.answer) != 1:
            raise PydanticCustomError(
                "invalid-extraction",
                "answer must be the name of one extraction, or {name: {keyword: value}}",
                {"place": "answer"},
            )
        for source in self.sources:
            if source.label_ids is not None and self.labels is None:
                raise PydanticCustomError("label-ids-without-labels", "label_ids needs a task with labels")
            foreign = sorted(set((source.label_ids or {}).values()) - (self.labels or {}).keys())
            if foreign:
                raise PydanticCustomError(
                    "undeclared-label",
                    "label_ids contains '{label}', which is not one of the labels {labels}",
                    {"label": foreign[0], "labels": ", ".join(self.labels or ())},
                )
        return self


class _Loader(yaml.SafeLoader):  # not libyaml's, which dies of deep nesting
    """YAML in which a key stands once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The mapping; raises if two of its keys are equal, of which YAML would keep the last."""
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key.value} is given twice", key.start_mark)
            if isinstance(key, yaml.ScalarNode):
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_spec(path: Path) -> TaskSpec:
    """The task that a YAML file describes; raises PromptkitError for one that describes none."""
    given = read_yaml(path, "task", "Start from one that promptkit ships, or with promptkit task init FILE")
    try:
        return TaskSpec.model_validate(given)
    except ValidationError as error:
        raise wrong(path, error, "task", _of) from None


def read_yaml(path: Path, kind: str, hint: str) -> dict[str, Any]:
    """The mapping that a YAML file holds; raises PromptkitError for one that holds none."""
    try:
        given: Any = yaml.load(path.read_text("utf-8"), _Loader)
    except (yaml.YAMLError, ValueError, KeyError, AttributeError, RecursionError) as error:
        raise TaskError(
            f"{path} is not YAML: {_reason(error)}", code="not-yaml", hint="Correct that line", file=str(path)
        ) from None
    if not isinstance(given, dict):
        shown = str(given)[:100] if given else "an empty file"
        raise TaskError(f"{path} does not define a {kind}", code="not-a-mapping", got=shown, hint=hint, file=str(path))
    return given


def _reason(error: Exception) -> str:
    """Why a text is not YAML, and where."""
    mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
    if mark is None or not isinstance(error, yaml.MarkedYAMLError):
        return " ".join(str(error).split()) or "nested too deeply"
    while_ = f" {error.context}" if error.context else ""
    return f"{error.problem}{while_} (line {mark.line + 1}, column {mark.column + 1})"


def wrong(
    path: Path, error: ValidationError, kind: str, of: Callable[[tuple[int | str, ...]], type[BaseModel]]
) -> PromptkitError:
    """The one of pydantic's errors that says most, told by the key's place in the file.

    `of`: the model whose keys stand at a place.
    """
    told = error.errors()

    def rank(each: Any) -> tuple[bool, bool]:
        no_text = each["loc"][-1:] == ("str",) and isinstance(each["input"], dict | list)
        return each["type"] != "extra_forbidden", no_text

    first = min(told, key=rank)
    steps = [str(step) for step in first["loc"] if step not in _UNION and not str(step).startswith("function-")]
    place = ".".join(steps)
    if first["type"] == "extra_forbidden":
        known = of(first["loc"]).model_fields
        hint = f"It is at {place} in {path}"
        return unknown(f"key of a {kind}", steps[-1], known, hint=hint, error=TaskError, file=str(path), place=place)
    if "[key]" in first["loc"]:
        return TaskError(
            f"{path}: the key {first['input']!r} of {steps[0]} is not text",
            code="key-not-text",
            hint="Put it in quotes: in YAML, no, yes, on and off without quotes are booleans, and digits are numbers",
            file=str(path),
            place=place,
            key=str(first["input"])[:200],
        )
    field = of(first["loc"]).model_fields.get(steps[-1]) if steps else None
    meaning = " ".join(((field and field.description) or "").split())
    if first["type"] == "missing":
        return TaskError(f"{path}: {place} is missing", code="missing-key", hint=meaning, file=str(path), place=place)
    where: dict[str, Any] = {"file": str(path), "place": place}
    if "-" in first["type"]:  # a code of a validator here; pydantic's own types have underscores
        reason = f"{path}: {place or 'the file'} is invalid: {first['msg']}"
        return TaskError(reason, code=first["type"], **{**where, **first.get("ctx", {})})
    if first["type"] == "value_error":  # a validator's message, which includes what was given
        message = first["msg"].removeprefix("Value error, ")
        return TaskError(f"{path}: {place or 'the file'} is invalid: {message}", code="invalid-value", **where)
    message = first["msg"].replace("valid dictionary", "mapping (key: value)")
    value = str(first.get("input"))[:200]
    return TaskError(
        f"{path}: {place} is invalid: {message}", code="invalid-value", got=value, hint=meaning, value=value, **where
    )


def _of(loc: tuple[int | str, ...]) -> type[BaseModel]:
    """The model whose keys stand at a place of the file."""
    above = [str(step) for step in loc[:-1]]
    if "choices" in above:
        return ChoicesSource
    if any("Cut" in step for step in above):
        return RegexColumn
    return Source if "sources" in above else TaskSpec


def _compiled(pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise PydanticCustomError(
            "invalid-pattern",
            "{shown} is not a regular expression: {reason}",
            {"pattern": pattern, "shown": repr(pattern), "reason": str(error)},
        ) from None
