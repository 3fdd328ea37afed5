"""Self-consistency (Wang et al. 2022, 2203.11171): of the answers of several texts, the one that most of them give.

A text without an answer never wins, and stays in the denominator. Of answers that are given equally often, the one that was
given first wins. Answers are compared by their normal forms, None where a text holds none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from math import comb
from typing import ClassVar

from promptkit.align.extract.rules import Extraction, check_drawn
from promptkit.core.errors import InputError
from promptkit.core.registry import checked


@dataclass(frozen=True)
class Majority:
    """Behind an extraction: so many texts are drawn for each row, and the majority's answer is the row's."""

    samples: int = 8
    """How many texts of each row."""
    temperature: float = 0.7
    """At which they are drawn; above 0, as greedy texts are all the same."""
    name: ClassVar[str] = "majority"

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        checked(self)
        check_drawn(self.samples, self.temperature)

    def bind(self, extraction: Extraction) -> Extraction:
        """The extraction, from that many texts. Raises if it says itself how many it draws."""
        if (extraction.samples, extraction.temperature) != (1, 0.0):
            raise InputError(
                "The number of samples and the temperature are set by the vote, but the extraction sets them too",
                code="conflicting-options",
                got=f"{extraction.name}(samples={extraction.samples}, temperature={extraction.temperature})",
                hint="Leave both out of the extraction",
                aligner=extraction.name,
                options=("samples", "temperature"),
            )
        return replace(extraction, samples=self.samples, temperature=float(self.temperature))


def majority(forms: Sequence[str | None]) -> int | None:
    """The place of the winning answer, where it was given first; None if no text holds one."""
    counts = Counter(form for form in forms if form is not None)
    most = max(counts.values(), default=0)
    return next((place for place, form in enumerate(forms) if form is not None and counts[form] == most), None)


def vote_accuracy(forms: Sequence[str | None], right: Collection[str]) -> list[float]:
    """For k = 1 to n texts, the share of all their subsets of size k whose vote is one of the `right` forms.

    Counted, not drawn. A form wins with `count` texts, the first of them at `first`, where each other has fewer, or as many
    and all behind `first`: those subsets' sizes are the powers of x in
    C(later, count - 1) x^count (1 + x)^free prod_rivals (sum_{j < count} C(m, j) x^j + C(m behind first, count) x^count).
    """
    places = {form: [i for i, other in enumerate(forms) if other == form] for form in forms if form is not None}
    won = [0] * (len(forms) + 1)
    for form in places.keys() & set(right):
        own = places[form]
        for order, first in enumerate(own):
            later = len(own) - order - 1
            for count in range(1, later + 2):
                rivals = [other for other in places.values() if other is not own and len(other) >= count]
                free = len(forms) - len(own) - sum(map(len, rivals))
                ways = _times([comb(later, count - 1)], [comb(free, j) for j in range(free + 1)])
                for rival in rivals:
                    behind = sum(place > first for place in rival)
                    ways = _times(ways, [*(comb(len(rival), j) for j in range(count)), comb(behind, count)])
                for size, number in enumerate(ways, start=count):
                    won[size] += number
    return [won[k] / comb(len(forms), k) for k in range(1, len(forms) + 1)]


def _times(one: Sequence[int], other: Sequence[int]) -> list[int]:
    """The product of two polynomials by their coefficients, the lowest first."""
    product = [0] * (len(one) + len(other) - 1)
    for i, a in enumerate(one):
        for j, b in enumerate(other):
            product[i + j] += a * b
    return product
