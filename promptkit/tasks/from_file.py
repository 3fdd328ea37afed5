"""A task from a data file of the user's own, without a task file; and a first task file to start from."""

from __future__ import annotations

import json
import keyword
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from promptkit.core.errors import InputError, TaskError, TemplateError, unknown
from promptkit.core.paths import expanded
from promptkit.inputs.text.template import LABEL, Template
from promptkit.tasks.columns import cell_text
from promptkit.tasks.readers import Row, read_file
from promptkit.tasks.spec import Source, TaskSpec
from promptkit.tasks.task import Task

MOST_LABELS = 20
"""A column with more values is not taken for labels unless they are declared."""

_NO_VARIABLE = {
    *(LABEL, "labels", "true", "false", "none"),
    *("loop", "self", "super", "caller", "varargs", "kwargs", "range", "dict"),
}
"""Names that mean something else in a template."""


def task_from_file(
    file: str | Path,
    *,
    template: str | Path | None,
    label_column: str | None = None,
    labels: Sequence[str] = (),
    answer_column: str | None = None,
    train: str | Path | None = None,
) -> Task:
    """A task whose rows are those of one file.

    The template's variables are columns. Demonstrations come from `train`, or else from half of the file by hash. Labels
    that are not declared are the column's values, in alphabetical order. With `answer_column` the model writes the answer,
    whose first line is compared. Raises if a column is missing.
    """
    path = expanded(file)
    if template is None:
        raise InputError(
            f"The file {file} needs a template that renders its rows",
            code="no-template",
            hint=f"Give one with --template, or start with promptkit task init {file}",
            file=str(file),
        )
    rows = read_file(path)
    column = answer_column or label_column or LABEL
    if column not in rows[0]:
        hint = f"Name the column of {file} that contains the labels with --label-column, or the answers with --answer-column"
        raise unknown("column", column, rows[0], hint=hint, error=TaskError)
    variables = sorted(Template.load(template).variables - {LABEL, "labels"})
    if column in variables:
        held = "answers" if answer_column else "labels"
        raise TemplateError(
            f"The template uses {column}, the column of the {held}, so it would show the answer",
            code="template-shows-answer",
            hint="Write {{ label }}, and only in the target block",
            column=column,
            holds=held,
        )
    if train is not None and not expanded(train).is_file():
        missing = expanded(train).resolve()
        reason = f"The file {missing} cannot be read: No such file or directory"
        raise TaskError(reason, code="unreadable-file", file=str(missing))
    absent = next((name for name in variables if name not in rows[0]), None)
    if absent is not None:
        raise unknown("column", absent, rows[0], hint=f"The template uses it, but {file} has no such column", error=TaskError)
    files = {"test": str(path.resolve())} | ({} if train is None else {"train": str(expanded(train).resolve())})
    source = Source(
        files=files,
        inputs={name: name for name in variables} or {name: name for name in rows[0] if name not in (column, "labels")},
        label=column,
        hold_out=0.5 if train is None else None,
    )
    if answer_column is not None:
        told = {"description": f"rows of {path.name}", "template": str(template), "answer": "first_line", "sources": [source]}
        return Task(path.stem, TaskSpec.model_validate(told), source, path.parent)
    _check_declared(labels)
    declared = tuple(labels) or _values(rows, column)
    if len(declared) < 2:
        raise TaskError(
            f"The column {column} of {file} has fewer than two labels",
            code="too-few-labels",
            got=", ".join(declared) or "none",
            hint="Declare all possible labels with --labels a,b,c, or name another column with --label-column",
            file=str(file),
            column=column,
            labels=declared,
        )
    words = {label: label for label in declared}
    spec = TaskSpec(description=f"rows of {path.name}", template=str(template), labels=words, sources=[source])
    return Task(path.stem, spec, source, path.parent)


def _check_declared(labels: Sequence[str]) -> None:
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        reason, hint = f"The label {twice} is declared twice", "Give each label once"
        raise InputError(reason, code="duplicate-label", got=", ".join(labels), hint=hint, label=twice)
    if not all(labels) or len(labels) == 1:
        raise InputError(
            "At least two labels must be declared, none of them empty",
            code="too-few-labels" if len(labels) == 1 else "empty-label",
            got=",".join(labels),
            hint="Write --labels a,b,c",
            labels=tuple(labels),
        )


