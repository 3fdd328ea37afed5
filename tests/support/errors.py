"""Asserts the type, code and fields of a raised error, but not its wording."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from promptkit.core.errors import PromptkitError


@contextmanager
def refused(error: type[PromptkitError], code: str, **fields: object) -> Iterator[pytest.ExceptionInfo[PromptkitError]]:
    """Expects exactly that type of error with that code, and with at least these fields."""
    with pytest.raises(error) as raised:
        yield raised
    assert (type(raised.value), raised.value.code) == (error, code)
    assert {name: raised.value.fields.get(name) for name in fields} == fields
