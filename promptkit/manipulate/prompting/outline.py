"""The literal text around a template's variables, used to parse the rows that a model generates."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """The literal texts of a template block, and the variables between them."""

    literals: tuple[str, ...]
    """The texts before, between and after the variables: one more than there are variables."""
    variables: tuple[str, ...]
    """The variables in order of occurrence; a variable may occur several times."""

    @classmethod
    def from_renderer(cls, render: Callable[[Mapping[str, str]], str], variables: Iterable[str]) -> Outline:
        """Builds the outline of a block by rendering it with marks as the values of its variables.

        Args:
            render: Renders the block with these values.
            variables: Names of the block's variables.
        """
        marks = {name: f"PROMPTKIT-slot-{number:04d}-" for number, name in enumerate(variables)}
        name_of = {mark: name for name, mark in marks.items()}
        parts = re.split("(" + "|".join(marks.values()) + ")", render(marks)) if marks else [render(marks)]
        return cls(literals=tuple(parts[::2]), variables=tuple(name_of[mark] for mark in parts[1::2]))

    @property
    def opening(self) -> str:
        """The start of the block up to the space before its first variable, because models generate words with that space."""
        return self.literals[0].rstrip(" \t")

    def read(self, text: str) -> dict[str, str] | None:
        """Parses the block at the start of a text.

        Args:
            text: A generated text that starts with the block.

        Returns:
            The value of each variable without surrounding white space, or None if the text does not match or a value is empty.
        """
        pattern = re.escape(self.literals[0])
        for name, literal in zip(self.variables, self.literals[1:], strict=True):
            group = f"(?P={name})" if f"(?P<{name}>" in pattern else f"(?P<{name}>.+?)"
            pattern += group + re.escape(literal)
        if not self.literals[-1].strip():
            pattern += r"(?=\n|\Z)"
        match = re.match(pattern, text, re.DOTALL)
        values = {name: value.strip() for name, value in match.groupdict().items()} if match else {}
        return values if values and all(values.values()) else None
