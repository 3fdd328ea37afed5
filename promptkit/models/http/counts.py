"""Counts what a server did not answer exactly, across the worker threads of the engine."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence

SHOWN_TOKENS = 5
"""Maximum number of tokens in a note."""


class ResponseCounts:
    """Thread-safe counters of the responses that make a run's numbers less exact."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: Counter[str] = Counter()
        self._outside_top: Counter[str] = Counter()

    def add_outside_top(self, token: str) -> None:
        """Counts a label token whose log-probability the server did not return."""
        with self._lock:
            self._outside_top[token] += 1

    def add_reply(self, *, names_label: bool) -> None:
        """Counts a chat reply that was read for a label, and whether it names one."""
        with self._lock:
            self._events["replies"] += 1
            if not names_label:
                self._events["unlabeled replies"] += 1

    def add_length_mismatch(self) -> None:
        """Counts a prompt that the server read as a different number of tokens than was sent."""
        with self._lock:
            self._events["length mismatches"] += 1

    def notes(self, *, top: int) -> Sequence[str]:
        """Returns one note for each kind of response that was counted.

        Args:
            top: The number of most likely tokens that the server returns.
        """
        with self._lock:
            events, outside_top = self._events.copy(), self._outside_top.copy()
        notes = []
        if outside_top:
            tokens = ", ".join(f"{name!r} ({count})" for name, count in outside_top.most_common(SHOWN_TOKENS))
            notes.append(
                f"{outside_top.total()} log-probabilities of label tokens fell outside the server's top {top} "
                f"and are at most what is recorded: {tokens}"
            )
        if replies := events["replies"]:
            notes.append(
                f"the server gives no log-probabilities: {replies} labels were read from its replies, so ECE, Brier score "
                "and calibrations are not meaningful"
            )
        if unlabeled := events["unlabeled replies"]:
            notes.append(f"{unlabeled} replies named no label: all labels score the same, and the first one is predicted")
        if mismatches := events["length mismatches"]:
            notes.append(f"{mismatches} prompts were read by the server as a different number of tokens than expected")
        return notes
