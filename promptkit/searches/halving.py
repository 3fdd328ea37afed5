"""Successive halving: many candidates are scored on few rows, the better half on more rows, and so on up to all rows.

Algorithm 1 of Jamieson and Talwalkar 2016 (arXiv 1502.07943), with rungs of about equal cost. The next rung has
the same rows and further ones, and all candidates of a rung are scored on the same rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

FEWEST = 8
"""Minimum number of rows of the first rung, if there are that many."""
DECIMALS = 4
"""Decimals to which mean log-probabilities are rounded before comparison; results of different batches differ by less."""
By = Literal["metric", "logprob"]
"""What candidates are ranked by: the main metric or the log-probability; the other one breaks ties."""


class CandidateScore(NamedTuple):
    """The scores of a candidate on the rows of a rung."""

    metric: float
    """The main metric, such as the accuracy."""
    logprob: float
    """Mean log-probability of the correct answer over the rows that have an answer, in nats; 0 if none has."""
    skipped: int = 0
    """Number of rows that are skipped because their prompts are too long. They count as wrong."""
    no_answer: int = 0
    """Number of rows that are scored by the model's reply, which names no label. They count as wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """The scores of several candidates on the same rows."""

    rows: int
    """Number of rows."""
    standings: Mapping[str, CandidateScore]
    """Candidate -> score, best first."""

    @property
    def best(self) -> str:
        """The best candidate."""
        return next(iter(self.standings))


def halve(
    candidates: Sequence[str],
    rows: int,
    score: Callable[[Sequence[str], int], Sequence[CandidateScore]],
    *,
    by: By = "metric",
    higher_is_better: bool = True,
) -> list[Rung]:
    """Runs successive halving.

    Args:
        candidates: The candidates of the first rung, at least one.
        rows: Number of rows of the last rung.
        score: Scores candidates on the first n rows.
        by: The score to rank by.
        higher_is_better: Whether a higher value of the metric is better.

    Returns:
        The rungs in order. The result is the best candidate of the last one.
    """
    remaining, rungs = list(candidates), []
    for size in sizes(len(remaining), rows):
        scores = dict(zip(remaining, score(remaining, size), strict=True))
        remaining.sort(key=lambda text: sort_key(text, scores[text], by, higher_is_better=higher_is_better))
        rungs.append(Rung(rows=size, standings={text: scores[text] for text in remaining}))
        remaining = remaining[: (len(remaining) + 1) // 2]
    return rungs


def sizes(candidates: int, rows: int) -> list[int]:
    """Returns the number of rows of each rung: all in the last, half as many in each one before, one rung per halving."""
    halvings = max(1, (candidates - 1).bit_length())
    return sorted({min(rows, max(FEWEST, rows >> later)) for later in range(halvings)})


def sort_key(text: str, score: CandidateScore, by: By, *, higher_is_better: bool = True) -> tuple[float | str, ...]:
    """Returns the key that sorts candidates, best first: the score, the other score, the length, the text.

    Means of log-probabilities over fewer rows are not comparable: by `logprob`, fewer rows without an answer come first.
    """
    metric = -score.metric if higher_is_better else score.metric
    values = {"metric": (metric,), "logprob": (score.skipped + score.no_answer, -round(score.logprob, DECIMALS))}
    first = values.pop(by)
    (second,) = values.values()
    return *first, *second, len(text), text
