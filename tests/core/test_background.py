"""What is computed in a background thread, and properties that several threads read."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import pytest

from promptkit.core.background import in_background, is_computing
from promptkit.core.locked_property import locked_property

SECONDS = 30


def test_a_value_is_computed_in_a_thread_that_ends() -> None:
    release = Event()
    future = in_background(lambda: release.wait(SECONDS))
    assert is_computing()
    release.set()
    assert future.result(SECONDS)
    for thread in threading.enumerate():
        if thread.name.startswith("promptkit-background"):
            thread.join(SECONDS)
    assert not is_computing()


def test_an_error_is_raised_where_the_value_is_needed() -> None:
    def fail() -> None:
        raise LookupError("no value")

    future = in_background(fail)
    with pytest.raises(LookupError, match="no value"):
        future.result(SECONDS)


class Loaded:
    """Counts how often its property is computed."""

    computed = 0

    @locked_property
    def value(self) -> int:
        Loaded.computed += 1
        release.wait(0.05)
        return 7


release = Event()


def test_a_locked_property_is_computed_once() -> None:
    Loaded.computed, shared, together = 0, Loaded(), Barrier(8)

    def read(number: int) -> int:
        together.wait(SECONDS)
        return shared.value

    with ThreadPoolExecutor(8) as threads:
        assert [*threads.map(read, range(8))] == [7] * 8
    assert Loaded.computed == 1
    assert isinstance(Loaded.value, locked_property)
