"""Names in tables are broken at their keywords, so that they stay readable in a narrow column."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.display.text_table import NAME_WIDTH, one_keyword_per_line, with_interval

WORDS = st.text("abcdefghijk-", min_size=1, max_size=NAME_WIDTH - 2)


@given(WORDS, st.dictionaries(WORDS, WORDS))
def test_a_stacked_name_keeps_every_keyword_in_lines_of_the_column(name: str, keywords: dict[str, str]) -> None:
    spelling = ":".join([name, *(f"{key[:12]}={value}" for key, value in keywords.items())])
    lines = one_keyword_per_line(spelling).split("\n")
    assert "".join(line.strip() for line in lines) == spelling.replace(":", "")
    assert all(len(line) <= NAME_WIDTH for line in lines)


@given(st.floats(-5, 5), st.floats(0, 2))
def test_intervals_have_no_negative_zero_and_no_dash_before_a_minus(value: float, width: float) -> None:
    text = with_interval({"value": value, "low": value - width, "high": value + width})
    assert "-0.000" not in text
    assert "–-" not in text
    figure, low, high = text.replace(" to ", " ").replace("–", " ").split()
    assert [float(each) for each in (figure, low, high)] == pytest.approx([value, value - width, value + width], abs=0.0051)
    assert "-0.00" not in (low, high)
