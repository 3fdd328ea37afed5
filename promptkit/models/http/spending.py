"""Counts the requests and tokens that one command sends to a server, within its budget."""

from __future__ import annotations

import threading
from typing import Protocol

from promptkit.core.errors import ServerError


class Budget(Protocol):
    """The settings that limit the requests and tokens of one command; None is no limit."""

    @property
    def max_requests(self) -> int | None:
        """Maximum number of requests."""

    @property
    def max_tokens_total(self) -> int | None:
        """Maximum number of tokens, read and written."""


class Spending:
    """The requests and tokens of one command so far, across its connections; thread-safe."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._lock = threading.Lock()
        self._requests = self._prompt_tokens = self._completion_tokens = 0

    def add_request(self) -> None:
        """Counts a request before it is sent.

        Raises:
            ServerError: The budget is spent.
        """
        with self._lock:
            self._check_budget()
            self._requests += 1

    def add_tokens(self, usage: object) -> None:
        """Counts the tokens that a response states in its field `usage`, if it does."""
        if isinstance(usage, dict):
            with self._lock:
                self._prompt_tokens += _count(usage.get("prompt_tokens"))
                self._completion_tokens += _count(usage.get("completion_tokens"))

    def usage(self) -> str:
        """Returns the number of requests and tokens so far, for a note."""
        return (
            f"{self._requests} requests to the server, {self._prompt_tokens} tokens read and {self._completion_tokens} written"
        )

    def _check_budget(self) -> None:
        tokens = self._prompt_tokens + self._completion_tokens
        for name, limit, spent in (
            ("max_requests", self._budget.max_requests, self._requests),
            ("max_tokens_total", self._budget.max_tokens_total, tokens),
        ):
            if limit is not None and spent >= limit:
                raise ServerError(
                    f"The budget is used up: {self.usage()}",
                    code="budget-spent",
                    got=f"{name}={limit}",
                    hint="Completed responses are kept: the same command continues, with the same budget again or a larger one",
                    setting=name,
                    limit=limit,
                    spent=spent,
                )


def _count(number: object) -> int:
    """Returns a number of tokens in a response; 0 if it is not a number."""
    return number if isinstance(number, int) else 0