def starter(file: str | Path, label_column: str | None = None) -> Mapping[Path, str]:
    """A task file and a template for a data file, beside it, with comments that say what to look at: path -> content."""
    path = expanded(file)
    rows = read_file(path)
    column = label_column or _likely_label(rows, path)
    if column not in rows[0]:
        raise unknown("column", column, rows[0], hint=f"It was searched for in {file}", error=TaskError)
    labels = _values(rows, column)
    inputs = [name for name in rows[0] if name != column]
    if not inputs:
        reason, hint = f"The file {file} has no column besides {column}", "Add a column with the input text"
        raise TaskError(reason, code="no-input-column", hint=hint, file=str(file), column=column)
    names = _variables(inputs)
    task, template = path.with_suffix(".yaml"), path.with_suffix(".j2")
    return {task: _task_file(path, template, column, labels, names), template: _template_file(path, list(names.values()))}


def _variables(columns: Sequence[str]) -> Mapping[str, str]:
    """Column -> a name that a template may use for it, each another."""
    names: dict[str, str] = {}
    for column in columns:
        name = re.sub(r"[^A-Za-z0-9_]", "_", column)
        if not name.strip("_") or name[0] in "_0123456789" or name.lower() in _NO_VARIABLE or keyword.iskeyword(name):
            name = f"column_{name}"
        number = 2
        while name in names.values():
            name, number = f"{name.rstrip('0123456789')}{number}", number + 1
        names[column] = name
    return names


def _task_file(path: Path, template: Path, column: str, labels: Sequence[str], names: Mapping[str, str]) -> str:
    import yaml

    def told(value: Any) -> str:
        style = None if json.dumps(value, ensure_ascii=False).isprintable() else '"'  # which escapes what YAML would fold
        return yaml.safe_dump(
            value, default_flow_style=True, default_style=style, allow_unicode=True, width=10**6, sort_keys=False
        ).strip()

    return (
        f"# A task from {path.name}. Try it: promptkit render {path.with_suffix('.yaml').name}\n"
        f"description: {told(f'rows of {path.name}').removesuffix('...').strip()}\n"
        f"template: {template.name}  # how a row is shown; look at it first\n"
        "# label: the word that stands for it; several words are written [bug, defect]. Say more than the data do.\n"
        f"labels: {told({label: label for label in labels})}\n"
        "sources:\n"
        f"  - files: {told({'test': path.name})}  # add train: another file, and leave out hold_out\n"
        "    hold_out: 0.5  # this share of the rows, by hash, is where demonstrations come from\n"
        f"    inputs: {told({name: column_ for column_, name in names.items()})}  # template variable: column\n"
        f"    label: {told(column).removesuffix('...').strip()}\n"
    )


def _template_file(path: Path, names: Sequence[str]) -> str:
    shown = "\n".join(f"{name.replace('_', ' ').capitalize()}: {{{{ {name} }}}}" for name in names)
    return (
        f"{{# A row of {path.name}. {', '.join(names)}: its columns. #}}\n"
        '{% block instruction %}Say which it is: {{ labels | join(", ") }}.{% endblock %}\n'
        f"{{% block input %}}{shown}\nLabel:{{% endblock %}}\n"
        "{% block target %} {{ label }}{% endblock %}\n"
        "{% block separator %}\n\n{% endblock %}\n"
    )


def _values(rows: Sequence[Row], column: str) -> tuple[str, ...]:
    """The column's values in alphabetical order; raises if they are too many to be labels."""
    counts = Counter(cell_text(row[column]) for row in rows if row.get(column) is not None)
    if "" in counts:
        raise TaskError(
            f"The column {column} is empty in {counts['']} of {len(rows)} rows",
            code="empty-cells",
            hint="Fill it in or remove the rows; if it is a label, declare all labels with --labels or in a task file",
            column=column,
            empty=counts[""],
            rows=len(rows),
        )
    if len(counts) > MOST_LABELS:
        some = ", ".join(value[:20] for value, _ in counts.most_common(3))
        raise TaskError(
            f"The column {column} has {len(counts)} different values, which are too many for undeclared labels",
            code="too-many-labels",
            got=f"{some}, ...",
            hint="Name the column of the labels with --label-column, or declare the labels with --labels a,b,c",
            column=column,
            values=len(counts),
        )
    return tuple(sorted(counts))


def _likely_label(rows: Sequence[Row], path: Path) -> str:
    if LABEL in rows[0]:
        return LABEL
    counts = {column: len({str(row.get(column)) for row in rows}) for column in rows[0]}
    likely = [column for column, count in counts.items() if 2 <= count <= min(MOST_LABELS, len(rows) // 2)]
    if len(likely) != 1:
        reason = f"It is not clear which column of {path.name} holds the labels"
        columns = tuple(rows[0])
        hint = "Name it with --label-column"
        raise TaskError(
            reason, code="ambiguous-label-column", got=", ".join(columns), hint=hint, file=str(path), columns=columns
        )
    return likely[0]
