"""`promptkit predict`: a saved predictor and a file of new rows."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import promptkit as pk

COMMAND = [sys.executable, "-m", "promptkit", "predict", "predictor", "new.csv", "-o"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a saved predictor and many rows."""
    labels = pk.Verbalizer({"no": "bad", "yes": "good"})
    pk.Predictor(pk.load("fake"), pk.Prompt("sentiment/review"), labels).save(tmp_path / "predictor")
    lines = [f'{number},"film {number}, {"long " * (number % 20)}"\n' for number in range(12_000)]
    (tmp_path / "new.csv").write_text("id,text\n" + "".join(lines))
    return tmp_path


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], cwd=folder, capture_output=True, text=True, check=True)


def kill_after_first_chunk(folder: Path, target: str) -> None:
    process = subprocess.Popen([*COMMAND, target], cwd=folder)
    journal = folder / f".{target}.journal"
    while not (journal.exists() and json.loads(journal.read_bytes())["rows"]):
        assert process.poll() is None, "the command has ended before it could be killed"
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def test_a_killed_prediction_continues_with_the_same_bytes(folder: Path) -> None:
    run(folder, "whole.csv")
    kill_after_first_chunk(folder, "out.csv")
    assert not (folder / "out.csv").exists()
    result = json.loads(run(folder, "out.csv", "--json").stdout)
    assert 0 < result["resumed"] < result["rows"] == 12_000
    assert sum(result["predicted"].values()) == 12_000
    assert (folder / "out.csv").read_bytes() == (folder / "whole.csv").read_bytes()


def test_the_output_states_what_was_predicted(folder: Path) -> None:
    (folder / "new.csv").write_text("text\nfine\n \nbad\n")
    printed = run(folder, "out.jsonl", "--threshold", "1").stdout.splitlines()
    assert printed[0] == "3 rows"
    assert "abstained" in printed[1]
    assert "could not be read" in printed[2]
    assert printed[-1].endswith("out.jsonl")
    rows = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    assert [row["abstained"] for row in rows] == [True, False, True]
