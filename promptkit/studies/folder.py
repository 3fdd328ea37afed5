"""The folder of a study, `OUT/study-TASK-<hash>`, beside the folders of its runs.

study.json   its dimensions, and for each cell its values, the name of its run's folder and its branch
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict, TypeVar, cast

from promptkit.core.errors import RunError
from promptkit.core.files import write_atomically
from promptkit.core.hashing import sha256_hex
from promptkit.core.version import __version__
from promptkit.display.table import Plain
from promptkit.runs.files import expect, read_json, to_file, to_line, writing
from promptkit.runs.run import Run
from promptkit.studies.cells import Cell, EvaluatedGrid, Failure, StudiedTask

STUDY = "study.json"
"""The file of a study."""
S = TypeVar("S", bound=EvaluatedGrid)


class _TaskRecord(TypedDict):
    name: str
    split: str


class _CellRecord(TypedDict):
    values: dict[str, Plain]
    run: str
    """The name of the run's folder."""
    align: str
    """The branch of the run."""


class _FailureRecord(TypedDict):
    values: dict[str, Plain]
    reason: str


class StudyRecord(TypedDict):
    """The contents of `study.json`."""

    promptkit: str
    """The version of promptkit."""
    tasks: list[_TaskRecord]
    limit: int | None
    dimensions: dict[str, list[Plain]]
    cells: list[_CellRecord]
    failures: list[_FailureRecord]


def write_study(study: EvaluatedGrid) -> Path:
    """Writes the folder of a study beside its runs, and returns it.

    Raises:
        RunError: The folder cannot be written.
    """
    record: StudyRecord = {
        "promptkit": __version__,
        "tasks": [{"name": each.name, "split": each.split} for each in study.tasks],
        "limit": study.limit,
        "dimensions": {name: list(values) for name, values in study.dimensions.items()},
        "cells": [{"values": dict(cell.values), "run": cell.run.path.name, "align": cell.result.align} for cell in study.cells],
        "failures": [{"values": dict(each.values), "reason": each.reason} for each in study.failures],
    }
    content = cast("Mapping[str, object]", record)
    names = "-".join(each.name.replace("/", "-") for each in study.tasks[:3])
    folder = study.cells[0].run.path.parent / f"study-{names}-{sha256_hex(to_line(content))[:8]}"
    with writing(folder, "folder of a study"):
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / STUDY, to_file(content))
    return folder


def read_record(folder: Path) -> StudyRecord:
    """Returns the contents of `study.json`.

    Raises:
        RunError: There is no such file, or it is damaged.
    """
    found = read_json(folder / STUDY)
    if not isinstance(found, dict):
        raise RunError(
            f"The folder {folder} contains no study: it has no {STUDY}",
            code="not-a-study",
            hint="Use a folder that promptkit study printed, such as runs/study-sst2-1a2b3c4d",
            folder=str(folder),
        )
    return cast("StudyRecord", found)


def read_study(kind: type[S], folder: Path) -> S:
    """Returns the study of a folder; cells of the same run share it.

    Args:
        kind: The class of the study.
        folder: The folder.

    Raises:
        RunError: The folder contains no study, or a run of it is missing or was changed.
    """
    record = read_record(folder)
    with expect(folder / STUDY, "a study"):
        names: Sequence[str] = list(dict.fromkeys(cell["run"] for cell in record["cells"]))
        tasks = tuple(StudiedTask(name=each["name"], split=each["split"]) for each in record["tasks"])
        dimensions = {name: tuple(values) for name, values in record["dimensions"].items()}
        failures = tuple(Failure(values=each["values"], reason=each["reason"]) for each in record["failures"])
        wanted = [(cell["values"], cell["run"], cell["align"]) for cell in record["cells"]]
    runs = {name: Run.load(folder.parent / name) for name in names}
    cells = tuple(Cell(values=values, run=runs[run], result=runs[run].result_of(align)) for values, run, align in wanted)
    return kind(tasks=tasks, limit=record["limit"], dimensions=dimensions, cells=cells, failures=failures)
