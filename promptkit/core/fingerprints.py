"""Identifies rows by their content, so that a row is recognized in another file, task or format."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from promptkit.core.hashing import sha256_hex, short_hash
from promptkit.core.values import Value, value_identity

BITS = 52
"""Bits of a hash that a fraction is computed from; a float holds all of them exactly."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The hashes of the values of a row, without the names of variables and columns.

    Two rows count as the same if everything that one of them shows to a model is in the other, so that another template or
    other columns do not hide that a row was seen before.
    """

    shown: frozenset[str]
    """The hashes of the values that the task's template shows."""
    other: frozenset[str] = frozenset()
    """The hashes of the row's further columns, without its label, answer choices and reasoning."""

    @classmethod
    def of(cls, shown: Iterable[Value], other: Iterable[Value] = ()) -> Fingerprint:
        """Returns the fingerprint of values. Empty texts count only if there is nothing else."""
        values = {*shown}
        hashes = frozenset(map(hash_value, values - {""} or values))
        return cls(hashes, frozenset(hash_value(value) for value in other if value != "") - hashes)

    @classmethod
    def parse(cls, text: str) -> Fingerprint:
        """Returns the fingerprint from its text, as returned by `str`."""
        shown, _, other = text.partition("|")
        return cls(frozenset(filter(None, shown.split("+"))), frozenset(filter(None, other.split("+"))))

    def __str__(self) -> str:
        shown, other = ("+".join(sorted(hashes)) for hashes in (self.shown, self.other))
        return f"{shown}|{other}" if other else shown

    @property
    def all(self) -> frozenset[str]:
        """The hashes of all values."""
        return self.shown | self.other

    def is_same_row(self, other: Fingerprint) -> bool:
        """Returns whether everything that one of the rows shows is in the other."""
        return self.shown <= other.all or other.shown <= self.all

    def digest(self, choices: Sequence[str] = ()) -> str:
        """Returns a hash of what the row shows and of its answer choices."""
        return short_hash(json.dumps([sorted(self.shown), *choices], ensure_ascii=False))

    def fraction(self, purpose: str) -> float:
        """Returns a hash of what the row shows as a number in [0, 1).

        Args:
            purpose: What the number is used for. The numbers of different purposes are independent.
        """
        return int(sha256_hex("\n".join([purpose, *sorted(self.shown)]))[: BITS // 4], 16) / (1 << BITS)


def hash_value(value: Value) -> str:
    """Returns a hash of a text, an array or the content of a file."""
    return short_hash(json.dumps(value_identity(value), sort_keys=True, ensure_ascii=False))


class SeenRows:
    """A set of rows, whose members are recognized by `Fingerprint.is_same_row`.

    Args:
        fingerprints: The rows.
    """

    def __init__(self, fingerprints: Iterable[Fingerprint]) -> None:
        self._rows = [*dict.fromkeys(fingerprints)]
        self._containing: dict[str, list[Fingerprint]] = defaultdict(list)
        """Value -> the rows that contain it."""
        for row in self._rows:
            for value in row.all:
                self._containing[value].append(row)
        self._showing: dict[str, list[Fingerprint]] = defaultdict(list)
        """Value -> the rows whose rarest shown value it is."""
        for row in self._rows:
            self._showing[self._rarest(row)].append(row)

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, row: Fingerprint) -> bool:
        """Whether one of the rows is the same as another one."""
        if any(row.shown <= seen.all for seen in self._containing.get(self._rarest(row), ())):
            return True
        return any(seen.shown <= row.all for value in row.all for seen in self._showing.get(value, ()))

    def _rarest(self, row: Fingerprint) -> str:
        """The value shown that the fewest rows contain."""
        return min(sorted(row.shown), key=lambda value: len(self._containing.get(value, ())))
