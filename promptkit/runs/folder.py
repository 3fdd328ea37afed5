"""One run = one folder, written as the run goes, so that a killed run continues where it was.

    run.json        everything that determines the result
    samples.jsonl   a line an evaluated row
    support.jsonl   a line for each row that an aligner needed besides
    outputs.safetensors   what was read of rows beside their scores, where an aligner needed that; outputs.jsonl while it goes
    predictions.jsonl   a line an evaluated row: its gold label, and what each branch of the run predicts
    summary.json    the figures, and the sha256 of all the files above; the run is finished when it is there
    timing.json     what differs from one execution to the next: seconds, and what the model had to do

A shard of a run is a folder of its own, `RUN.shard-1-of-3`, in which shard.json stands for the last three.
While the run goes, lines stand in the order in which they were computed; when it is whole they are put in the run's own
order. Knows nothing of models or metrics.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

from promptkit.core.errors import InputError, RunError, json_reason
from promptkit.core.files import write_atomically
from promptkit.core.hashing import sha256_hex
from promptkit.core.paths import expanded

Line = Mapping[str, Any]
File = Literal["samples", "support", "outputs"]
FILES: tuple[File, ...] = ("samples", "support", "outputs")
PREDICTIONS = "predictions"
TENSORS = "outputs.safetensors"
SETTINGS = "run.json"
SUMMARY, SHARD = "summary.json", "shard.json"
_SHARD_FILES = tuple(f"{file}.jsonl" for file in FILES)
_RUN_FILES = ("samples.jsonl", "support.jsonl", f"{PREDICTIONS}.jsonl", TENSORS)


class Shard(NamedTuple):
    """One of the equal parts of a run."""

    number: int
    """From 1."""
    of: int

    @classmethod
    def read(cls, spelling: str) -> Shard:
        """The shard spelt `1/3`."""
        number, _, of = spelling.partition("/")
        if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
            raise InputError(
                f"{spelling!r} is not a shard",
                code="invalid-shard",
                hint="Write --shard 1/3, 2/3 and 3/3 for three shards",
                shard=spelling,
            )
        return cls(int(number), int(of))

    def __str__(self) -> str:
        """As the command line spells it."""
        return f"{self.number}/{self.of}"


class RunFolder:
    """A run's folder, `OUT/TASK-<hash of settings>`, or that of one of its shards."""

    def __init__(self, out: str | Path, task: str, settings: Line, shard: Shard | None = None) -> None:
        """Name the folder; nothing is written yet."""
        digest = sha256_hex(_compact(settings))[:8]
        part = f".shard-{shard.number}-of-{shard.of}" if shard else ""
        self.path = expanded(out) / f"{task.replace('/', '-')}-{digest}{part}"
        self._settings = settings
        self._marker, self._files = (SHARD, _SHARD_FILES) if shard else (SUMMARY, _RUN_FILES)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this process; another that asks for it is refused."""
        import filelock

        with self._writing():
            self.path.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(self.path / ".lock")
            try:
                lock.acquire(timeout=0)
            except filelock.Timeout:
                raise RunError(
                    f"Another process is working on the run {self.path}",
                    code="run-locked",
                    hint="Wait for it to finish, or choose another --out",
                    folder=str(self.path),
                ) from None
        try:
            self._check_settings()
            self._write(SETTINGS, _pretty(self._settings))
            yield
        finally:
            lock.release()

    def timing(self) -> Any:
        """What the last execution took, or None."""
        return read_json(self.path / "timing.json")

    def finished(self) -> bool:
        """Whether its files stand as they were left when it had finished; raises if one was changed since."""
        return _read_marker(self.path, self._marker, self._files) is not None

    def lines(self, file: File) -> list[Any]:
        """The whole lines that stand in a file; a torn last one is cut off."""
        path = self.path / f"{file}.jsonl"
        if not path.is_file():
            return []
        content = path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            with self._writing(), path.open("r+b") as stream:
                stream.truncate(len(whole))
        return [self._line(path, number, line) for number, line in enumerate(whole.splitlines(), start=1)]

    def _line(self, path: Path, number: int, line: bytes) -> Any:
        try:
            value = json.loads(line)
            if isinstance(value, dict) and isinstance(value.get("id"), str):
                return value
            reason = "it is not a row of a run"
        except (ValueError, RecursionError) as error:
            reason = json_reason(error)
        raise RunError(
            f"{path} is damaged at line {number}: {reason}",
            code="damaged-line",
            hint="Delete that line and run the command again: the other lines are kept",
            file=str(path),
            line=number,
        )

    def append(self, file: File, lines: Sequence[Line]) -> None:
        """Add lines, and hand them to the operating system before returning."""
        if not lines:
            return
        with self._writing(), (self.path / f"{file}.jsonl").open("a", encoding="utf-8", newline="\n") as stream:
            stream.writelines(_compact(line) + "\n" for line in lines)

    def finish(self, lines: Mapping[str, Sequence[Line]], summary: Line, tensors: bytes | None = None) -> None:
        """Put the lines of every file in the order given, and mark the run, or the shard, finished.

        A run's `tensors` take the place of the lines of its outputs.
        """
        named = {name: Path(name).stem for name in self._files if name != TENSORS}
        contents = {name: "".join(_compact(line) + "\n" for line in lines[file]).encode() for name, file in named.items()}
        if tensors is not None:
            contents[TENSORS] = tensors
        for name, content in contents.items():
            self._write(name, content)
        contents[SETTINGS] = _pretty(self._settings)
        self._write(self._marker, _pretty({**summary, "sha256": {n: sha256_hex(c) for n, c in contents.items()}}))
        if self._marker == SUMMARY:
            (self.path / "outputs.jsonl").unlink(missing_ok=True)

    def tensors(self) -> bytes | None:
        """What a finished run has read of rows beside their scores."""
        return read_tensors(self.path)

    def record_timing(self, timing: Line) -> None:
        """Write what this execution took."""
        self._write("timing.json", _pretty(timing))

    def _check_settings(self) -> None:
        there = read_json(self.path / SETTINGS)
        if there is not None and there != json.loads(_compact(self._settings)):
            raise RunError(
                f"The folder {self.path} contains another run",
                code="other-run",
                hint="Choose another --out, or move that folder away",
                folder=str(self.path),
            )

    def _write(self, name: str, content: bytes) -> None:
        with self._writing():
            write_atomically(self.path / name, content)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise RunError(
                f"The run folder {self.path} cannot be written: {error.strerror or error}",
                code="cannot-write",
                hint="Existing files are kept: fix the cause and run the command again, or choose another --out",
                folder=str(self.path),
                reason=error.strerror or str(error),
            ) from None


def _read_marker(path: Path, marker: str, files: Sequence[str]) -> Any:
    """What marks a folder finished, or None; raises if one of its files was changed since it had finished."""
    summary = read_json(path / marker)
    if summary is None:
        return None
    if not (isinstance(summary, dict) and isinstance(summary.get("sha256"), dict)):
        raise damaged(path / marker, f"it is not the {Path(marker).stem} of a run")
    for file in (SETTINGS, *(each for each in files if each != TENSORS or TENSORS in summary["sha256"])):
        held = path / file
        if not held.is_file():
            return None
        if sha256_hex(held.read_bytes()) != summary["sha256"].get(file):
            again = "writes it" if file == SETTINGS else "computes its rows"
            raise RunError(
                f"{held} was changed after its run had finished",
                code="changed-file",
                hint=f"Restore it, or delete it: the same command then {again} again",
                file=str(held),
            )
    return summary


def read_finished(path: Path) -> tuple[Any, list[Any]]:
    """The summary and the predictions of a finished run; raises for a folder that holds none."""
    summary = _read_marker(path, SUMMARY, _RUN_FILES)
    if summary is None and (path / SHARD).is_file():
        raise RunError(
            f"The folder {path} contains one shard of a run",
            code="unmerged-shard",
            hint="Merge the shards: promptkit merge",
            folder=str(path),
        )
    _check_is_run(path, SUMMARY, summary)
    return summary, _rows(path, PREDICTIONS)


def read_outputs(path: Path, keys: Collection[str]) -> tuple[Any, list[Any], list[Any]]:
    """A finished run's settings, its samples and its support, of whose lines these keys are kept; see `read_finished`."""
    read_finished(path)
    files = ("samples", "support")
    samples, support = ([{k: v for k, v in line.items() if k in keys} for line in _lines(path, file)] for file in files)
    return read_json(path / SETTINGS), samples, support


