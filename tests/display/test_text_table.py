"""Names in tables are broken at their keywords, so that they stay readable in a narrow column."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from promptkit.display.text_table import NAME_WIDTH, one_keyword_per_line

WORDS = st.text("abcdefghijk-", min_size=1, max_size=NAME_WIDTH - 2)


@given(WORDS, st.dictionaries(WORDS, WORDS))
def test_a_stacked_name_keeps_every_keyword_in_lines_of_the_column(name: str, keywords: dict[str, str]) -> None:
    spelling = ":".join([name, *(f"{key[:12]}={value}" for key, value in keywords.items())])
    lines = one_keyword_per_line(spelling).split("\n")
    assert "".join(line.strip() for line in lines) == spelling.replace(":", "")
    assert all(len(line) <= NAME_WIDTH for line in lines)
