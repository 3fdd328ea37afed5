"""`promptkit task init`: writes a task file and a template for a data file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from promptkit.cli import options as opts
from promptkit.core.errors import TaskError


def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A csv, tsv, jsonl or parquet file with a header.")],
    label_column: opts.LabelColumn = None,
) -> None:
    """Write a commented task file and a template beside a data file, to start from."""
    from promptkit.tasks.from_file import starter

    written = starter(file, label_column)
    there = next((path for path in written if path.exists()), None)
    if there is not None:
        hint = "Move it, or continue with it as it is"
        raise TaskError(f"{there} already exists and is not overwritten", code="path-exists", hint=hint, path=str(there))
    for path, content in written.items():
        path.write_text(content, "utf-8", newline="")
        print(f"wrote {path}")
    print(f"next: promptkit render {next(iter(written))}")
