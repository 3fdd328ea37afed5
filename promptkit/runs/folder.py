"""Writes run folders: one folder per run, written while the run computes, so an interrupted run can continue.

    run.json              everything that determines the results
    samples.jsonl         one record per evaluated row
    support.jsonl         one record per further row that an aligner needs
    outputs.safetensors   token log-probabilities and hidden states, if an aligner needs them; `outputs.jsonl` until the run
                          is finished
    predictions.jsonl     one record per evaluated row: its inputs, its gold label, and the prediction and the probabilities of
                          each branch
    results.safetensors   the same numbers exactly, from which the results are read again
    summary.json          the metrics, the notes and the sha256 of all files above; marks the run as finished
    timing.json           what differs between executions of the same run: seconds and notes
    keys.json             hashes of the configurations that led to the run, by which it is recognized without the model
    options.json          the options of `promptkit eval` that created the run, unless it was created from Python objects
    origin.json           where the rows come from: a task, a task file or a data file
    template.j2           the text of the prompt's template
    prompts.jsonl         the prompts of the evaluated rows, for readers
    task.yaml             a copy of the task file, unless it is a shipped one

    metrics.json          the names of the metrics that were last requested
    baselines.json        the results of baselines without a model, and `baselines.jsonl` with their predictions

A shard has its own folder, `RUN.shard-1-of-3`. Instead of `predictions.jsonl`, `results.safetensors` and `summary.json` it has
`rows.jsonl` (its rows with their inputs), `fitted.safetensors` (the fitted aligners of a fitted predictor) and `shard.json`.
Records are appended in the order in which they are computed, and finishing the run puts them in the run's order.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Literal, cast, overload

from promptkit.core.caller import setting
from promptkit.core.errors import RunError
from promptkit.core.files import acquire_lock, write_pieces
from promptkit.core.hashing import file_sha256_hex, sha256_hex
from promptkit.core.paths import expanded
from promptkit.core.records import RECORD_FILES, ReadPlanRecord, ReadRecord, RecordFile, RowRecord
from promptkit.runs.files import REPEAT, damaged, parse_record, read_json, to_file, to_line, writing
from promptkit.runs.schema import Timing
from promptkit.runs.shard import Shard

PREDICTIONS, ROWS = "predictions", "rows"
TENSORS, RESULTS = "outputs.safetensors", "results.safetensors"
SETTINGS = "run.json"
SUMMARY, SHARD = "summary.json", "shard.json"
TIMING = "timing.json"
SHARD_FILES = tuple(f"{file}.jsonl" for file in (*RECORD_FILES, ROWS))
RUN_FILES = ("samples.jsonl", "support.jsonl", f"{PREDICTIONS}.jsonl", RESULTS)
"""The files of every finished run; some also have `TENSORS`."""


class RunFolder:
    """The folder of a run, `OUT/TASK-<hash of settings>`, or of one of its shards.

    Args:
        out: The folder that contains run folders.
        task: Name of the task.
        settings: Everything that determines the run's results.
        shard: The shard, if the folder belongs to a shard.
    """

    def __init__(self, out: str | Path, task: str, settings: Mapping[str, object], shard: Shard | None = None) -> None:
        digest = sha256_hex(to_line(settings))[:8]
        suffix = f".shard-{shard.number}-of-{shard.of}" if shard else ""
        self.path = expanded(out) / f"{task.replace('/', '-')}-{digest}{suffix}"
        self._settings = settings
        self._marker, self._files = (SHARD, SHARD_FILES) if shard else (SUMMARY, RUN_FILES)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Creates the folder if needed and locks it for this process.

        Raises:
            RunError: If another process has locked the folder, it contains another run, or it cannot be written.
        """
        occupied = RunError(
            f"Another process is working on the run {self.path}",
            code="run-locked",
            hint=f"Wait for it to finish, or choose another {setting('out')}",
            folder=str(self.path),
        )
        with self._writing():
            self.path.mkdir(parents=True, exist_ok=True)
            lock = acquire_lock(self.path / ".lock", occupied)
        try:
            self._check_settings()
            self._write(SETTINGS, to_file(self._settings))
            yield
        finally:
            lock.release()

    def timing(self) -> Timing | None:
        """Returns the timing of the last execution, or None if there is none."""
        return cast("Timing | None", read_json(self.path / TIMING))

    def finished(self) -> bool:
        """Returns whether the run is finished and complete.

        Raises:
            RunError: If a file was changed after the run had finished.
        """
        return read_marker(self.path, self._marker, self._files) is not None

    @overload
    def lines(self, file: Literal["samples", "support"]) -> list[RowRecord]: ...
    @overload
    def lines(self, file: Literal["outputs"]) -> list[ReadRecord | ReadPlanRecord]: ...
    def lines(self, file: RecordFile) -> list[RowRecord] | list[ReadRecord | ReadPlanRecord]:
        """Returns the records of a file; an incomplete last line is removed from the file.

        Raises:
            RunError: If a line is damaged.
        """
        path = self.path / f"{file}.jsonl"
        if not path.is_file():
            return []
        content = path.read_bytes()
        complete = content[: content.rfind(b"\n") + 1]
        if len(complete) < len(content):
            with self._writing(), path.open("r+b") as stream:
                stream.truncate(len(complete))
        records = [parse_record(path, number, line) for number, line in enumerate(complete.splitlines(), start=1)]
        return cast("list[RowRecord]", records)

    def append(self, file: RecordFile, records: Sequence[Mapping[str, object]]) -> None:
        """Appends records to a file and flushes them to the operating system."""
        if not records:
            return
        with self._writing(), (self.path / f"{file}.jsonl").open("a", encoding="utf-8", newline="\n") as stream:
            stream.writelines(to_line(record) + "\n" for record in records)

    def finish(
        self,
        records: Mapping[str, Iterable[Mapping[str, object]]],
        summary: Mapping[str, object],
        tensors: Mapping[str, bytes] | None = None,
    ) -> None:
        """Writes every file in its final order and marks the run or shard as finished.

        Args:
            records: File, without its extension -> its records, in the run's order.
            summary: The contents of the marker file, without the hashes of the files.
            tensors: The contents of the files of tensors, by name; `outputs.safetensors` replaces `outputs.jsonl`.
        """
        hashes = {
            name: self._write_pieces(name, ((to_line(record) + "\n").encode() for record in records[Path(name).stem]))
            for name in self._files
            if name.endswith(".jsonl")
        }
        for name, content in (tensors or {}).items():
            hashes[name] = self._write_pieces(name, [content])
        hashes[SETTINGS] = sha256_hex(to_file(self._settings))
        self._write(self._marker, to_file({**summary, "sha256": hashes}))
        if self._marker == SUMMARY:
            (self.path / "outputs.jsonl").unlink(missing_ok=True)

    def record_timing(self, timing: Mapping[str, object]) -> None:
        """Writes the timing of this execution."""
        self._write(TIMING, to_file(timing))

    def _check_settings(self) -> None:
        existing = read_json(self.path / SETTINGS)
        if existing is not None and existing != json.loads(to_line(self._settings)):
            raise RunError(
                f"The folder {self.path} contains another run",
                code="other-run",
                hint=f"Choose another {setting('out')}, or move that folder away",
                folder=str(self.path),
            )

    def _write(self, name: str, content: bytes) -> None:
        self._write_pieces(name, [content])

    def _write_pieces(self, name: str, pieces: Iterable[bytes]) -> str:
        """Replaces a file, and returns the hash of its content."""
        with self._writing():
            return write_pieces(self.path / name, pieces)

    def _writing(self) -> AbstractContextManager[None]:
        return writing(self.path, "run folder")


def read_marker(path: Path, marker: str, files: Sequence[str]) -> dict[str, object] | None:
    """Returns the contents of the file that marks a folder as finished, or None if the folder is not finished.

    Args:
        path: The folder.
        marker: Name of the marking file.
        files: Names of the files that a finished folder must contain.

    Raises:
        RunError: If the marking file is damaged, or a file was changed after the run had finished.
    """
    summary = read_json(path / marker)
    if summary is None:
        return None
    if not (isinstance(summary, dict) and isinstance(summary.get("sha256"), dict)):
        raise damaged(path / marker, f"it is not the {Path(marker).stem} of a run")
    hashes = summary["sha256"]
    for name in dict.fromkeys((SETTINGS, *files, *hashes)):
        file = path / name
        if not file.is_file():
            return None
        if file_sha256_hex(file) != hashes.get(name):
            again = "writes it again and keeps the rows" if name == SETTINGS else "computes its rows again"
            raise RunError(
                f"{file} was changed after its run had finished",
                code="changed-file",
                hint=f"Restore it, or delete it and {REPEAT}, which {again}",
                file=str(file),
            )
    return summary
