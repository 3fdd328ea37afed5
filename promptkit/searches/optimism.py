"""What the best instruction of a search scores on new rows, estimated from the dev rows that it was chosen by.

Successive halving is repeated on bootstrap resamples of the dev rows, from the answers that the search recorded, and the
instruction that each resample chooses is scored on the rows that were not drawn (`promptkit.metrics.selection`). A rung has
the drawn rows of those that it scored. An instruction that the search dropped after a rung has no answers on later rows: it is
dropped there in every resample. As the instructions that are left were chosen by some of the rows that they are scored on, the
estimate is still too good: in simulations of 16 or 32 equally good instructions, by about half as much as the score itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from promptkit.metrics.base import Metric
from promptkit.metrics.intervals import Statistic, resamples
from promptkit.metrics.selection import Corrected, corrected_statistic
from promptkit.searches.halving import DECIMALS, By, Rung

if TYPE_CHECKING:
    from promptkit.core.arrays import Bools, Floats, Integers

METRIC_DECIMALS = 12
"""Decimals to which the metric is rounded before comparison, so that instructions are tied that differ by rounding only."""


class Answers(Protocol):
    """The answers that a search recorded."""

    @property
    def metric(self) -> Metric:
        """The main metric."""
        ...

    def statistic(self, instruction: str, count: int) -> Statistic:
        """Returns the main metric of an instruction on the first `count` rows, as a statistic of resampled rows."""
        ...

    def logprobs(self, instruction: str, count: int) -> Floats:
        """Returns the log-probability of the correct answer of each row, NaN for rows without one, shape (count,)."""
        ...


def corrected_metric(rungs: Sequence[Rung], answers: Answers, by: By) -> Corrected:
    """Returns the main metric of the best instruction on the dev rows, and its estimate on new rows.

    Args:
        rungs: The rungs of the search.
        answers: The answers to the rows of the rungs.
        by: The score that the search chose by.
    """
    last, metric = rungs[-1], answers.metric
    weights = resamples(last.rows)
    kept = np.ones((len(weights), len(rungs[0].standings)), bool)
    for rung, later in zip(rungs, (*rungs[1:], None), strict=True):
        ranks = _ranks(rung, answers, by, _drawn(weights, rung.rows), kept)
        if later:
            kept = _kept(ranks, [*rung.standings], [*later.standings])
    statistics = [answers.statistic(text, last.rows) for text in last.standings]
    return corrected_statistic(statistics, ranks.argmin(1), last.rows, is_share=metric.interval == "wilson")


def _drawn(weights: Floats, rows: int) -> Floats:
    """Returns how often each resample draws each of the first rows, relative to their number, shape (B, rows).

    A resample that draws none of them has all of them once.
    """
    drawn = weights[:, :rows]
    total = drawn.sum(1, keepdims=True)
    return np.where(total > 0, drawn * (rows / np.maximum(total, 1)), 1.0)


def _ranks(rung: Rung, answers: Answers, by: By, weights: Floats, kept: Bools) -> Integers:
    """Returns the rank of each instruction of a rung in each resample, 0 for the best one, shape (B, C).

    Instructions are compared as by `promptkit.searches.halving.sort_key`. Those that were dropped come last.
    """
    texts = [*rung.standings]
    sign = -1 if answers.metric.higher_is_better else 1
    metric = np.array([sign * answers.statistic(text, rung.rows)(weights) for text in texts]).T
    logprobs = np.array([answers.logprobs(text, rung.rows) for text in texts])
    answered = weights @ (~np.isnan(logprobs)).T
    mean = weights @ np.nan_to_num(logprobs).T / np.where(answered > 0, answered, 1)
    values = {
        "metric": (np.round(metric, METRIC_DECIMALS),),
        "logprob": (np.round(-answered, METRIC_DECIMALS), -np.round(mean, DECIMALS)),
    }
    first = values.pop(by)
    (second,) = values.values()
    of_texts = np.argsort(sorted(range(len(texts)), key=lambda place: (len(texts[place]), texts[place])))
    keys = (~kept, *first, *second, np.broadcast_to(of_texts, kept.shape))
    ranks: Integers = np.lexsort(keys[::-1], axis=1).argsort(1)
    return ranks


def _kept(ranks: Integers, texts: Sequence[str], later: Sequence[str]) -> Bools:
    """Returns which instructions of the next rung each resample keeps, shape (B, number of them).

    They are the better half. If the search dropped all of them, the resample continues with the candidates that the search
    kept.
    """
    kept = (ranks < len(later))[:, [texts.index(text) for text in later]]
    return kept | ~kept.any(1, keepdims=True)
