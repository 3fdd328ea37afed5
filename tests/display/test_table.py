"""Tables as text, CSV, Markdown and LaTeX, each read back."""

from __future__ import annotations

import csv
import io
import re
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.display.layout import Column, blocks, text_width, wrapped
from promptkit.display.table import Table
from promptkit.display.text_table import TERMINAL
from promptkit.metrics.intervals import Estimate

RUN = "runs/sst2-1a2b3c4d/a_folder_with_a_long_name/another_one:batch:rows=8:estimate_on=test"
ACCURACY = Estimate(value=0.8731, low=0.85, high=0.9)
DIFFERENCE = Estimate(value=-0.1234, low=-0.15, high=0.02)
TABLE = Table(
    title="sst2 & co · test · 40 rows",
    columns=("predictor", "shots", "accuracy", "difference", "p"),
    rows=((RUN, 4, ACCURACY, None, None), ("50%_{x}|y", None, ACCURACY, DIFFERENCE, 0.000123)),
    names=1,
    signed=("difference",),
    p_values=("p",),
    caption="differences are paired",
)

names = st.text("abc/:=_ -", min_size=1, max_size=60)
estimates = st.builds(lambda value: Estimate(value=value, low=value - 0.1, high=value + 0.1), st.floats(-1, 1))
entries = st.one_of(st.none(), estimates, st.integers(0, 9999), st.floats(0, 1))


@st.composite
def tables(draw: Any) -> Table:
    count, rows = draw(st.integers(1, 14)), draw(st.integers(1, 3))
    kinds = [draw(st.sampled_from([estimates, st.integers(0, 9999), names])) for _ in range(count)]
    return Table(
        title=draw(names),
        columns=tuple(f"{number} {draw(names)}" for number in range(count + 1)),
        rows=tuple((draw(names), *(draw(kind) for kind in kinds)) for _ in range(rows)),
        names=1,
        caption=draw(names),
    )


@given(tables())
def test_a_table_is_at_most_as_wide_as_a_terminal_and_complete(table: Table) -> None:
    text = str(table)
    assert text_width(text) <= TERMINAL
    assert "…" not in text
    written = re.sub(r"\s", "", text)
    for row in table.rows:
        for entry in row:
            if not isinstance(entry, str):
                figure = f"{round(entry.value, 3) + 0.0:.3f}" if isinstance(entry, Estimate) else str(entry)
                assert figure in written


@given(st.text("ab/:=, ", max_size=80), st.integers(1, 30))
def test_wrapping_keeps_every_character_and_the_width(text: str, width: int) -> None:
    lines = wrapped(text, width)
    assert text_width(lines) <= width
    assert re.sub(r"\s", "", lines) == re.sub(r"\s", "", text)


def test_names_end_their_lines_at_separators() -> None:
    assert wrapped(RUN, 30).split("\n") == [
        "runs/sst2-1a2b3c4d/",
        "a_folder_with_a_long_name/",
        "another_one:batch:rows=8:",
        "estimate_on=test",
    ]


def test_columns_that_do_not_fit_are_in_further_blocks() -> None:
    columns = [Column(header="k", cells=("random",), wraps=True)]
    columns += [Column(header=f"k={k}", cells=("0.873\n0.85–0.90",), wraps=False) for k in range(12)]
    found = blocks(columns, 1, TERMINAL)
    assert [index for block in found for index in block if index] == list(range(1, 13))
    assert all(block[0] == 6 for block in found)
    assert len(found) == 2


def test_csv_has_three_columns_for_an_estimate_as_the_frame_has() -> None:
    frame = pd.read_csv(io.StringIO(TABLE.to_csv()))
    pd.testing.assert_frame_equal(frame, TABLE.to_pandas(), check_dtype=False)
    assert list(frame) == [
        *("predictor", "shots", "accuracy", "accuracy low", "accuracy high"),
        *("difference", "difference low", "difference high", "p"),
    ]
    first, second = csv.DictReader(io.StringIO(TABLE.to_csv()))
    assert first["predictor"] == RUN
    assert first["difference"] == ""
    assert [float(second[name]) for name in ("difference", "difference low", "difference high", "p")] == [
        *(-0.1234, -0.15, 0.02, 0.000123)
    ]


def from_markdown(text: str) -> list[list[str]]:
    cells = (re.split(r"(?<!\\) \| ", line[2:-2]) for line in text.splitlines())
    return [[re.sub(r"\\(.)", r"\1", cell) for cell in line] for line in cells]


def from_latex(text: str) -> list[list[str]]:
    body = re.findall(r"^(.*) \\\\$", text, flags=re.MULTILINE)
    lines = [re.split(r"(?<!\\) & ", line) for line in body]
    plain = {r"\textbar{}": "|", "--": "–", "$-$": "-", "$+$": "+"}
    for written, character in plain.items():
        lines = [[cell.replace(written, character) for cell in line] for line in lines]
    return [[re.sub(r"\\(.)", r"\1", cell) for cell in line] for line in lines]


SHOWN = [
    [RUN, "4", "0.873 (0.85–0.90)", "–", "–"],
    ["50%_{x}|y", "–", "0.873 (0.85–0.90)", "-0.123 (-0.15 to +0.02)", "0.00012"],
]


def test_markdown_has_the_cells_of_the_printed_table() -> None:
    head, rule, *rows = from_markdown(TABLE.to_markdown())
    assert head == list(TABLE.columns)
    assert rule == [":--", "--:", "--:", "--:", "--:"]
    assert rows == SHOWN


def test_latex_has_the_cells_of_the_printed_table_and_booktabs() -> None:
    text = TABLE.to_latex()
    head, *rows = from_latex(text)
    assert head == list(TABLE.columns)
    assert rows == SHOWN
    lines = text.splitlines()
    assert lines[:3] == ["% sst2 & co · test · 40 rows", "% differences are paired", r"\begin{tabular}{lrrrr}"]
    assert [line for line in lines if re.fullmatch(r"\\[a-z]+rule", line)] == [r"\toprule", r"\midrule", r"\bottomrule"]
    assert "$-$0.123 ($-$0.15 to $+$0.02)" in text


@given(st.text("&%$#_{}~^\\|<>ab", min_size=1))
def test_latex_has_no_unescaped_special_character(text: str) -> None:
    written = Table(title="", columns=("a",), rows=((text,),), names=1).to_latex().splitlines()[4]
    left = re.sub(r"\\text[a-z]+\{\}|\\[&%$#_{}]", "", written.removesuffix(r" \\"))
    assert re.fullmatch("[ab]*", left)


def test_a_notebook_shows_html() -> None:
    assert TABLE._repr_html_().count("<tr>") == 3


@pytest.mark.parametrize("names", [1, 6])
def test_many_columns_of_names_leave_room_for_figures(names: int) -> None:
    row = (*(RUN for _ in range(names)), ACCURACY)
    table = Table(title="t", columns=tuple(f"dimension{i}" for i in range(names + 1)), rows=(row,), names=names)
    assert text_width(str(table)) <= TERMINAL
    assert "0.85–0.90" in str(table)
