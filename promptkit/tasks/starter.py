"""Writes a first task file and template for a data file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from promptkit.core.paths import expanded
from promptkit.tasks.frames import Table
from promptkit.tasks.from_table import NUMBER_TOKENS, TableLayout, read_layout, words_of
from promptkit.tasks.images.from_folder import task_from_folder
from promptkit.tasks.options import TableOptions
from promptkit.tasks.readers import data_stem, read_file


def starter_files(file: str | Path, options: TableOptions = TableOptions()) -> Mapping[Path, str]:  # noqa: B008 - it is immutable
    """Returns a commented task file and a template for a data file, as path -> content; for images no template.

    The task has the rows, labels and template of the task that the data file itself is. A file with a column of paths of image
    files is a task of images.

    Args:
        file: The data file, or the folder of images by class; the files are to be written next to it.
        options: What the columns mean; the rest is chosen by the values of the rows.

    Raises:
        TaskError: The file cannot be read, or its columns are not suitable.
    """
    path = expanded(file)
    if path.is_dir():
        return {path.resolve().with_name(f"{path.resolve().name}.yaml"): _image_task_file(path.resolve())}
    rows = read_file(path)
    stem = data_stem(path)
    layout = read_layout([Table(rows)], stem, options, str(file))
    kind = _kind(options)
    task_file = path.with_name(f"{stem}.yaml")
    if not layout.template:
        return {task_file: _task_file_of_images(path, task_file.name, layout, kind)}
    return {
        task_file: _task_file(path, task_file.name, layout, kind, _own_id(options)),
        path.with_name(f"{stem}.j2"): layout.template,
    }


def _kind(options: TableOptions) -> str:
    """Returns the keys of a task file that define the kind of its labels."""
    keys = {
        "multi_label": (options.multi_label, "any number of labels can apply to a row"),
        "ordinal": (options.ordinal or (options.numeric and not options.values), "the labels are in ascending order"),
        "numeric": (options.numeric, "the label column contains numbers on their scale"),
    }
    values = f"values: {_yaml(options.values)}  # the value of each label on a scale\n" if options.values else ""
    return values + "".join(f"{key}: true  # {comment}\n" for key, (is_given, comment) in keys.items() if is_given)


def _own_id(options: TableOptions) -> str:
    """Returns the key of a source that names the column of the user's own ids."""
    column = options.id_column
    return "" if column is None else f"    id: {_yaml(column)}  # your own id of each row, which results show\n"


def _task_file(path: Path, name: str, layout: TableLayout, kind: str, own_id: str) -> str:
    left_out = "".join(f"# {note}\n" for note in layout.notes)
    return (
        f"# A task from {path.name}. Try it: promptkit render {name}\n"
        f"{left_out}"
        f"description: {_yaml(f'rows of {path.name}')}\n"
        f"template: {Path(name).stem}.j2  # how a row is rendered; check it first\n"
        f"{_answers(layout, kind)}"
        "sources:\n"
        f"{_files(path)}"
        f"    inputs: {_yaml(layout.variables)}  # template variable: column\n"
        f"    label: {_yaml(layout.label)}\n"
        f"{own_id}"
    )


def _answers(layout: TableLayout, kind: str) -> str:
    if layout.schema is not None:
        return f"answer:  # the model generates a JSON object\n  json:\n    schema: {layout.schema.text}\n"
    if not layout.labels and kind:
        return (
            f"answer: {{final_number: {{max_tokens: {NUMBER_TOKENS}}}}}  # the last number of the generated answer counts\n"
            "numeric: true  # answers are numbers, so that errors are measured too\n"
        )
    if not layout.labels:
        return "answer: first_line  # the model generates the answer, and its first line is compared\n"
    return (
        "# label: its word in the prompt, or a list of words such as [bug, defect]; descriptive words work best\n"
        f"labels: {_yaml(words_of(layout.labels))}\n"
        f"{kind}"
    )


def _files(path: Path) -> str:
    return f"  - files: {_yaml({'test': path.name})}  # if there is a train file, add train: FILE\n"


def _task_file_of_images(path: Path, name: str, layout: TableLayout, kind: str) -> str:
    source = (
        f"{_files(path)}"
        f"    inputs: {_yaml(layout.variables)}  # column of the paths, which are relative to {path.name}\n"
        f"    label: {_yaml(layout.label)}\n"
    )
    return _image_task(name, f"images of {path.name}", layout.labels, source, kind)


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


def _image_task(file: str, description: str, labels: Sequence[str], source: str, kind: str = "") -> str:
    return (
        f"# A task of images. Try it: promptkit eval {file} --model vision:demo --labelmap blm+\n"
        f"description: {_yaml(description)}\n"
        "modality: image\n"
        "# label: its name in words, which --labelmap semantic compares with the names of classes\n"
        f"labels: {_yaml({label: label for label in labels})}\n"
        f"{kind}"
        "# classes: {label: [class, class]}  # classes of the model that mean a label, to predict without labeled rows\n"
        f"sources:\n{source}"
    )


def _yaml(value: str | Mapping[str, str] | Mapping[str, float]) -> str:
    """A value as YAML on one line."""
    from promptkit.core.yaml_text import format_yaml

    # double quotes escape what YAML would otherwise fold into several lines
    style = None if json.dumps(value, ensure_ascii=False).isprintable() else '"'
    return format_yaml(value, style=style)
