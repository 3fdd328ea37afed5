"""Labels with control characters and long labels, in every table, note and message."""

from __future__ import annotations

import csv
import json
import shlex
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import promptkit as pk
from promptkit.cli import main as cli
from promptkit.core.shown_text import LONGEST, escaped, label_text
from promptkit.display.layout import Column, blocks, wrapped
from promptkit.display.table import Table

ODD = ("good\nbad", "tab\there", "\x1b[31mred\x1b[0m", "right\u202eleft", f"a label {'of many words ' * 9}", "normal")


@given(st.text())
def test_shown_texts_are_printable_and_in_one_line(text: str) -> None:
    assert escaped(text).isprintable()
    assert label_text(text).isprintable()
    assert len(label_text(text)) <= LONGEST
    if text.isprintable():
        assert escaped(text) == text
    if text.isprintable() and len(text) <= LONGEST:
        assert label_text(text) == text


def test_long_labels_keep_their_beginning_and_end() -> None:
    first, second = (label_text(f"questions about {'orders ' * 20}{number}") for number in (1, 2))
    assert first != second
    assert first.startswith("questions about")
    assert len(first) <= LONGEST
    assert label_text("a\tb" * 30, 10) == "a\\tba…\\tb"


@given(st.lists(st.sampled_from(ODD), min_size=1, max_size=4), st.sampled_from(ODD))
def test_tables_show_texts_escaped_and_store_them_unchanged(labels: list[str], header: str) -> None:
    rows = tuple((label, "x\ny", 1) for label in labels)
    table = Table(title="t\tt", columns=("label", "text", header), rows=rows, names=1, labels=("label", header))
    for text in (str(table), table.to_markdown(), table.to_latex()):
        assert not {unicodedata.category(each) for each in text if each != "\n"} & {"Cc", "Cf"}
    assert len(table.to_markdown().splitlines()) == 2 + len(rows)
    assert [record["label"] for record in table.records()] == labels
    assert [line[0] for line in csv.reader(table.to_csv().splitlines(keepends=True))][1:] == labels
    assert json.loads(json.dumps(table.to_json()))[0]["text"] == "x\ny"


def test_words_are_not_cut_if_the_width_allows() -> None:
    cells = ("  frequent-answer", "first_line")
    numbers = [Column(header=f"column {number}", cells=("0.123\n0.00–0.16",) * 2, wraps=False) for number in range(6)]
    columns = [Column(header="alignment", cells=cells, wraps=True), *numbers]
    for block in blocks(columns, 1, 80):
        assert wrapped(cells[0], block[0]) == cells[0]
        assert sum(block.values()) + 3 * (len(block) - 1) <= 80


COMMANDS = [
    "eval odd.csv --label-column label --model fake --shots 0 --by-label --calibrate contextual,batch --out runs",
    "eval odd.csv --label-column label --model fake --shots 0 --metric 'precision@tab\there' --out runs",
    "bias RUN",
    "align RUN",
    "train odd.csv --label-column label --model fake --optimizer spsa --steps 1 --per-class 9 --out runs",
    "doctor odd.csv --label-column label --model fake",
    "eval odd.csv --label-column label --labels 'good\nbad,normal' --model fake --out runs",
]


def test_commands_print_no_control_characters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    with Path("odd.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerows([("text", "label"), *((f"text {number}", ODD[number % len(ODD)]) for number in range(48))])
    for command in COMMANDS:
        run = next(iter(sorted(map(str, Path().glob("runs/odd-*")))), "")
        monkeypatch.setattr("sys.argv", ["promptkit", *shlex.split(command.replace("RUN", run))])
        with pytest.raises(SystemExit):
            cli.main()
        out, err = capsys.readouterr()
        assert out or err
        strange = {each for each in out + err if not each.isprintable()} - {"\n"}
        assert not strange, (command, strange)


def test_a_run_shows_labels_escaped_and_keeps_them(tmp_path: Path) -> None:
    rows = [{"text": f"text {number}", "label": ODD[number % 3]} for number in range(30)]
    task = pk.task(rows, label="label", name="odd")
    predictor = pk.Predictor(pk.load("fake"), pk.Prompt(task.spec.template), task.spec.labels or {})
    run = pk.evaluate(predictor, task, limit=12, out=tmp_path, cache=False, progress=False)
    assert "good\\nbad" in str(run)
    assert "good\nbad" not in str(run)
    assert set(run.labels) == set(ODD[:3])
    assert "good\\nbad" in str(run.confusion())
    assert {row["label"] for row in run.by_label().to_json()} == set(ODD[:3])


def test_a_note_on_the_data_is_shown_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [("text", "label"), *((f"text {number}", ("good", "bad", "")[number % 3]) for number in range(30))]
    Path("some.csv").write_text("".join(f"{text},{label}\n" for text, label in rows))
    command = "eval some.csv --label-column label --multi-label --model fake --shots 0 --limit 6 --by-label"
    monkeypatch.setattr("sys.argv", ["promptkit", *command.split()])
    with pytest.raises(SystemExit):
        cli.main()
    assert sum("have no label" in message for message in caplog.messages) == 1
