"""Tests of the counters that the worker threads of the http engine share."""

from __future__ import annotations

import re
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from promptkit.models.http.counts import ResponseCounts

THREADS = 8
CALLS = 25


class SlowCounter(Counter[str]):
    """A counter that yields to other threads between reading and writing a count, which loses unlocked updates."""

    def __getitem__(self, key: str) -> int:
        count: int = super().get(key, 0)
        time.sleep(1e-5)
        return count


def test_no_count_is_lost_between_threads() -> None:
    counts = ResponseCounts()
    counts._events, counts._outside_top = SlowCounter(), SlowCounter()

    def count() -> None:
        for call in range(CALLS):
            counts.add_outside_top("token")
            counts.add_reply(names_label=call % 5 > 0)
            counts.add_length_mismatch()

    with ThreadPoolExecutor(THREADS) as pool:
        for future in [pool.submit(count) for _ in range(THREADS)]:
            future.result()
    total = THREADS * CALLS
    assert dict(counts._outside_top) == {"token": total}
    assert dict(counts._events) == {"replies": total, "unlabeled replies": total // 5, "length mismatches": total}


def test_each_kind_of_event_has_a_note_with_its_count() -> None:
    counts = ResponseCounts()
    assert counts.notes(top=5) == []
    for token in "abacada":
        counts.add_outside_top(token)
    counts.add_reply(names_label=True)
    counts.add_reply(names_label=False)
    counts.add_length_mismatch()
    numbers = [[int(number) for number in re.findall(r"\d+", note)] for note in counts.notes(top=5)]
    assert numbers == [[7, 5, 4, 1, 1, 1], [2], [1], [1]]
