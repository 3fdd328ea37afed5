"""The command `promptkit convert`: both directions, and `promptkit eval` gives the same result for each."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from promptkit.cli.main import main
from tests.support.tiny import save

TASK = """
description: made up
template: sentiment/review
labels: {"no": bad, "yes": good}
sources: [{files: {test: rows.jsonl}, inputs: {text: text}, label: label, hold_out: 0.5}]
"""


@pytest.fixture
def typed(tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> Any:
        monkeypatch.setattr(sys, "argv", ["promptkit", *words])
        with pytest.raises(SystemExit, match="0"):
            main()
        out = capsys.readouterr().out
        return json.loads(out) if "--json" in words else out

    return run


@pytest.mark.parametrize(
    ("name", "settings", "trainable", "saved"),
    [
        ("soft", "place=start:reparameterize=mlp:width=4", 3 * 32 + 32 * 4 + 4 + 4 * 4 + 4 + 4 * 32 + 32, 3 * 32),
        ("prefix", "mlp=4", 3 * 4 + 4 * 4 + 4 + (4 + 1) * 2 * 3 * 2 * 8, 3 * 2 * 3 * 2 * 8),
    ],
)
def test_a_learned_prompt_is_converted_to_peft_and_back(
    name: str, settings: str, trainable: int, saved: int, tmp_path: Path, typed: Any
) -> None:
    save(tmp_path / "model", "gemma3")
    rows = [{"text": f"it was {i}", "label": ("yes", "no")[i % 2]} for i in range(60)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "task.yaml").write_text(TASK)
    model = ("--model", "model", "--json")
    options = ("--manipulation", f"{name}:length=3:{settings}", "--steps", "3", "--dev", "8")
    trained = typed("train", "task.yaml", *options, "--learning-rate", "0.01", *model)
    assert trained["trainable"] == trainable

    converted = typed("convert", trained["path"], "theirs", "--json")
    assert (converted["to"], converted["learned"]["length"], converted["base"]["name"], converted["path"]) == (
        "peft",
        3,
        "model",
        "theirs",
    )
    assert typed("convert", "theirs", "back").splitlines() == [
        f"{name} · {saved} numbers learned on model",
        "use it: promptkit eval TASK --model model --prompt back",
    ]
    result = [
        Path(typed("eval", "task.yaml", "--prompt", folder, *model)["run"]) for folder in (trained["path"], "theirs", "back")
    ]
    assert len({(run / "samples.jsonl").read_bytes() for run in result}) == 1
    assert len(set(result)) == 1  # they have the same content
