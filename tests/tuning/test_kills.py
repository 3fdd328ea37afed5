"""Tuning that is killed at any moment and continued has the files of tuning without an interruption."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from promptkit.core.requests import Output, Request
from promptkit.models.fake import FakeModel
from promptkit.tuning import folder
from promptkit.tuning.budget import Budget
from promptkit.tuning.tune import tune_space
from promptkit.tuning.tuning import Tuning
from tests.tuning.test_tune import ROWS, files, space, tuning

BUDGET = Budget(90, "requests")


class Killed(BaseException):
    """Ends a process at once: no handler of exceptions catches it."""


class Killer:
    """Raises `Killed` at one of the moments at which the model answers a batch or a file is written."""

    def __init__(self) -> None:
        self.moments = 0
        self.last: int | None = None

    def passes(self) -> None:
        self.moments += 1
        if self.moments == self.last:
            raise Killed


@pytest.fixture
def killer(monkeypatch: pytest.MonkeyPatch) -> Killer:
    killer, answer, write = Killer(), FakeModel.answer, folder.write_atomically

    def answering(
        self: FakeModel, requests: Sequence[Request], done: Collection[int] = frozenset()
    ) -> Iterator[tuple[tuple[int, ...], tuple[Output, ...]]]:
        for batch in answer(self, requests, done):
            killer.passes()
            yield batch

    def writing(path: Path, content: bytes) -> None:
        killer.passes()
        write(path, content)
        killer.passes()

    monkeypatch.setattr(FakeModel, "answer", answering)
    monkeypatch.setattr(folder, "write_atomically", writing)
    return killer


def small() -> Tuning:
    """Returns tuning whose budget does not suffice for all prompts."""
    return replace(tuning(ROWS[:40], BUDGET), space=space(alignments=("batch-fitted",)))


@pytest.mark.parametrize(("cache", "kills"), [(True, 5), (False, 20)])
def test_runs_that_are_killed_at_random_moments_end_with_the_same_files(
    tmp_path: Path, killer: Killer, cache: bool, kills: int
) -> None:
    whole = tune_space(small(), out=tmp_path / "whole", cache=False)
    expected, moments = files(whole.path), killer.moments
    assert {each.dropped_at for each in whole.standings} >= {None, 16}
    draw, killed, run = random.Random(0), 0, 0
    while killed < kills:
        run += 1
        found = None
        while found is None:
            killer.moments, killer.last = 0, draw.randint(1, moments) if killed < kills else None
            try:
                found = tune_space(small(), out=tmp_path / str(run), cache=cache)
            except Killed:
                killed += 1
        assert files(found.path) == expected


def tune_command(folder: Path) -> subprocess.Popen[bytes]:
    """Starts `promptkit tune` with three prompts and a few alignments in a new or an existing folder."""
    folder.mkdir(exist_ok=True)
    rows = [f"{word} number {number},{'ab'[number % 2]}" for number, word in enumerate(["late", "broken", "refund"] * 20)]
    (folder / "tickets.csv").write_text("\n".join(["text,queue", *rows]))
    (folder / "space.yaml").write_text(json.dumps({"grid": {"shots": [0, 4, 8]}, "calibrate": ["batch"]}))
    given = ["tickets.csv", "--label-column", "queue", "--model", "fake", "--space", "space.yaml", "--budget", "130 requests"]
    command = [sys.executable, "-m", "promptkit", "tune", *given, "--json", "--no-cache"]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)


def lines_of_the_race(folder: Path) -> int:
    return sum(len(path.read_bytes().splitlines()) for path in folder.glob("tuned/*/race.jsonl"))


def test_a_process_that_is_killed_twice_ends_with_the_same_files(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    with tune_command(whole) as process:
        assert process.wait() == 0
    for lines in (1, 2):
        with tune_command(parts) as process:
            while process.poll() is None and lines_of_the_race(parts) < lines:
                time.sleep(0.001)
            process.kill()
        assert process.returncode == -signal.SIGKILL
    with tune_command(parts) as process:
        assert process.wait() == 0
    (whole_folder,), (parts_folder,) = (whole / "tuned").iterdir(), (parts / "tuned").iterdir()
    assert lines_of_the_race(parts) == lines_of_the_race(whole) > 2
    assert files(parts_folder) == files(whole_folder)
