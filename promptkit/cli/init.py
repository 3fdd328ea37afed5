"""`promptkit task init`: writes a first task file and template for a data file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from promptkit.cli import options as opts
from promptkit.core.errors import TaskError
from promptkit.tasks.options import DataOptions

LABEL_COLUMN = opts.Expand(
    only=("label_column",),
    help={"label_column": "Column with the labels; by default `label`, or the only column with few different values."},
)


@opts.expand_options
def init(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="Data file (csv, tsv, jsonl, parquet) with named columns, or folder of images by class."
        ),
    ],
    data_options: Annotated[DataOptions, LABEL_COLUMN],
) -> None:
    """Write a task file for a data file, with a template, or for images."""
    from promptkit.tasks.starter import starter_files

    contents = starter_files(file, data_options.label_column)
    existing = next((path for path in contents if path.exists()), None)
    if existing is not None:
        hint = "Move it, or use it without changes"
        raise TaskError(f"{existing} already exists and is not overwritten", code="path-exists", hint=hint, path=str(existing))
    for path, content in contents.items():
        path.write_text(content, "utf-8", newline="")
        print(f"wrote {path}")
    model = " --model vision:demo --labelmap blm+" if len(contents) == 1 else ""  # images have no template
    print(f"next: promptkit {'eval' if model else 'render'} {next(iter(contents))}{model}")
