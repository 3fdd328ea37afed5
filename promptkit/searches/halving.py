"""Successive halving: many candidates on few rows, the better half of them on more, to the best on all rows.

Jamieson and Talwalkar 2016 (1502.07943, algorithm 1), with rungs of about equal cost. The rows of a rung are among those of
the next, and every candidate of a rung is scored on the same ones. Knows nothing of what candidates are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

FEWEST = 8
"""Rows of the first rung, where there are so many."""
DECIMALS = 4
"""To which mean log-probabilities are compared; what is beyond them may come of how a model's batches fall."""
By = Literal["accuracy", "logprob"]


class CandidateScore(NamedTuple):
    """What a candidate came to over the rows of a rung."""

    accuracy: float
    """The share of rows whose answer is right."""
    logprob: float
    """The mean log-probability of the right answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """Candidates on the same rows."""

    rows: int
    standings: Mapping[str, CandidateScore]
    """The candidates, best first."""

    @property
    def best(self) -> str:
        """The first of them."""
        return next(iter(self.standings))


def halve(
    candidates: Sequence[str],
    rows: int,
    score: Callable[[Sequence[str], int], Sequence[CandidateScore]],
    *,
    by: By = "accuracy",
) -> list[Rung]:
    """The rungs; the best of the last one is what is found. `score` tells what candidates come to on the first n rows."""
    left, rungs = list(candidates), []
    for size in sizes(len(left), rows):
        scores = dict(zip(left, score(left, size), strict=True))
        left.sort(key=lambda text: place(text, scores[text], by))
        rungs.append(Rung(rows=size, standings={text: scores[text] for text in left}))
        left = left[: (len(left) + 1) // 2]
    return rungs


def sizes(candidates: int, rows: int) -> list[int]:
    """The rows of each rung: all on the last, on each before it half as many, until a halving for each is there."""
    halvings = max(1, (candidates - 1).bit_length())
    return sorted({min(rows, max(FEWEST, rows >> later)) for later in range(halvings)})


def place(text: str, score: CandidateScore, by: By) -> tuple[float, float, int, str]:
    """What candidates are sorted by: the score, then the other one, then the shorter, then the text itself."""
    figures = {"accuracy": -score.accuracy, "logprob": -round(score.logprob, DECIMALS)}
    first = figures.pop(by)
    (second,) = figures.values()
    return first, second, len(text), text
