"""The ids of records in a run's files."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.core.alignment import RandomWords
from promptkit.runs.row_ids import ContentFreeRow, FitRow, Premise, ReadRow, TextRow


@given(row=st.text(), number=st.integers(0, 99))
def test_ids_are_parsed_as_they_were_written(row: str, number: int) -> None:
    assert FitRow.parse(str(FitRow(row=row))) == FitRow(row=row)
    assert TextRow.parse(str(TextRow(text=row))) == TextRow(text=row)
    assert ReadRow.parse(str(ReadRow(number=number, record=row))) == ReadRow(number=number, record=row)


def test_records_of_another_kind_are_not_parsed() -> None:
    others = [str(Premise()), str(Premise(row="a")), str(ContentFreeRow(content="fit", context=""))]
    assert [FitRow.parse(record_id) for record_id in others] == [None] * 3
    assert TextRow.parse(str(ReadRow(number=0, record="text"))) is None


@pytest.mark.parametrize("content", ["N/A", "", RandomWords(0, 1)])
def test_content_free_inputs_have_one_id_for_each_context(content: str | RandomWords) -> None:
    one, other = (str(ContentFreeRow(content=content, context=context)) for context in ("a", "a b"))
    assert one != other
    assert one == str(ContentFreeRow(content=content, context="a"))
