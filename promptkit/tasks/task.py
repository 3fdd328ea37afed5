"""Tasks: labeled rows from a source, and the parts of the train split.

The train split is divided once, by hash of what a row shows to a model, into a pool for demonstrations and training (60%), a
part to fit aligners on (fit, 20%) and a part for searches and early stopping (dev, 20%). Equal rows are in the same part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from promptkit.core.arguments import check_arguments
from promptkit.core.caller import by_caller, setting
from promptkit.core.errors import TaskError, unknown
from promptkit.core.examples import Example, LabeledExample, Part
from promptkit.core.fingerprints import Fingerprint, SeenRows
from promptkit.inputs.text.template import Template, is_template_text
from promptkit.tasks.columns import (
    answer_columns,
    cell,
    cell_text,
    input_text,
    read_choices,
    read_correct_choice,
    row_ids,
    text,
)
from promptkit.tasks.division import DEFAULT, EXAMPLE, WITHOUT_DEV, Division, division_of_fold
from promptkit.tasks.folds import HOLD_OUT, Fold, make_fold
from promptkit.tasks.gold_labels import Gold, LabelNames, read_answer, read_gold
from promptkit.tasks.images.cells import image_value
from promptkit.tasks.json_gold import accepted_answers
from promptkit.tasks.readers import Row
from promptkit.tasks.source import Source
from promptkit.tasks.sources import Tables, folder_of_files, known_splits, read_source
from promptkit.tasks.spec import TaskSpec
from promptkit.tasks.splits import divide_train_test, rows_of_part, with_ids, with_row_ids
from promptkit.tasks.yaml_file import errors_at, key_path, leaves

_IDENTIFYING = ("mirror", "hub", "config", "revision", "bundled")
"""What names the data of a source on every machine."""
_SCALARS = (str, int, float)
"""The types of cells that are part of a row's fingerprint."""