def read_tensors(path: Path) -> bytes | None:
    """What a finished run has read of rows beside their scores, if anything."""
    return (path / TENSORS).read_bytes() if TENSORS in read_json(path / SUMMARY)["sha256"] else None


def read_shard(path: Path) -> tuple[Any, Any, list[Any]]:
    """A finished shard: its run's settings, what it says of itself, and the lines of all its files."""
    shard = _read_marker(path, SHARD, _SHARD_FILES)
    if shard is None and (path / SUMMARY).is_file():
        raise RunError(
            f"The folder {path} contains a whole run, not a shard",
            code="not-a-shard",
            hint="Merge folders named *.shard-1-of-3",
            folder=str(path),
        )
    _check_is_run(path, SHARD, shard)
    return read_json(path / SETTINGS), shard, [line for file in FILES for line in _rows(path, file)]


def _check_is_run(path: Path, marker: str, finished: Any) -> None:
    if finished is None and not (path / SETTINGS).is_file():
        hint = "Use a folder that promptkit eval printed, such as runs/sst2-1a2b3c4d"
        raise RunError(
            f"The folder {path} is not a run folder: it has no {SETTINGS}", code="not-a-run", hint=hint, folder=str(path)
        )
    if finished is None:
        gone = [file for file in (read_json(path / marker) or {}).get("sha256", ()) if not (path / file).is_file()]
        if gone:
            raise RunError(
                f"{path / gone[0]} is missing from a finished run",
                code="missing-file",
                hint="Restore it, or run the command of the run again: it computes those rows again",
                file=str(path / gone[0]),
            )
        raise RunError(
            f"The run in {path} is not finished",
            code="unfinished-run",
            hint="Run its command again: it continues where it stopped",
            folder=str(path),
        )


def _rows(path: Path, file: str) -> list[Any]:
    return [*_lines(path, file)]


def _lines(path: Path, file: str) -> Iterator[Any]:
    with (path / f"{file}.jsonl").open("rb") as stream:
        for line in stream:
            yield json.loads(line)


def read_json(path: Path) -> Any:
    """The value in a file, or None where there is none."""
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise damaged(path, str(error)) from None


def damaged(path: Path, reason: str) -> RunError:
    """The error for a file of a run that cannot be read; its rows are in other files."""
    return RunError(
        f"{path} is damaged: {reason}",
        code="damaged-file",
        hint="Delete that file and run the eval command again: the rows are kept",
        file=str(path),
    )


def _compact(value: Line) -> str:
    return json.dumps(value, ensure_ascii=True, separators=(", ", ": "))


def _pretty(value: Line) -> bytes:
    return (json.dumps(value, ensure_ascii=True, indent=1) + "\n").encode()
