"""The folder of a tuning run: `OUT/TASK-<hash of settings>`.

tune.json           the settings; when tuning is finished, also the result and the hashes of the other files
race.jsonl          the instructions that models proposed, the prompts that were tried, and one line for each block of rows,
                    written before the next block is answered; a learned prompt that is left out has a line, too
leaderboard.jsonl   one line for each candidate, best first
predictor/          the chosen predictor, which `promptkit predict` reads
learned/            what was trained in each fold, see `promptkit.tuning.learned`
timing.json         what differs between executions: seconds, by which an interrupted run knows what is left of its budget
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from promptkit.core.caller import setting
from promptkit.core.errors import RunError
from promptkit.core.files import acquire_lock, write_atomically
from promptkit.core.hashing import file_sha256_hex, sha256_hex
from promptkit.core.paths import expanded
from promptkit.runs.files import read_json, to_file, to_line, writing

TUNED = "tuned"
"""The default folder of tuning runs."""
TUNE, RACE, LEADERBOARD, TIMING, PREDICTOR = "tune.json", "race.jsonl", "leaderboard.jsonl", "timing.json", "predictor"


class TuningFolder:
    """The folder of a tuning run.

    Args:
        out: The folder that contains the folders of tuning runs.
        task: The name of the task.
        settings: Everything that determines the result.
    """

    def __init__(self, out: str | Path, task: str, settings: Mapping[str, object]) -> None:
        self._settings = json.loads(to_line(settings))
        self.path = expanded(out) / f"{task.replace('/', '-')}-{sha256_hex(to_line(settings))[:8]}"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Creates the folder if necessary and locks it for this process.

        Raises:
            RunError: Another process has locked the folder, or it cannot be written.
        """
        occupied = RunError(
            f"Another process is tuning in {self.path}",
            code="run-locked",
            hint=f"Wait for it to finish, or choose another {setting('out')}",
            folder=str(self.path),
        )
        with self._writing():
            self.path.mkdir(parents=True, exist_ok=True)
            lock = acquire_lock(self.path / ".lock", occupied)
        try:
            if read_json(self.path / TUNE) is None:
                self._write(TUNE, to_file({"settings": self._settings}))
            yield
        finally:
            lock.release()

    # ---- while it is tuned --------------------------------------------------------------------------------

    def append(self, record: Mapping[str, object]) -> None:
        """Adds a line to the race, on disk before the function returns; an incomplete last line is overwritten."""
        lines: Sequence[Mapping[str, object]] = [*race_lines(self.path), record]
        self._write(RACE, "".join(to_line(each) + "\n" for each in lines).encode())

    def seconds(self) -> float:
        """Returns the wall time of all executions so far."""
        return _seconds(self.path)

    def prompt_seconds(self) -> dict[int, float]:
        """Returns the seconds of each prompt in the executions so far."""
        timing = read_json(self.path / TIMING)
        seconds = cast("dict[str, dict[str, float]]", timing).get("prompts", {}) if isinstance(timing, dict) else {}
        return {int(prompt): float(each) for prompt, each in seconds.items()}

    def record_seconds(self, seconds: float, prompts: Mapping[int, float]) -> None:
        """Writes the wall time of all executions so far, and the seconds of each prompt."""
        of_prompts = {str(prompt): round(each, 3) for prompt, each in prompts.items()}
        self._write(TIMING, to_file({"seconds": round(seconds, 3), "prompts": of_prompts}))

    # ---- the result ----------------------------------------------------------------------------------------

    def finish(self, result: Mapping[str, object], leaderboard: Sequence[Mapping[str, object]]) -> None:
        """Writes the result and marks the folder as finished; the predictor must be saved before."""
        self._write(LEADERBOARD, "".join(to_line(line) + "\n" for line in leaderboard).encode())
        hashes = {name: file_sha256_hex(self.path / name) for name in (RACE, LEADERBOARD)}
        self._write(TUNE, to_file({"settings": self._settings, **result, "sha256": hashes}))

    def is_finished(self) -> bool:
        """Returns whether the folder has a result.

        Raises:
            RunError: A file was changed after tuning had finished.
        """
        return read_folder(self.path) is not None

    def _write(self, name: str, content: bytes) -> None:
        with self._writing():
            write_atomically(self.path / name, content)

    def _writing(self) -> AbstractContextManager[None]:
        return writing(self.path, "folder")


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderContents:
    """The contents of a finished folder."""

    result: dict[str, object]
    """The result, without the settings."""
    leaderboard: list[dict[str, object]]
    """The lines of the leaderboard."""
    seconds: float
    """The wall time of all executions."""


def read_folder(path: Path) -> FolderContents | None:
    """Reads the folder of a tuning run; None if tuning is not finished.

    Raises:
        RunError: A file was changed after tuning had finished.
    """
    found = read_json(path / TUNE)
    if not isinstance(found, dict) or "sha256" not in found:
        return None
    for name, expected in found["sha256"].items():
        file = path / name
        if not file.is_file() or file_sha256_hex(file) != expected:
            raise RunError(
                f"{file} was changed after tuning had finished",
                code="changed-file",
                hint=f"Restore it, or delete the folder {path} and tune again: answers are in the score cache",
                file=str(file),
            )
    leaderboard = [json.loads(line) for line in (path / LEADERBOARD).read_text("utf-8").splitlines()]
    result = {name: value for name, value in found.items() if name not in ("settings", "sha256")}
    return FolderContents(result=result, leaderboard=leaderboard, seconds=_seconds(path))


def race_lines(path: Path) -> list[dict[str, object]]:
    """Returns the lines of the race in a folder; an incomplete last line is left out.

    Raises:
        RunError: A line is damaged.
    """
    file = path / RACE
    if not file.is_file():
        return []
    content = file.read_bytes()
    complete = content[: content.rfind(b"\n") + 1]
    try:
        return [cast("dict[str, object]", json.loads(line)) for line in complete.splitlines()]
    except ValueError as error:
        raise damaged_race(path, error) from None


def damaged_race(path: Path, error: Exception) -> RunError:
    """Returns the error for a folder whose race cannot be read."""
    return RunError(
        f"{path / RACE} is damaged: {error}",
        code="damaged-file",
        hint=f"Delete the folder {path} and tune again: answers are in the score cache",
        file=str(path / RACE),
    )


def _seconds(path: Path) -> float:
    timing = read_json(path / TIMING)
    return float(cast("dict[str, float]", timing)["seconds"]) if isinstance(timing, dict) else 0.0