@dataclass(frozen=True)
class Task:
    """A task and the source of its rows."""

    name: str
    """The task's name, as in `promptkit tasks`, or the name of its file."""
    spec: TaskSpec
    """The task's definition."""
    source: Source
    """The source that the rows are read from."""
    base: Path
    """The folder that paths of the source are relative to, or the root of the mirror."""
    file: Path | None = None
    """The task file, which errors name; None for a data file."""
    tables: Tables = field(default_factory=dict, repr=False)
    """Split -> rows that are in memory, for a task of arrays, of a data file or of a data frame."""
    data_options: Mapping[str, object] | None = field(default=None, compare=False, repr=False)
    """The options of `promptkit eval` that make the task from a data file; None for other tasks."""
    notes: tuple[str, ...] = ()
    """What was chosen by the values of the rows, such as columns that the template leaves out."""
    division: Division | None = None
    """How the train rows are divided into parts; None for the division of the task file, or else the default."""
    held_out: Fold | None = field(default=None, repr=False)
    """The evaluated fold; the rows of the other folds are the train split. None without folds."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels in the declared order; empty if the task has no fixed labels."""
        return tuple(self.spec.labels or ())

    @property
    def inline_template(self) -> str | None:
        """The text of the task's template if no file contains it, as for a table without a given template."""
        return self.spec.template if is_template_text(self.spec.template) else None

    def no_rows_error(self, purpose: str, part: Part) -> TaskError:
        """Returns the error for a part of the train split without usable rows.

        Args:
            purpose: What the rows are needed for, such as `to choose by`.
            part: The part, which is empty or contains only rows whose inputs are evaluated.
        """
        prefix = f"The task {self.name} has no rows {purpose}"
        if count := len(self.part(part)):
            return TaskError(
                f"{prefix}: all {count} rows of the {part} part of its train split have inputs that are also evaluated",
                code="rows-are-evaluated",
                hint=f"Use different rows for training and evaluation: another {setting('split')}, or {setting('train')}",
                task=self.name,
                part=part,
                rows=count,
            )
        return TaskError(
            f"{prefix}: the {part} part of its train split is empty",
            code="empty-part",
            hint="Add train rows; hold_out: 0.5 takes them from a test split"
            if self.parts.fractions[part]
            else "Give the part some of the train rows: "
            + by_caller(command=f"--split-train {EXAMPLE}", python=f"task.with_parts({EXAMPLE})"),
            task=self.name,
            part=part,
        )

    @check_arguments("Task.rows")
    def rows(self, split: str) -> Sequence[LabeledExample]:
        """Returns the labeled rows of a split, in the order of the source.

        Raises:
            TaskError: The split does not exist, or a row is invalid.
        """
        if self.held_out is not None and split == self.held_out.split:
            return self.held_out.rows
        return self._examples(split)

    @check_arguments("Task.labeled_rows")
    def labeled_rows(self, split: str | None = None) -> Sequence[LabeledExample]:
        """Returns the rows that are divided into folds: a split, including the rows that are held out from it for training.

        Args:
            split: The split; the task's default if None.

        Raises:
            TaskError: The split does not exist, or a row is invalid.
        """
        split = self.spec.split if split is None else split
        if self.hold_out is None or split != "test":
            return self._examples(split)
        if "test and train" not in self._splits:
            self._splits["test and train"] = self._read("test")
        return self._splits["test and train"]

    @property
    def has_one_table(self) -> bool:
        """Whether the source has a single table of rows and the task does not say which of them are for training."""
        source, is_table = self.source, self.source.files is not None or self.source.memory is not None
        if not is_table or source.hold_out is not None or "train" in source.splits:
            return False
        return tuple(self._known_splits or ()) == (source.splits.get("test", "test"),)

    @property
    def hold_out(self) -> float | None:
        """The number or fraction of the rows that are held out for training; None if there is a train split."""
        return HOLD_OUT if self.has_one_table else self.source.hold_out

    @check_arguments("Task.with_all_rows")
    def with_all_rows(self, *, split: str | None = None, division: Division = WITHOUT_DEV) -> Task:
        """Returns the task with all labeled rows as its train split, and no evaluated rows.

        Args:
            split: The split whose rows are meant; the task's default if None.
            division: How the rows are divided into parts if the task defines no division.
        """
        split = self.spec.split if split is None else split
        rows = self.labeled_rows(split)
        return replace(self, held_out=Fold(number=0, of=0, split=split, rows=(), others=rows, division=division))

    @check_arguments("Task.fold")
    def fold(self, number: int, of: int, *, split: str | None = None, parts: tuple[Part, ...] = ("pool",)) -> Task:
        """Returns the task with one fold of its labeled rows as the evaluated split, and the other folds as the train split.

        Args:
            number: Number of the fold, from 1 to `of`.
            of: Number of folds.
            split: The split whose rows are divided; the task's default if None.
            parts: The parts that a manipulation uses, by which the other rows are divided if the task defines no division:
                all of them are the fit part if it uses none, and there are dev rows only if it uses them.

        Raises:
            InputError: The number of folds, or of the fold, is out of range.
            TaskError: The rows cannot be read, or all of them belong to one fold.
        """
        split = self.spec.split if split is None else split
        fold = make_fold(self.labeled_rows(split), number, of, split, division=division_of_fold(parts))
        return replace(self, held_out=fold)

    @check_arguments("Task.part")
    def part(self, part: Part) -> Sequence[LabeledExample]:
        """Returns the rows of one part of the train split, in the order of the source.

        Args:
            part: `pool` (by default 60%), `fit` (20%) or `dev` (20%), see `with_parts`. If `hold_out` is a number of rows and
                no division is defined, all of them are the pool. In a fold, see `fold`.

        Raises:
            TaskError: The task has no train split, or a row is invalid.
        """
        if self.held_out is not None:
            return rows_of_part(self.held_out.others, part, self.parts)
        known = self._known_splits if self.hold_out is None else None
        if known is not None and self.source.splits.get("train", "train") not in known:
            raise TaskError(
                f"The task {self.name} has no train split, from which demonstrations and calibrations take their rows",
                code="no-train-split",
                hint=f"Use {setting('shots', 0)}, or add a train file or hold_out: 0.5 to its source",
                task=self.name,
            )
        return rows_of_part(self._examples("train"), part, self.parts)

    @property
    def parts(self) -> Division:
        """How the train rows are divided into parts."""
        if self.division is not None:
            return self.division
        declared = self.spec.division()
        if declared is not None:
            return declared
        if self.held_out is not None:
            return self.held_out.division
        return Division(pool=1.0) if isinstance(self.source.hold_out, int) else DEFAULT

    @check_arguments("Task.with_parts")
    def with_parts(self, *, pool: float = 0.0, fit: float = 0.0, dev: float = 0.0) -> Task:
        """Returns the task with another division of its train rows; rows beyond the sum of the fractions are not used.

        Args:
            pool: The fraction of the rows that demonstrations are chosen from and learned prompts are trained on.
            fit: The fraction of the rows that aligners are fitted on.
            dev: The fraction of the rows that searches evaluate on and training selects the best step by.

        Raises:
            InputError: A fraction is not between 0 and 1, or their sum is greater than 1.
        """
        return replace(self, division=Division(pool=pool, fit=fit, dev=dev))

    @check_arguments("Task.labeled")
    def labeled(self, rows: Sequence[Row], name: str) -> list[LabeledExample]:
        """Returns further labeled rows, which have the columns of the task, as examples.

        Args:
            rows: The rows.
            name: What to call them in error messages, such as the name of their file.

        Raises:
            TaskError: A row is invalid.
        """
        places = (f"row {number} of {name}" for number in range(1, len(rows) + 1))
        return with_ids(
            [self._example(row, where, self.spec.split, self.base) for row, where in zip(rows, places, strict=True)]
        )

    def pool(self) -> Sequence[LabeledExample]:
        """Returns the rows that demonstrations are chosen from."""
        return self.part("pool")

    def identity(self) -> Mapping[str, object]:
        """Returns the name and the labels of the task, and the data set if it has a name, as recorded in a run.

        The rows themselves are recorded by their content, so a run does not depend on where files are.
        """
        return {
            "name": self.name,
            **self.spec.answers(),
            "source": self.source.model_dump(mode="json", exclude_none=True, include={*_IDENTIFYING}),
            **({} if self.parts == DEFAULT else {"parts": self.parts.fractions}),
        }

    @cached_property
    def _answer_columns(self) -> frozenset[str]:
        return answer_columns(self.source)

    @cached_property
    def shown_variables(self) -> frozenset[str]:
        """The inputs that the template shows, which identify a row; all inputs of images, which have no template."""
        inputs = frozenset(self.source.inputs)
        if not self.spec.template:
            return inputs
        with errors_at(self.file, "template"):
            return inputs & Template.load(self.spec.template).variables or inputs

    @cached_property
    def _splits(self) -> dict[str, tuple[LabeledExample, ...]]:
        return {}

    def _examples(self, split: str) -> tuple[LabeledExample, ...]:
        if split not in self._splits:
            if self.hold_out is not None and split in ("train", "test"):
                rows = self._read("test")
                if self.has_one_table and len({row.content.fraction("hold out") for row in rows}) < 2:
                    return rows if split == "test" else ()
                with errors_at(self.file, f"{self._source_key}.hold_out", only=("invalid-hold-out", "too-few-distinct-rows")):
                    self._splits.update(divide_train_test(rows, self.hold_out))
            else:
                self._splits[split] = self._read(split)
        return self._splits[split]

    def _read(self, split: str) -> tuple[LabeledExample, ...]:
        source_split = self.source.splits.get(split, split)
        rows = self._rows_of_source(source_split, split)
        folder = folder_of_files(self.source, self.base, source_split)
        suffix = f"of the {split} split of {self.name}"
        try:
            places = [f"row {number} {suffix}" for number in range(1, len(rows) + 1)]
            examples = [self._example(row, where, split, folder) for row, where in zip(rows, places, strict=True)]
            examples = with_row_ids(examples, row_ids(rows, self.source.id, places))
        except TaskError as error:
            raise self._name_column_key(error) from None
        return tuple(with_ids(examples))

    def _rows_of_source(self, source_split: str, split: str) -> Sequence[Row]:
        key, source = self._source_key, self.source
        with errors_at(self.file, f"{key}.folder", only=("unreadable-folder", "no-images")):
            known = self._known_splits
            if known is not None and source_split not in known:
                hint = f"The task is {self.name}"
                error = unknown("split", split, known, hint=hint, error=TaskError, task=self.name)
                raise error.at(self.file, "split") if self.file and split == self.spec.split else error
            with errors_at(self.file, f"{key}.files.{source_split}", only=("unreadable-file", "unsupported-file-type")):
                return read_source(source, self.base, source_split, self.tables, self.spec.obtain)

    @property
    def _known_splits(self) -> Sequence[str] | None:
        """The names of the source's splits, or None if they are not known before they are read."""
        with errors_at(self.file, f"{self._source_key}.folder", only=("unreadable-folder",)):
            return known_splits(self.source, self.base)

    @property
    def _source_key(self) -> str:
        """The path of the source in the task file."""
        return f"sources[{self.spec.sources.index(self.source)}]"

    def _name_column_key(self, error: TaskError) -> TaskError:
        """Names the key of the task file that defines an unknown column in the error."""
        if self.file is None or error.fields.get("kind") != "column":
            return error
        columns = self.source.model_dump(include={"inputs", "label", "id", "choices", "rationale"})
        steps = next((steps for steps, value in leaves(columns) if value == error.fields["name"]), ())
        return error.at(self.file, f"{self._source_key}.{key_path(steps)}") if steps else error

    def _example(self, row: Row, where: str, split: str, folder: Path) -> LabeledExample:
        """Converts a row to an example, with an empty id."""
        if self.spec.modality == "image":
            return self._image_example(row, where, split, folder)
        source = self.source
        inputs = {variable: input_text(row, column, where) for variable, column in source.inputs.items()}
        rationale = {variable: text(row, column, where) for variable, column in source.rationale.items()}
        choices = () if source.choices is None else read_choices(row, source.choices, inputs, where)
        accepted: tuple[str, ...] = ()
        if choices:
            gold = Gold(label=read_correct_choice(row, source, choices, where))
            accepted = (gold.label,) if self.spec.kind == "generation" else ()
        elif self.spec.kind == "generation":
            accepted = accepted_answers(row, source, self.spec.json_schema, where)
            gold = read_answer(accepted, self.spec, source, where)
        else:
            gold = self._gold_label(row, where, split)
        return LabeledExample(
            id="",
            inputs=inputs,
            label=gold.label,
            labels=gold.labels,
            value=gold.value,
            choices=choices,
            accepted=accepted,
            rationale=rationale,
            fingerprint=self._fingerprint(row, inputs),
        )

    def _fingerprint(self, row: Row, inputs: Mapping[str, str]) -> Fingerprint:
        shown = [value for variable, value in inputs.items() if variable in self.shown_variables]
        others = [cell_text(row[column]) for column in row.keys() - self._answer_columns if isinstance(row[column], _SCALARS)]
        return Fingerprint.of(shown, [*inputs.values(), *others])

    def _image_example(self, row: Row, where: str, split: str, folder: Path) -> LabeledExample:
        inputs = {
            variable: image_value(cell(row, str(column), where), str(column), where, folder)
            for variable, column in self.source.inputs.items()
        }
        gold = self._gold_label(row, where, split)
        return LabeledExample(id="", inputs=inputs, label=gold.label, value=gold.value)

    @cached_property
    def _label_names(self) -> LabelNames:
        return LabelNames(labels=self.labels, ids=self.source.label_ids, task=self.name)

    def _gold_label(self, row: Row, where: str, split: str) -> Gold:
        """Returns the label of a row, its labels if there can be several, and its value if the labels have values."""
        return read_gold(self._label_names, self.spec, row, self.source.label_column, where, split)


def untested(rows: Sequence[LabeledExample], evaluated: Sequence[Example]) -> list[LabeledExample]:
    """Returns the rows that are not among the evaluated ones. Only their labels may be used by a fit or a search."""
    seen = SeenRows(row.content for row in evaluated)
    return [row for row in rows if row.content not in seen]
