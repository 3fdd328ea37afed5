"""The file with what happened in a race so far."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from promptkit.core.errors import RunError
from promptkit.tuning.folder import RACE
from promptkit.tuning.race import Scores, Stage
from promptkit.tuning.race_log import RaceLog
from tests.support.errors import refused

STAGE = Stage(rows=2, candidates=(0, 1), scores=Scores(correct=np.eye(2), loss=np.ones((2, 2))), leader=1)


def written(folder: Path, *lines: object, end: str = "") -> Path:
    (folder / RACE).write_text("".join(json.dumps(line) + "\n" for line in lines) + end)
    return folder


def test_a_race_that_has_not_begun_has_an_empty_log(tmp_path: Path) -> None:
    assert RaceLog.read(tmp_path) == RaceLog(proposed=None, tried=None, left_out={}, stages=[])


def test_lines_are_read_by_what_they_record(tmp_path: Path) -> None:
    proposed, tried = {"proposed": [["Say it."]], "requests": 1, "tokens": 9}, {"tried": [0], "tokens": [3.5]}
    left_out = {"left_out": "soft", "reason": "too long"}
    log = RaceLog.read(written(tmp_path, proposed, tried, STAGE.to_json(), left_out, end='{"rows": 4'))
    assert (log.proposed, log.tried, log.left_out) == (proposed, tried, {"soft": "too long"})
    assert [stage.to_json() for stage in log.stages] == [STAGE.to_json()]


def test_a_damaged_log_is_refused(tmp_path: Path) -> None:
    for line in ("{", '{"leader": 1}', "3"):
        (tmp_path / RACE).write_text(line + "\n")
        with refused(RunError, "damaged-file"):
            RaceLog.read(tmp_path)
