"""How often alignments are fitted while a race goes on."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from promptkit.tuning.contest import fitted_rows


@given(st.integers(1, 1000), st.integers(1, 40))
def test_alignments_are_fitted_on_more_than_half_of_the_rows_and_rarely(rows: int, block: int) -> None:
    counts = [min(rows, block * number) for number in range(1, -(-rows // block) + 1)]
    fitted = [fitted_rows(count, rows, block) for count in counts]
    assert fitted[-1] == rows
    assert all(count / 2 < first <= count for count, first in zip(counts, fitted, strict=True))
    assert len({*fitted}) <= (rows // block).bit_length() + 1
