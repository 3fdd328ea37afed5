"""When a failed request is sent again: after broken connections, timeouts, and temporary failures of the server."""

from __future__ import annotations

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from random import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openai import APIError

FIRST_WAIT = 0.5
"""Seconds before the second attempt; each further wait is twice as long."""
MAX_WAIT = 8.0
"""The longest wait in seconds, unless the server asks for a longer one."""
MAX_REQUESTED_WAIT = 120.0
"""The longest wait in seconds that a server can ask for; if it asks for more, the request fails."""
TEMPORARY_STATUS = frozenset({408, 409, 429})
"""The client errors that are temporary; every status from 500 is temporary too."""


def wait_seconds(error: APIError, attempt: int) -> float | None:
    """Returns the seconds to wait before a request is sent again, or None if that cannot help.

    Args:
        error: The error of the last attempt.
        attempt: The number of the last attempt, from 1.
    """
    import openai

    if isinstance(error, openai.APIStatusError):
        headers = error.response.headers
        should_retry = {"true": True, "false": False}.get(headers.get("x-should-retry", ""))
        if should_retry is None:
            should_retry = error.status_code in TEMPORARY_STATUS or error.status_code >= 500
        if not should_retry:
            return None
        requested = _requested_wait(headers)
        if requested is not None and requested > 0:
            return requested if requested <= MAX_REQUESTED_WAIT else None
    backoff = min(FIRST_WAIT * 2.0 ** min(attempt - 1, 10), MAX_WAIT)
    return backoff * (1 - 0.25 * random())


def _requested_wait(headers: Mapping[str, str]) -> float | None:
    """The seconds that a Retry-After header asks for, as a number or as a date; None without a valid header."""
    value = headers.get("retry-after", "")
    try:
        return float(value)
    except ValueError:
        pass
    try:
        return parsedate_to_datetime(value).timestamp() - time.time()
    except ValueError:
        return None


def is_unconnected(error: APIError) -> bool:
    """Returns whether no connection was established, so that the server has not received the request."""
    # by name, because the classes are those of httpx or httpx2, depending on the version of openai
    return type(error.__cause__).__name__ in ("ConnectError", "ConnectTimeout")
