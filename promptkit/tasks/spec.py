"""The format of task files (YAML)."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from promptkit.core.errors import InputError
from promptkit.core.examples import Part, TaskKind
from promptkit.core.inputs import Modality
from promptkit.core.json_schema import ANY_OBJECT, JsonSchema, read_schema
from promptkit.tasks.division import Division
from promptkit.tasks.image_checks import check_image_task, needs_image_modality
from promptkit.tasks.scale import check_multi_label, check_scale, scale_of
from promptkit.tasks.source import ChoicesSource, IdxFiles, RegexColumn, Source
from promptkit.tasks.strict_model import StrictModel
from promptkit.tasks.yaml_file import read_yaml, validation_error

JSON, SCHEMA = "json", "schema"
"""The extraction of JSON objects, and its keyword for their schema."""


class TaskSpec(StrictModel):
    """A task file (YAML). Exactly one of labels, answer, and choices in the sources determines the kind of task."""

    description: str
    """One-line description of the task and the source of its data."""
    modality: Modality = "text"
    """What the rows contain: `text` (default), or `image` for one image in each row."""
    template: str = ""
    """Default template of a task of texts: the name of a shipped one, or the path of a `.j2` file relative to the task file."""
    labels: dict[str, str | list[str]] | None = Field(default=None, min_length=2)
    """Label -> its word or list of words, in the declared order; makes the task a classification task."""
    classes: dict[str, str | list[str]] | None = None
    """For images: label -> the classes of a pretrained classifier that mean it, by their names; makes predictions possible
    without labeled rows."""
    multi_label: bool = False
    """Whether any number of the labels can apply to a row, whose label column is a list, or labels separated by commas."""
    ordinal: bool = False
    """Whether the labels are in ascending order: their values are the labels themselves if they are numbers, else 1, 2, ..."""
    values: dict[str, float] | None = None
    """Label -> its value on a numeric scale, so that the expected value is predicted too."""
    numeric: bool = False
    """Whether the label column contains numbers: on the scale of the labels, or to be generated, with an `answer`."""
    answer: str | dict[str, dict[str, Any] | None] | None = None
    """Rule that extracts the answer from a generated text: first_line, or {pattern: {regex: ..., max_tokens: 32}}; option
    where the rows also have choices, and the text names one of them."""
    metrics: list[str] = Field(default_factory=list)
    """Metrics besides the default ones, by their names, such as [token_f1]; the first is the main metric, by which runs are
    compared."""
    split: str = "test"
    """Split to evaluate by default."""
    split_train: dict[Part, float] | None = None
    """Part of the train rows -> its fraction, such as {pool: 0.6, fit: 0.2, dev: 0.2} (default): demonstrations come from pool,
    aligners are fitted on fit, searches evaluate on dev."""
    sources: list[Source] = Field(min_length=1)
    """Places to read the rows from; the first one that is available is used: a mirror if {data} or PROMPTKIT_DATA is set,
    else the hub."""
    obtain: str | None = None
    """How to get the data, for the error that none of the sources is available."""

    @cached_property
    def json_schema(self) -> JsonSchema | None:
        """The schema of the gold answers, if these are JSON objects.

        Raises:
            InputError: The schema is invalid.
        """
        if isinstance(self.answer, dict) and JSON in self.answer:
            return read_schema((self.answer[JSON] or {}).get(SCHEMA, ANY_OBJECT))
        return read_schema(ANY_OBJECT) if self.answer == JSON else None

    @property
    def kind(self) -> TaskKind:
        """The kind of the answers; see `TaskKind`."""
        if self.labels is not None:
            return "multi-label" if self.multi_label else "classification"
        return "choice" if self.answer is None else "generation"

    @property
    def scale(self) -> Mapping[str, float] | None:
        """The value of each label, in the declared order; None without a numeric scale."""
        return scale_of(tuple(self.labels or ()), self.values, ordinal=self.ordinal)

    def answers(self) -> Mapping[str, object]:
        """Returns the keys that define the answers, as recorded in a run."""
        kind: dict[str, object] = {"answer": self.answer} if self.labels is None else {"labels": deepcopy(self.labels)}
        kind |= {"multi_label": True} if self.multi_label else {}
        kind |= {} if self.scale is None else {"values": dict(self.scale)}
        return {**kind, "numeric": True} if self.numeric else kind

    def division(self) -> Division | None:
        """Returns the declared division of the train rows, if there is one.

        Raises:
            InputError: The fractions are invalid.
        """
        return None if self.split_train is None else Division.of({str(part): value for part, value in self.split_train.items()})

    @model_validator(mode="after")
    def _check_modality(self) -> TaskSpec:
        if self.modality == "image":
            check_image_task(
                self.labels,
                self.classes,
                self.sources,
                template=bool(self.template),
                answer=self.answer is not None,
                multi_label=self.multi_label,
            )
            return self
        if not self.template:
            raise PydanticCustomError("missing-key", "a task of texts needs a template", {"key": "template"})
        if self.classes is not None:
            raise needs_image_modality("classes")
        for index, source in enumerate(self.sources):
            if source.has_only_images:
                raise needs_image_modality(f"sources[{index}]")
        return self

    @model_validator(mode="after")
    def _check_division(self) -> TaskSpec:
        try:
            self.division()
        except InputError:
            message = "the fractions of the parts must be from 0 to 1, with a sum above 0 and at most 1"
            raise PydanticCustomError("invalid-division", message, {"key": "split_train"}) from None
        return self

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
    def _check_gold_objects(self) -> TaskSpec:
        for index, source in enumerate(self.sources):
            if isinstance(source.label, dict) and (self.answer is None or source.choices is not None):
                raise PydanticCustomError(
                    "fields-without-answer",
                    "a label of several fields is a JSON object, which the model generates: add answer: {example}",
                    {"key": f"sources[{index}].label", "example": "{json: {schema: {field: string}}}"},
                )
        return self

    @model_validator(mode="after")
    def _check_scale(self) -> TaskSpec:
        check_multi_label(self.labels, self.sources, multi_label=self.multi_label)
        check_scale(
            tuple(self.labels or ()), self.values, ordinal=self.ordinal, numeric=self.numeric, generates=self.answer is not None
        )
        if self.scale is not None and self.multi_label:
            raise PydanticCustomError(
                "multi-label-scale", "the labels of a multi-label task have no values", {"key": "multi_label"}
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
    if "idx" in parents:
        return IdxFiles
    return Source if "sources" in parents else TaskSpec
