"""Writes a first task file and template for a data file."""

from __future__ import annotations

import json
import keyword
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from promptkit.core.errors import TaskError, unknown
from promptkit.core.paths import expanded
from promptkit.inputs.text.template import LABEL
from promptkit.tasks.from_file import MAX_LABELS, label_values
from promptkit.tasks.images.cells import SUFFIXES
from promptkit.tasks.images.from_folder import task_from_folder
from promptkit.tasks.readers import Row, read_file

_RESERVED_NAMES = {
    *(LABEL, "labels", "true", "false", "none"),
    *("loop", "self", "super", "caller", "varargs", "kwargs", "range", "dict"),
}
"""Names that mean something else in a template."""


def starter_files(file: str | Path, label_column: str | None = None) -> Mapping[Path, str]:
    """Returns a commented task file and a template for a data file, as path -> content; for images no template.

    A file with a column of paths of image files is a task of images.

    Args:
        file: The data file, or the folder of images by class; the files are to be written next to it.
        label_column: The column of the labels; by default `label`, or the only column with few different values.

    Raises:
        TaskError: The file cannot be read, or its columns are not suitable.
    """
    path = expanded(file)
    if path.is_dir():
        return {path.resolve().with_name(f"{path.resolve().name}.yaml"): _image_task_file(path.resolve())}
    rows = read_file(path)
    column = label_column or _likely_label_column(rows, path)
    if column not in rows[0]:
        raise unknown("column", column, rows[0], hint=f"It was searched for in {file}", error=TaskError)
    labels = label_values(rows, column)
    inputs = [name for name in rows[0] if name != column]
    if not inputs:
        reason, hint = f"The file {file} has no column other than {column}", "Add a column with the input text"
        raise TaskError(reason, code="no-input-column", hint=hint, file=str(file), column=column)
    images = [name for name in inputs if all(Path(str(row.get(name))).suffix.lower() in SUFFIXES for row in rows)]
    if images:
        return {path.with_suffix(".yaml"): _task_file_of_images(path, column, labels, images[0])}
    variables = _variable_names(inputs)
    return {
        path.with_suffix(".yaml"): _task_file(path, column, labels, variables),
        path.with_suffix(".j2"): _template_file(path, list(variables.values())),
    }


def _likely_label_column(rows: Sequence[Row], path: Path) -> str:
    if LABEL in rows[0]:
        return LABEL
    counts = {column: len({str(row.get(column)) for row in rows}) for column in rows[0]}
    likely = [column for column, count in counts.items() if 2 <= count <= min(MAX_LABELS, len(rows) // 2)]
    if len(likely) != 1:
        columns = tuple(rows[0])
        raise TaskError(
            f"It is not clear which column of {path.name} contains the labels",
            code="ambiguous-label-column",
            got=", ".join(columns),
            hint="Name it with --label-column",
            file=str(path),
            columns=columns,
        )
    return likely[0]


def _variable_names(columns: Sequence[str]) -> Mapping[str, str]:
    """Column -> a distinct name that a template can use for it."""
    names: dict[str, str] = {}
    for column in columns:
        name = re.sub(r"[^A-Za-z0-9_]", "_", column)
        if not name.strip("_") or name[0] in "_0123456789" or name.lower() in _RESERVED_NAMES or keyword.iskeyword(name):
            name = f"column_{name}"
        number = 2
        while name in names.values():
            name, number = f"{name.rstrip('0123456789')}{number}", number + 1
        names[column] = name
    return names


def _task_file(path: Path, column: str, labels: Sequence[str], variables: Mapping[str, str]) -> str:
    inputs = {variable: name for name, variable in variables.items()}
    return (
        f"# A task from {path.name}. Try it: promptkit render {path.with_suffix('.yaml').name}\n"
        f"description: {_yaml(f'rows of {path.name}')}\n"
        f"template: {path.with_suffix('.j2').name}  # how a row is rendered; check it first\n"
        "# label: its word in the prompt, or a list of words such as [bug, defect]; descriptive words work best\n"
        f"labels: {_yaml({label: label for label in labels})}\n"
        "sources:\n"
        f"  - files: {_yaml({'test': path.name})}  # if there is a train file, add train: FILE and remove hold_out\n"
        "    hold_out: 0.5  # fraction of the rows, chosen by hash, that demonstrations come from\n"
        f"    inputs: {_yaml(inputs)}  # template variable: column\n"
        f"    label: {_yaml(column)}\n"
    )


def _task_file_of_images(path: Path, column: str, labels: Sequence[str], images: str) -> str:
    return _image_task(
        path.with_suffix(".yaml").name,
        f"images of {path.name}",
        labels,
        f"  - files: {_yaml({'test': path.name})}  # if there is a train file, add train: FILE and remove hold_out\n"
        "    hold_out: 0.5  # fraction of the images, chosen by hash, to learn from\n"
        f"    inputs: {{image: {_yaml(images)}}}  # column of the paths, which are relative to {path.name}\n"
        f"    label: {_yaml(column)}\n",
    )


def _image_task_file(root: Path) -> str:
    spec = task_from_folder(root).spec
    (source,) = spec.sources
    hold_out = (
        f"    hold_out: {source.hold_out}  # fraction of the images, chosen by hash, to learn from\n" if source.hold_out else ""
    )
    splits = f"    splits: {_yaml(source.splits)}  # name in promptkit: folder\n" if source.splits else ""
    return _image_task(
        f"{root.name}.yaml",
        spec.description,
        tuple(spec.labels or ()),
        f"  - folder: {_yaml(root.name)}\n"
        f"{hold_out}{splits}"
        "    inputs: {image: image}\n"
        "    label: label  # the folder of the class\n",
    )


def _image_task(file: str, description: str, labels: Sequence[str], source: str) -> str:
    return (
        f"# A task of images. Try it: promptkit eval {file} --model vision:demo --labelmap blm+\n"
        f"description: {_yaml(description)}\n"
        "modality: image\n"
        "# label: its name in words, which --labelmap semantic compares with the names of classes\n"
        f"labels: {_yaml({label: label for label in labels})}\n"
        "# classes: {label: [class, class]}  # classes of the model that mean a label, to predict without labeled rows\n"
        f"sources:\n{source}"
    )


def _yaml(value: str | Mapping[str, str]) -> str:
    """A value as YAML on one line."""
    import yaml

    # double quotes escape what YAML would otherwise fold into several lines
    style = None if json.dumps(value, ensure_ascii=False).isprintable() else '"'
    text = yaml.safe_dump(value, default_flow_style=True, default_style=style, allow_unicode=True, width=10**6, sort_keys=False)
    return text.strip().removesuffix("...").strip() if isinstance(value, str) else text.strip()


def _template_file(path: Path, variables: Sequence[str]) -> str:
    inputs = "\n".join(f"{name.replace('_', ' ').capitalize()}: {{{{ {name} }}}}" for name in variables)
    return (
        f"{{# Renders a row of {path.name}. Its variables: {', '.join(variables)}. #}}\n"
        '{% block instruction %}Say which it is: {{ labels | join(", ") }}.{% endblock %}\n'
        f"{{% block input %}}{inputs}\nLabel:{{% endblock %}}\n"
        "{% block target %} {{ label }}{% endblock %}\n"
        "{% block separator %}\n\n{% endblock %}\n"
    )
