"""The tables that commands print fit into a terminal of 80 columns, also with long names of runs."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

import promptkit as pk
from promptkit.cli import main as cli
from promptkit.display.text_table import TERMINAL
from tests.support.paths import ROOT

FOLDER = "a_folder_with_a_long_name/of_experiments_about_sentiment"
STUDY = {
    "task": "sentiment",
    "model": "fake",
    "limit": 8,
    "calibrate": ["contextual", "batch:mean=arithmetic:estimate_on=test"],
    "grid": {"demos": ["random", "balanced"], "shots": [0, 1, 2, 3, 4, 5]},
}


def run_command(patch: pytest.MonkeyPatch, command: str) -> None:
    patch.setattr("sys.argv", ["promptkit", *shlex.split(command)])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert not left.value.code


EVALUATIONS = [
    "sentiment --calibrate contextual,batch:mean=arithmetic:estimate_on=test,linear:per_class=4:on=tokens --labelmap blm",
    "capitals --max-tokens 4",
    "arithmetic --max-tokens 4 --samples 4",
    "bbh/date_understanding --data {data}",
    "{long}",
]


@pytest.mark.parametrize("evaluation", EVALUATIONS)
def test_the_table_of_a_run_is_at_most_80_columns_wide(
    evaluation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    data = ROOT.parent / "shared" / "data"
    if "{data}" in evaluation and not data.is_dir():
        pytest.skip("the data sets are not on this machine")
    labels = [f"a label with a long name {'and a number ' * 4}{number}" for number in range(4)]
    rows = [{"text": f"row {number}", "label": labels[number % 4]} for number in range(40)]
    (tmp_path / "long.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = evaluation.format(data=data, long=tmp_path / "long.jsonl")
    command = f"eval {words} --model fake --limit 24 --shots 2 --out {tmp_path / FOLDER}"
    text = printed(command, monkeypatch, capsys)
    assert not too_wide(text)
    (folder,) = (path.parent for path in (tmp_path / FOLDER).glob("*/summary.json"))
    assert not too_wide(str(pk.Run.load(folder)))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("runs") / FOLDER
    with pytest.MonkeyPatch.context() as patch:
        command = "eval sentiment --model fake --limit 24 --calibrate contextual,batch:rows=8,linear:per_class=4 --labelmap blm"
        run_command(patch, f"{command} --no-cache --out {out}")
    (folder,) = (path for path in out.iterdir() if (path / "summary.json").is_file())
    return str(folder)


def printed(command: str, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> str:
    monkeypatch.setenv("COLUMNS", str(TERMINAL))
    run_command(monkeypatch, command)
    return str(capsys.readouterr().out)


@pytest.mark.parametrize(
    "command",
    [
        "tasks",
        "models",
        "kinds",
        "align {run}",
        "bias {run}:batch:rows=8",
        "labelmap {run}",
        "curve {run} --per-class 1,2,4 --draws 2",
        "compare {run} {run}:batch:rows=8 {run}:contextual",
    ],
)
def test_a_table_is_at_most_80_columns_wide(command: str, run: str, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    text = printed(command.format(run=run), monkeypatch, capsys)
    assert not too_wide(text)


def too_wide(text: str) -> list[str]:
    """The lines of tables that are too wide; a sentence below a table may have any length."""
    return [line for line in text.splitlines() if len(line) > TERMINAL and ("  " in line.strip() or "─" in line)]


@pytest.mark.parametrize("seeds", ["--seed 1", "--seeds 0:3"])
def test_the_tables_of_an_evaluation_are_at_most_80_columns_wide(
    seeds: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    options = "--model fake --limit 8 --shots 2 --calibrate contextual,batch:mean=arithmetic:estimate_on=test"
    text = printed(f"eval sentiment {options} {seeds} --out {tmp_path / FOLDER}", monkeypatch, capsys)
    assert "─" in text
    assert not too_wide(text)


def test_a_study_of_many_columns_is_at_most_80_columns_wide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(json.loads(json.dumps(STUDY)), sort_keys=False))
    text = printed(f"study {file} --out {tmp_path / FOLDER}", monkeypatch, capsys)
    assert not too_wide(text)
    assert all(f"shots={shots}" in text for shots in range(6))
