"""Writes reports: one self-contained HTML page for one result or several runs. No model is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from promptkit.core.arguments import check_arguments
from promptkit.core.errors import InputError, RunError
from promptkit.core.files import write_atomically
from promptkit.core.paths import expanded
from promptkit.reports.blocks import Page
from promptkit.reports.comparison_page import comparison_page
from promptkit.reports.html import to_html
from promptkit.reports.run_page import run_page, unfinished_page
from promptkit.reports.study_page import study_page
from promptkit.reports.training_page import training_page
from promptkit.reports.tuning_page import tuning_page
from promptkit.runs.files import read_json
from promptkit.runs.folder import SETTINGS, SUMMARY
from promptkit.studies.folder import STUDY
from promptkit.tuning.folder import TUNE


@check_arguments("report")
def report(folders: Sequence[str | Path] | str | Path, path: str | Path, *, text: bool = True) -> Path:
    """Writes a report: one HTML page that needs no network, with figures, tables and a browser of the rows.

    Args:
        folders: The folder of a run, or several runs of the same task, which are compared row by row.
        path: The HTML file to write.
        text: Whether the page contains the texts of the data, of prompts and of generated answers. Without them it has ids,
            labels and figures.

    Returns:
        The path of the file.

    Raises:
        RunError: A folder contains no result, or a file in it was changed.
        InputError: The file cannot be written.
        MissingPackage: The package that draws charts is not installed.
    """
    given = [folders] if isinstance(folders, str | Path) else [*folders]
    target = expanded(path)
    if not target.name or target.is_dir():
        raise InputError(
            "A report is one file", code="not-a-file", got=str(path), hint="Write report.html, for example", file=str(path)
        )
    content = to_html(page_of([expanded(folder) for folder in given], text=text))
    try:
        write_atomically(target, content)
    except OSError as error:
        raise InputError(
            f"The report {target} cannot be written: {error.strerror or error}",
            code="cannot-write",
            hint="Give another file in an existing folder",
            file=str(target),
            reason=error.strerror or str(error),
        ) from None
    return target


def page_of(folders: Sequence[Path], *, text: bool) -> Page:
    """Returns the page of one result, or of several runs.

    Args:
        folders: The folders.
        text: Whether the page contains the texts of the data.
    """
    missing = next((folder for folder in folders if not folder.is_dir()), None)
    if missing is not None or not folders:
        raise RunError(
            "A report needs a folder" if missing is None else f"There is no folder {missing}",
            code="no-such-folder",
            hint="Use a folder that promptkit eval, study, tune or train printed",
            folder=str(missing),
        )
    if len(folders) > 1:
        return comparison_page(folders, text=text)
    (folder,) = folders
    if (folder / TUNE).is_file():
        return tuning_page(folder, text=text)
    if (folder / STUDY).is_file():
        return study_page(folder, text=text)
    settings = read_json(folder / SETTINGS)
    if isinstance(settings, dict) and "train" in settings:
        return training_page(folder, text=text)
    is_unfinished = (folder / SETTINGS).is_file() and read_json(folder / SUMMARY) is None
    return unfinished_page(folder, text=text) if is_unfinished else run_page(folder, text=text)
