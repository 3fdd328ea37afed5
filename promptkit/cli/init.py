"""`promptkit task init`: writes a first task file and template for a data file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from promptkit.cli import options as opts
from promptkit.core.errors import TaskError
from promptkit.tasks.options import TableOptions


@opts.expand_options
def init(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="Data file (csv, tsv, jsonl, parquet, xlsx) with named columns, or folder of images by class."
        ),
    ],
    table_options: TableOptions,
) -> None:
    """Write a task file for a data file, with a template, or for images."""
    from promptkit.tasks.starter import starter_files

    contents = starter_files(file, table_options)
    existing = next((path for path in contents if path.exists()), None)
    if existing is not None:
        hint = "Move it, or use it without changes"
        raise TaskError(f"{existing} already exists and is not overwritten", code="path-exists", hint=hint, path=str(existing))
    for path, content in contents.items():
        path.write_text(content, "utf-8", newline="")
        print(f"wrote {path}")
    model = " --model vision:demo --labelmap blm+" if len(contents) == 1 else ""  # images have no template
    print(f"next: promptkit {'eval' if model else 'render'} {next(iter(contents))}{model}")
