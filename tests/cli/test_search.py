"""`promptkit search` as it is typed."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from promptkit.cli.main import main

LISTED = ['It\'s "good" or bad: say which.', "Judge.", "--chat"]
Type = Callable[..., Any]


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Type:
    """Types a command: what it prints."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tries.txt").write_text("\n".join(["", *LISTED, " "]), "utf-8")

    def run(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["promptkit", *words])
        main_exit = None
        try:
            main()
        except SystemExit as left:
            main_exit = left.code
        assert not main_exit, capsys.readouterr().err
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
def test_the_command_that_it_tells_makes_the_run_that_confirmed(typed: Type, more: tuple[str, ...]) -> None:
    told = json.loads(typed(*SEARCH, *more, "--json"))
    again = json.loads(typed(*shlex.split(told["command"])[1:], "--limit", "40", "--json"))
    assert told["runs"][1] == again["run"]
    figures = again["results"][0]["metrics"]["accuracy"]
    assert told["held_out"] == {key: pytest.approx(value, abs=1e-6) for key, value in figures.items()}


def test_a_list_is_tried_line_by_line_and_joins_what_the_model_proposes(typed: Type) -> None:
    alone, joined = (json.loads(typed(*SEARCH, "--list", "tries.txt", *more, "--json")) for more in ((), ("--method", "ape")))
    origins = [{each["instruction"]: each["from"] for each in told["rungs"][0]["instructions"]} for told in (alone, joined)]
    assert [text for text, origin in sorted(origins[0].items()) if origin == "list"] == sorted(LISTED)
    assert (alone["method"], joined["method"]) == ("list", "ape")
    assert set(origins[0].values()) == {"list", "labels", "none", "own"}
    assert origins[1].items() >= origins[0].items()


def test_the_table_shows_what_the_json_says(typed: Type) -> None:
    words = (*SEARCH, "--list", "tries.txt")
    told, shown = json.loads(typed(*words, "--json")), typed(*words)
    last = told["rungs"][-1]
    assert f"{last['rows']} rows" in shown
    for each in last["instructions"]:
        assert f"{each['accuracy']:.3f}" in shown
    assert f"use it: {told['command']}" in shown
    assert f"{told['optimism']['value']:+.3f}" in shown
    assert f"{told['comparison']['branches'][1]['difference']['value']:+.3f}" in shown
