"""The values of labels as an option, for data without a task file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import promptkit as pk
from promptkit.cli.main import app
from promptkit.config.evaluation import EvalConfig
from promptkit.core.errors import InputError
from promptkit.tasks.options import DataOptions, values_text
from tests.support.errors import refused

ROWS = [{"text": f"text {n}", "level": ("low", "mid", "high")[n % 3]} for n in range(30)]


@pytest.mark.parametrize(
    "given_",
    [
        "low=1,mid=2.5,high=5",
        '{"low": 1, "mid": 2.5, "high": 5}',
        "{low: 1, mid: 2.5, high: 5}",
        {"low": 1, "mid": 2.5, "high": 5},
    ],
)
def test_values_are_the_same_in_every_form(given_: Any) -> None:
    assert DataOptions(values=given_).values == {"low": 1.0, "mid": 2.5, "high": 5.0}


@given(st.dictionaries(st.text(max_size=5), st.floats(allow_nan=False, allow_infinity=False), max_size=4))
def test_values_are_written_so_that_they_are_read_back(values: dict[str, float]) -> None:
    assert DataOptions(values=values_text(values)).values == values


def test_values_make_a_scale_in_python(tmp_path: Path) -> None:
    task = pk.task(ROWS, label="level", values={"low": 1, "mid": 2.5, "high": 5})
    assert task.labels == ("low", "mid", "high")
    assert task.spec.scale == {"low": 1.0, "mid": 2.5, "high": 5.0}
    numbers = pk.task(
        [{"text": f"t {n}", "level": 1 + n % 5} for n in range(30)], label="level", values={"1": 1, "5": 5}, numeric=True
    )
    assert numbers.spec.scale == {"1": 1.0, "5": 5.0}
    assert {row.value for row in numbers.labeled_rows()} == {1.0, 2.0, 3.0, 4.0, 5.0}


def test_the_command_predicts_expected_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rows.csv").write_text("text,level\n" + "".join(f"{row['text']},{row['level']}\n" for row in ROWS), "utf-8")
    words = [
        "eval",
        "rows.csv",
        "--label-column",
        "level",
        "--values",
        "low=1,mid=2.5,high=5",
        "--model",
        "fake",
        "--shots",
        "0",
    ]
    result = CliRunner().invoke(app, [*words, "--json"])
    assert result.exit_code == 0, result.output
    assert '"mae"' in result.stdout
    config = EvalConfig(task="rows.csv", label_column="level", values={"low": 1, "mid": 2.5, "high": 5}, model="fake", shots=0)
    assert "--values low=1,mid=2.5,high=5" in config.to_command()
    recorded = pk.task("rows.csv", label="level", values={"low": 1, "mid": 2.5, "high": 5}).data_options
    assert recorded is not None
    assert recorded["values"] == "low=1,mid=2.5,high=5"
    started = CliRunner().invoke(
        app, ["task", "init", "rows.csv", "--label-column", "level", "--values", "low=1,mid=2.5,high=5"]
    )
    assert started.exit_code == 0, started.output
    assert pk.task("rows.yaml").spec.scale == {"low": 1.0, "mid": 2.5, "high": 5.0}


@pytest.mark.parametrize(
    ("keywords", "code"),
    [
        ({"values": {"low": 1, "mid": 1, "high": 2}}, "invalid-values"),
        ({"values": {"low": 1, "high": 2}, "labels": ["low", "mid", "high"]}, "conflicting-options"),
        ({"values": {"low": 1, "mid": 2, "high": 3}, "ordinal": True}, "conflicting-options"),
        ({"values": {"low": 1, "mid": 2, "high": 3}, "multi_label": True}, "conflicting-options"),
    ],
)
def test_contradictory_values_are_refused(keywords: dict[str, Any], code: str) -> None:
    with refused(InputError, code):
        pk.task(ROWS, label="level", **keywords)


@pytest.mark.parametrize("text", ["low", "low=x", "{low: x}", "{low", "low=nan"])
def test_malformed_values_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        EvalConfig.from_keywords(task="rows.csv", values=text)
