"""Counts inexact responses of a server, across the worker threads of the engine."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence

MIN_TRUNCATED = 256
"""The shortest context length, in tokens, at which prompts are expected to be truncated."""
SHOWN_TOKENS = 5
"""Maximum number of tokens in a note."""


class ResponseCounts:
    """Thread-safe counters of the responses that make a run's numbers less exact."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: Counter[str] = Counter()
        self._outside_top: Counter[str] = Counter()
        self._changes: Counter[str] = Counter()
        self._models: Counter[str] = Counter()
        self._longest: tuple[int, list[int]] = (0, [])
        """The greatest number of tokens of a prompt, and the lengths of the prompts with that number."""

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

    def add_withheld(self, withheld: bool) -> None:
        """Counts a chat reply that was refused by the model or removed by a filter of the server, if it was."""
        if withheld:
            with self._lock:
                self._events["withheld replies"] += 1

    def add_unconstrained(self) -> None:
        """Counts a chat reply that the server refused to restrict to the labels."""
        with self._lock:
            self._events["unconstrained replies"] += 1

    def add_changes(self, changes: Sequence[str]) -> None:
        """Counts a request that was changed to the form that the server accepts.

        Args:
            changes: What was changed, as `RequestForm.changes` describes it.
        """
        if changes:
            with self._lock:
                self._changes.update(changes)

    def add_model(self, name: str) -> None:
        """Counts a response of the model with this name."""
        with self._lock:
            self._models[name] += 1

    def add_prompt(self, length: int, tokens: int | None) -> None:
        """Records a prompt.

        Args:
            length: Its length in characters, or in tokens if it was sent as token ids.
            tokens: The number of tokens that the server read; None if it did not return the number.
        """
        if tokens is None:
            return
        with self._lock:
            if tokens > self._longest[0]:
                self._longest = (tokens, [])
            if tokens == self._longest[0]:
                self._longest[1].append(length)

    def notes(self, *, top: int, constraint: str = "", model: str = "") -> Sequence[str]:
        """Returns one note for each kind of response that was counted.

        Args:
            top: The number of most likely tokens that the server returns.
            constraint: The field of a request that restricts a chat reply to the labels; empty if there is none.
            model: The name of the requested model.
        """
        with self._lock:
            events, outside_top, changes = self._events.copy(), self._outside_top.copy(), self._changes.copy()
            models, (longest, lengths) = self._models.copy(), self._longest
        notes = []
        if outside_top:
            tokens = ", ".join(f"{name!r} ({count})" for name, count in outside_top.most_common(SHOWN_TOKENS))
            notes.append(
                f"{outside_top.total()} log-probabilities of label tokens fell outside the server's top {top} "
                f"and are at most what is recorded: {tokens}"
            )
        if replies := events["replies"]:
            restricted = f", restricted to the labels by {constraint}" if constraint else ""
            notes.append(
                f"the server gives no log-probabilities: {replies} labels were read from its replies{restricted}, so ECE, "
                "Brier score and calibrations are not meaningful"
            )
        if unlabeled := events["unlabeled replies"]:
            notes.append(f"{unlabeled} replies named no label, which is no answer")
        if mismatches := events["length mismatches"]:
            notes.append(f"{mismatches} prompts were read by the server as a different number of tokens than expected")
        if withheld := events["withheld replies"]:
            notes.append(f"{withheld} replies are refusals of the model or were removed by a filter of the server")
        if unconstrained := events["unconstrained replies"]:
            notes.append(f"{unconstrained} replies could not be restricted to the labels, because the server refused that")
        if longest >= MIN_TRUNCATED and max(lengths) > 1.2 * min(lengths):
            notes.append(
                f"{len(lengths)} prompts of different lengths were read by the server as exactly {longest} tokens: it has "
                "probably truncated them to its context length, so increase that (num_ctx of Ollama)"
            )
        if len(models) > 1 or any(model.lower() not in name.lower() for name in models):
            served = ", ".join(f"{name} ({count})" for name, count in models.most_common())
            notes.append(f"the model {model} was requested, and the responses are from: {served}")
        notes += [f"{change} ({count} requests)" for change, count in sorted(changes.items())]
        return notes
