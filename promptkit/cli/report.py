"""`promptkit report`: writes one HTML page for a result."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    folders: Annotated[
        list[Path], typer.Argument(metavar="FOLDER...", help="Folder of a run, study, tuning or training, or several runs.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="HTML file to write.")] = Path("report.html"),
    no_text: Annotated[
        bool,
        typer.Option("--no-text", help="Leave out the texts of rows, prompts and answers: ids, labels and figures remain."),
    ] = False,
) -> None:
    """Write one HTML page with the figures and the rows of a result. It needs no network, and no model is loaded."""
    from promptkit.reports.report import report as write

    print(write(folders, output, text=not no_text))
