"""Self-consistency: the majority vote over several sampled answers (Wang et al. 2022, 2203.11171).

Answers are compared by their normal forms. A text without an answer never wins but stays in the denominator. Ties go to the
answer that occurs first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import comb
from typing import ClassVar

from promptkit.align.extract.base import Extraction, check_sampling
from promptkit.core.arguments import check_arguments, checked
from promptkit.core.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Majority:
    """Samples several texts for each row and predicts their most frequent answer.

    It follows an extraction in a chain: `[pk.extract.final_number(), pk.vote.Majority(samples=8)]`.

    Raises:
        InputError: `samples` is less than 1, or the temperature would make all samples identical.
    """

    samples: int = 8
    """Texts sampled for each row."""
    temperature: float = 0.7
    """Sampling temperature; greater than 0, because greedy samples are identical."""
    name: ClassVar[str] = "majority"

    def __post_init__(self) -> None:
        """Checks the settings."""
        checked(self)
        check_sampling(self.samples, self.temperature)

    def bind(self, reader: object) -> Extraction:
        """Returns the extraction with the sampling settings of this vote.

        Args:
            reader: The aligner before the vote in a chain.

        Raises:
            InputError: The aligner is not an extraction, or it sets `samples` or `temperature` itself.
        """
        if not isinstance(reader, Extraction):
            raise InputError(
                "A vote needs an extraction before it, as it counts answers extracted from several texts",
                code="vote-without-extraction",
                got=f"{type(reader).__name__} before the vote",
                hint="Begin with an extraction, such as pk.extract.final_number",
                aligner=type(reader).__name__,
            )
        if (reader.samples, reader.temperature) != (1, 0.0):
            raise InputError(
                "The number of samples and the temperature are set by the vote, but the extraction sets them too",
                code="conflicting-options",
                got=f"{reader.name}(samples={reader.samples}, temperature={reader.temperature})",
                hint="Leave both out of the extraction",
                aligner=reader.name,
                options=("samples", "temperature"),
            )
        return replace(reader, samples=self.samples, temperature=float(self.temperature))


@check_arguments("vote.majority")
def majority(answers: Sequence[str | None]) -> int | None:
    """Returns the index of the winning answer.

    Args:
        answers: The normal form of each text's answer; None for a text without an answer.

    Returns:
        The index at which the most frequent answer occurs first, or None if no text has an answer.
    """
    counts = Counter(answer for answer in answers if answer is not None)
    highest = max(counts.values(), default=0)
    return next((index for index, answer in enumerate(answers) if answer is not None and counts[answer] == highest), None)


@check_arguments("vote.vote_accuracy")
def vote_accuracy(answers: Sequence[str | None], accepted: Sequence[str] | set[str] | frozenset[str]) -> list[float]:
    """Returns the accuracy of a vote over k of the texts, for every k from 1 to the number of texts.

    The accuracy at k is the share of all subsets of k texts for which the majority answer is accepted. It is computed exactly,
    without sampling subsets.

    Args:
        answers: The normal form of each text's answer; None for a text without an answer.
        accepted: The normal forms of the correct answers.
    """
    positions = {answer: [i for i, other in enumerate(answers) if other == answer] for answer in answers if answer is not None}
    wins = [0] * (len(answers) + 1)
    for answer in positions.keys() & set(accepted):
        for size, subsets in _winning_subsets(answer, positions, len(answers)):
            wins[size] += subsets
    return [wins[k] / comb(len(answers), k) for k in range(1, len(answers) + 1)]


def _winning_subsets(answer: str, positions: dict[str, list[int]], texts: int) -> list[tuple[int, int]]:
    """Returns pairs of a subset size and the number of subsets of that size in which the answer wins.

    The answer wins with `count` votes, the first of them at `first`, if every rival has fewer votes, or equally many that all
    occur after `first`. The number of such subsets of size k is the coefficient of x^k in

        C(later, count - 1) x^count (1 + x)^free prod_rivals (sum_{j < count} C(m, j) x^j + C(m after first, count) x^count)

    where m is the number of texts with the rival's answer, and `free` counts the texts that cannot change the result.
    """
    votes = positions[answer]
    others = [rival for name, rival in positions.items() if name != answer]
    sizes: list[tuple[int, int]] = []
    for order, first in enumerate(votes):
        later = len(votes) - order - 1
        for count in range(1, later + 2):
            rivals = [rival for rival in others if len(rival) >= count]
            free = texts - len(votes) - sum(map(len, rivals))
            subsets = _multiply([comb(later, count - 1)], [comb(free, j) for j in range(free + 1)])
            for rival in rivals:
                after_first = sum(position > first for position in rival)
                subsets = _multiply(subsets, [*(comb(len(rival), j) for j in range(count)), comb(after_first, count)])
            sizes += enumerate(subsets, start=count)
    return sizes


def _multiply(first: Sequence[int], second: Sequence[int]) -> list[int]:
    """Returns the product of two polynomials, given by their coefficients in ascending order."""
    product = [0] * (len(first) + len(second) - 1)
    for i, a in enumerate(first):
        for j, b in enumerate(second):
            product[i + j] += a * b
    return product
