"""`promptkit search`, run in this process with the fake engine."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from promptkit.cli.main import main
from promptkit.config.evaluation import EvalConfig
from promptkit.core.errors import TaskError
from tests.support.errors import refused

LISTED = ['It\'s "good" or bad: say which.', "Judge.", "--chat"]
Command = Callable[..., Any]


@pytest.fixture
def run_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command and returns its output."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tries.txt").write_text("\n".join(["", *LISTED, " "]), "utf-8")

    def run(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["promptkit", *words])
        exit_code = None
        try:
            main()
        except SystemExit as exit_error:
            exit_code = exit_error.code
        assert not exit_code, capsys.readouterr().err
        return capsys.readouterr().out

    return run


SEARCH = ("search", "sentiment", "--model", "fake", "--candidates", "6", "--test", "40")


@pytest.mark.parametrize(
    "more",
    [
        ("--list", "tries.txt"),
        ("--list", "tries.txt", "--shots", "4", "--demos", "random-each", "--seed", "3", "--set", "batch_tokens=900", "--chat"),
        ("--method", "ape", "--out", "elsewhere", "--instruction", "Say."),
        ("--method", "opro", "--template", "question/answer", "--no-cache"),
    ],
)
def test_the_printed_command_reproduces_the_evaluation(run_command: Command, more: tuple[str, ...]) -> None:
    result = json.loads(run_command(*SEARCH, *more, "--json"))
    again = json.loads(run_command(*shlex.split(result["command"])[1:], "--limit", "40", "--json"))
    assert result["runs"][1] == again["run"]
    figures = again["results"][0]["metrics"]["accuracy"]
    assert result["held_out"] == {key: pytest.approx(value, abs=1e-6) for key, value in figures.items()}


def test_listed_instructions_are_tried_with_or_without_proposed_ones(run_command: Command) -> None:
    single, joined = (
        json.loads(run_command(*SEARCH, "--list", "tries.txt", *more, "--json")) for more in ((), ("--method", "ape"))
    )
    origins = [
        {item["instruction"]: item["from"] for item in result["rungs"][0]["instructions"]} for result in (single, joined)
    ]
    assert [text for text, origin in sorted(origins[0].items()) if origin == "list"] == sorted(LISTED)
    assert (single["method"], joined["method"]) == ("list", "ape")
    assert set(origins[0].values()) == {"list", "labels", "none", "own"}
    assert origins[1].items() >= origins[0].items()


def test_the_table_shows_the_values_of_the_json_output(run_command: Command) -> None:
    words = (*SEARCH, "--list", "tries.txt")
    result, shown = json.loads(run_command(*words, "--json")), run_command(*words)
    last = result["rungs"][-1]
    assert f"{last['rows']} rows" in shown
    for item in last["instructions"]:
        assert f"{item['metric']:.3f}" in shown
    assert f"use it: {result['command']}" in shown
    assert f"{result['optimism']:+.3f}" in shown
    assert f"{result['new_rows']['value']:.3f}" in shown
    assert f"{result['comparison']['branches'][1]['difference']['value']:+.3f}" in shown


def test_the_rows_of_the_search_are_not_evaluated_unnoticed(run_command: Command, tmp_path: Path) -> None:
    rows = "".join(f"a {'good' if n % 2 else 'bad'} thing {n},{'pos' if n % 2 else 'neg'}\n" for n in range(80))
    (tmp_path / "rows.csv").write_text(f"text,label\n{rows}", encoding="utf-8")
    (tmp_path / "tries.txt").write_text("Judge it.\nIs it good?\n", encoding="utf-8")
    result = json.loads(run_command("search", str(tmp_path / "rows.csv"), "--model", "fake", "--list", "tries.txt", "--json"))
    words = shlex.split(result["command"])[1:]
    assert "--folds" in words
    assert run_command(*words, "--json")
    without_folds = [*words[: words.index("--folds")], *words[words.index("--folds") + 2 :]]
    config = EvalConfig(
        task=str(tmp_path / "rows.csv"), model="fake", shots=0, instruction=words[words.index("--instruction") + 1]
    )
    with refused(TaskError, "seen-rows"):
        config.run(out=tmp_path / "runs")
    marked = json.loads(run_command(*without_folds, "--allow-seen", "--json"))
    assert marked["seen_rows"] > 0
