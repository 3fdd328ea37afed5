"""The text around a template's variables, by which a row's inputs are found again in a text that a model writes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """A block's literal text, and the variables that stand between its parts as they are."""

    literals: tuple[str, ...]
    """One more than there are places for variables."""
    variables: tuple[str, ...]
    """One for each place, in order; one may have several."""

    @classmethod
    def from_renderer(cls, render: Callable[[Mapping[str, str]], str], variables: Iterable[str]) -> Outline:
        """Of a block that is rendered from these variables: they are given marks, which are looked for."""
        marks = {name: f"PROMPTKIT-slot-{number:04d}-" for number, name in enumerate(variables)}
        name_of = {mark: name for name, mark in marks.items()}
        parts = re.split("(" + "|".join(marks.values()) + ")", render(marks)) if marks else [render(marks)]
        return cls(literals=tuple(parts[::2]), variables=tuple(name_of[mark] for mark in parts[1::2]))

    @property
    def opening(self) -> str:
        """What a block begins with, up to the space before its first variable: the words of models begin with theirs."""
        return self.literals[0].rstrip(" \t")

    def read(self, text: str) -> dict[str, str] | None:
        """The variables of the block with which a text begins, without surrounding white space; None if it does not."""
        pattern = re.escape(self.literals[0])
        for name, literal in zip(self.variables, self.literals[1:], strict=True):
            group = f"(?P={name})" if f"(?P<{name}>" in pattern else f"(?P<{name}>.+?)"
            pattern += group + re.escape(literal)
        if not self.literals[-1].strip():
            pattern += r"(?=\n|\Z)"
        found = re.match(pattern, text, re.DOTALL)
        values = {name: value.strip() for name, value in found.groupdict().items()} if found else {}
        return values if values and all(values.values()) else None
