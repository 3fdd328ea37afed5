"""Counts the votes among several answers of a row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import comb

from promptkit.core.arguments import check_arguments


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
