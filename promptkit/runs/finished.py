"""Reads finished runs and shards."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from promptkit.core.caller import by_caller
from promptkit.core.errors import RunError
from promptkit.core.records import RECORD_FILES, ReadPlanRecord, ReadRecord, Record, RowRecord, record_key
from promptkit.runs.files import REPEAT, expect, read_json
from promptkit.runs.folder import PREDICTIONS, ROWS, RUN_FILES, SETTINGS, SHARD, SHARD_FILES, SUMMARY, TENSORS, read_marker
from promptkit.runs.rows import EvaluatedRow
from promptkit.runs.schema import EvaluatedRecord, PredictionRecord, RunSettings, RunSummary, ShardSummary


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedShard:
    """The contents of a finished shard's folder."""

    path: Path
    settings: RunSettings
    """Settings of the whole run."""
    summary: ShardSummary
    rows: dict[str, RowRecord]
    """Key -> record, of `samples.jsonl` and `support.jsonl`."""
    outputs: dict[str, ReadRecord | ReadPlanRecord]
    """Key -> record, of `outputs.jsonl`."""
    evaluated: dict[str, EvaluatedRow]
    """Key -> evaluated row, of `rows.jsonl`."""


def read_summary(path: Path) -> RunSummary:
    """Returns the summary of a finished run.

    Raises:
        RunError: If the folder contains no finished run, or one of its files is missing or was changed.
    """
    summary = read_marker(path, SUMMARY, RUN_FILES)
    if summary is None and (path / SHARD).is_file():
        raise RunError(
            f"The folder {path} contains one shard of a run",
            code="unmerged-shard",
            hint="Merge the shards: promptkit merge",
            folder=str(path),
        )
    if summary is None:
        raise _unfinished(path, SUMMARY)
    return cast(RunSummary, summary)


def read_predictions(path: Path) -> Iterator[PredictionRecord]:
    """Yields the predictions of a finished run, whose summary was read before."""
    return cast("Iterator[PredictionRecord]", _records(path, PREDICTIONS))


def read_rows(path: Path, keys: Collection[str]) -> tuple[RunSettings, list[RowRecord], list[RowRecord]]:
    """Returns a finished run's settings, its samples and its support rows.

    Args:
        path: Folder of the run.
        keys: The keys of the records to keep, since records of long runs can take much memory.

    Raises:
        RunError: As `read_summary`.
    """
    read_summary(path)
    samples, support = (
        [{key: value for key, value in record.items() if key in keys} for record in _records(path, file)]
        for file in ("samples", "support")
    )
    return _settings(path), cast("list[RowRecord]", samples), cast("list[RowRecord]", support)


def read_tensors(path: Path) -> bytes | None:
    """Returns the contents of a finished run's `outputs.safetensors`, or None if the run has none."""
    return (path / TENSORS).read_bytes() if TENSORS in _hashes(path / SUMMARY) else None


def read_shard(path: Path) -> FinishedShard:
    """Returns the contents of a finished shard's folder.

    Raises:
        RunError: If the folder contains no finished shard, or one of its files is missing or was changed.
    """
    summary = read_marker(path, SHARD, SHARD_FILES)
    if summary is None and (path / SUMMARY).is_file():
        raise RunError(
            f"The folder {path} contains a whole run, not a shard",
            code="not-a-shard",
            hint="Merge folders named *.shard-1-of-3",
            folder=str(path),
        )
    if summary is None:
        raise _unfinished(path, SHARD)
    samples, support, outputs = (
        {record_key(cast(Record, each)): each for each in _records(path, file)} for file in RECORD_FILES
    )
    with expect(path / f"{ROWS}.jsonl", "the rows of a shard"):
        evaluated = {
            record_key(record): EvaluatedRow.from_record(record)
            for record in cast("Iterator[EvaluatedRecord]", _records(path, ROWS))
        }
    return FinishedShard(
        path=path,
        settings=_settings(path),
        summary=cast(ShardSummary, summary),
        rows=cast("dict[str, RowRecord]", {**support, **samples}),
        outputs=cast("dict[str, ReadRecord | ReadPlanRecord]", outputs),
        evaluated=evaluated,
    )


def _settings(path: Path) -> RunSettings:
    return cast(RunSettings, read_json(path / SETTINGS))


def _hashes(marker: Path) -> dict[str, str]:
    """The hashes in the file that marks a folder as finished; empty if there is no such file."""
    contents = cast("dict[str, dict[str, str]]", read_json(marker) or {})
    return contents.get("sha256", {})


def _unfinished(path: Path, marker: str) -> RunError:
    if not (path / SETTINGS).is_file():
        return RunError(
            f"The folder {path} is not a run folder: it has no {SETTINGS}",
            code="not-a-run",
            hint="Use a folder that promptkit eval printed, such as runs/sst2-1a2b3c4d",
            folder=str(path),
        )
    if "train" in cast("dict[str, object]", read_json(path / SETTINGS) or {}):
        return RunError(
            f"The folder {path} is not a run folder: it contains a learned prompt",
            code="not-a-run",
            hint=by_caller(
                command=f"Evaluate the prompt with promptkit eval TASK --prompt {path}, and use the folder that it prints",
                python=f"Evaluate the prompt with pk.load_manipulation({str(path)!r}), and use the path of that run",
            ),
            folder=str(path),
        )
    missing = [file for file in _hashes(path / marker) if not (path / file).is_file()]
    if missing:
        return RunError(
            f"{path / missing[0]} is missing from a finished run",
            code="missing-file",
            hint=f"Restore it, or {REPEAT}, which computes those rows again",
            file=str(path / missing[0]),
        )
    return RunError(
        f"The run in {path} is not finished",
        code="unfinished-run",
        hint=f"To finish it, {REPEAT}, which continues where it stopped",
        folder=str(path),
    )


def _records(path: Path, file: str) -> Iterator[dict[str, object]]:
    with (path / f"{file}.jsonl").open("rb") as stream:
        for line in stream:
            yield json.loads(line)
