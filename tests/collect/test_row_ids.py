"""The ids of records in a run's files."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.collect.read_records import input_read_id, parsed_row_read, row_read_id
from promptkit.needs.content_free import RandomWords, content_free_id
from promptkit.needs.fit_rows import fit_id, fit_row_of
from promptkit.needs.premise import premise_id


@given(row=st.text(), number=st.integers(0, 99))
def test_ids_are_parsed_as_they_were_written(row: str, number: int) -> None:
    assert fit_row_of(fit_id(row)) == row
    assert parsed_row_read(row_read_id(number, row)) == (number, row)


def test_records_of_another_kind_are_not_parsed() -> None:
    others = [premise_id(), premise_id("a"), content_free_id("fit", ""), input_read_id("fit", "a")]
    assert [fit_row_of(record_id) for record_id in others] == [None] * 4


@pytest.mark.parametrize("content", ["N/A", "", RandomWords(0, 1)])
def test_content_free_inputs_have_one_id_for_each_context(content: str | RandomWords) -> None:
    one, other = (content_free_id(content, context) for context in ("a", "a b"))
    assert one != other
    assert one == content_free_id(content, "a")
