"""The rules by which candidates are compared, dropped and chosen, for many resamples of the rows at once.

The race applies them to the rows as they are: one resample, in which each row is drawn once. The estimate applies the same
rules to each bootstrap resample. A candidate is compared with the leader row by row, over the n rows of a resample:

- Right and wrong answers, w rows that only the candidate has right and l rows that only the leader has right: the exact sign
  test, p = 2 P(X <= min(w, l)) with X ~ Binomial(w + l, 1/2) (McNemar 1947), and the interval of Agresti and Min (2005,
  Statistics in Medicine 24) for the difference of paired shares, d +- z sqrt(w + l + 1 - (l - w)^2 / (n + 2)) / (n + 2) with d
  = (l - w) / (n + 2), which has a width even if no row differs.
- Other values: Student's paired t test, and its interval d +- t s / sqrt(n), with n - 1 degrees of freedom.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from promptkit.core.arrays import Bools, Floats, Integers

DECIMALS = 12
"""Decimals to which scores are rounded before they are compared, so that equal candidates are equal in any order of sums."""
ROUNDING = 1e-9
"""The relative size up to which a standard error is 0."""
BASELINE = -1
"""The prompt of a baseline."""


class Standings(NamedTuple):
    """The comparison of C candidates with the leader in B resamples of the rows."""

    score: Floats
    """The mean over rows, shape (B, C); -inf for a candidate that is not left or has no scores."""
    leader: Integers
    """The candidate with the best score, shape (B,)."""
    p: Floats
    """The two-sided p-value of the difference from the leader, shape (B, C)."""
    gap: Floats
    """By how much the leader is better at most: the upper bound of the interval of the difference, shape (B, C)."""


class Comparison(NamedTuple):
    """A test of the difference from the leader and the upper bound of its interval, each of shape (B, C)."""

    p: Floats
    gap: Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rules:
    """Compares, drops and chooses candidates."""

    prompts: Integers
    """The prompt of each candidate, shape (C,); `BASELINE` for a baseline."""
    tokens: Floats
    """The number of tokens of each candidate's requests, shape (C,)."""
    alpha: float
    """The level of the tests; intervals have the level 1 - alpha."""
    tolerance: float
    """The difference in score up to which candidates are equivalent."""

    def standings(self, values: Floats, weights: Floats, left: Bools) -> Standings:
        """Compares the candidates that are left with the best one.

        Args:
            values: The value of each row, higher is better, shape (C, N); NaN in all rows of a candidate without scores.
            weights: How often each resample draws each row, shape (B, N).
            left: Whether a candidate is left in a resample, shape (B, C).
        """
        count = weights.sum(1)
        means = np.round(weights @ np.nan_to_num(values).T / np.maximum(count, 1)[:, None], DECIMALS)
        score = np.where(left & ~np.isnan(values[:, 0]), means, -np.inf)
        leader = _first(score == score.max(1, keepdims=True), np.broadcast_to(self.tokens, score.shape))
        return Standings(score, leader, *compare(values, weights, leader, self.alpha))

    def remaining(self, standings: Standings, left: Bools) -> Bools:
        """Returns which candidates remain after the tests, shape (B, C).

        A prompt is dropped if each of its candidates is significantly worse than the leader. If all candidates that are not
        are equivalent to the leader, only the prompt with the fewest tokens remains. Baselines always remain, and so do all
        candidates of a prompt that remains: they cost no request.
        """
        scored = np.isfinite(standings.score)
        contenders = scored & ~self.behind(standings)
        decided = ~(contenders & (standings.gap > self.tolerance)).any(1, keepdims=True)
        only = np.arange(len(self.prompts)) == self.cheapest(standings)[:, None]
        untested = ~self._share_prompt(scored) & ~decided
        remaining: Bools = self._share_prompt(np.where(decided, only, contenders)) | untested | (self.prompts == BASELINE)
        return left & remaining

    def behind(self, standings: Standings) -> Bools:
        """Returns which candidates are significantly worse than the leader, shape (B, C)."""
        worse: Bools = (standings.p < self.alpha) & (standings.score < standings.score.max(1, keepdims=True))
        return worse

    def best_prompts(self, standings: Standings, left: Bools, count: int) -> Bools:
        """Returns which candidates remain if only `count` prompts do, those with the best candidates, shape (B, C).

        Of equally good prompts, those with the fewest tokens remain, and the first of those.
        """
        numbers = np.unique(self.prompts[self.prompts != BASELINE])
        members = self.prompts == numbers[:, None]  # (P, C)
        best = np.where(members, np.where(left, standings.score, -np.inf)[:, None], -np.inf).max(2)  # (B, P)
        tokens = np.where(members, self.tokens, np.inf).min(1)
        order = np.lexsort((np.broadcast_to(tokens, best.shape), -best), axis=1)
        ranks = order.argsort(1)
        kept = (ranks < count).astype(float) @ members > 0
        remaining: Bools = kept | (self.prompts == BASELINE)
        return left & remaining

    def prompts_of(self, left: Bools) -> list[int]:
        """Returns the numbers of the prompts that have a candidate left, for one resample, shape (1, C)."""
        return [int(prompt) for prompt in np.unique(self.prompts[left[0]]) if prompt != BASELINE]

    def cheapest(self, standings: Standings) -> Integers:
        """Returns the candidate with the fewest tokens of those that are equivalent to the leader, shape (B,).

        Of several with equally many tokens it is the one with the best score, and the first of those.
        """
        equivalent = np.isfinite(standings.score) & (standings.gap <= self.tolerance)
        return _first(equivalent, np.broadcast_to(self.tokens, equivalent.shape), -standings.score)

    def _share_prompt(self, chosen: Bools) -> Bools:
        """Returns which candidates have the prompt of a chosen one, shape (B, C)."""
        same = (self.prompts[:, None] == self.prompts) & (self.prompts != BASELINE)
        shared: Bools = chosen.astype(float) @ same > 0
        return shared


def compare(values: Floats, weights: Floats, leader: Integers, alpha: float) -> Comparison:
    """Compares every candidate with the leader of each resample.

    Args:
        values: Shape (C, N).
        weights: Shape (B, N).
        leader: Shape (B,).
        alpha: 1 minus the level of the interval.
    """
    scored = ~np.isnan(values[:, 0])
    of_shares = np.isin(values[scored], (0.0, 1.0)).all()
    p, gap = np.ones((len(weights), len(values))), np.full((len(weights), len(values)), np.inf)
    for candidate in np.unique(leader):
        resamples = leader == candidate
        differences, drawn = values[candidate] - values[scored], weights[resamples]
        tested = (sign_test if of_shares else t_test)(differences, drawn, alpha)
        p[np.ix_(resamples, scored)], gap[np.ix_(resamples, scored)] = tested
    gap[np.arange(len(leader)), leader] = 0.0
    return Comparison(p, gap)


def sign_test(differences: Floats, weights: Floats, alpha: float) -> Comparison:
    """Compares right and wrong answers.

    Args:
        differences: 1.0 where only the leader is right, -1.0 where only the candidate is, else 0.0; shape (C, N).
        weights: How often each resample draws each row, shape (B, N).
        alpha: 1 minus the level of the interval.
    """
    from scipy.special import bdtr, ndtri  # scipy.stats takes a long time to import

    won, lost = weights @ (differences < 0).T, weights @ (differences > 0).T
    count = weights.sum(1, keepdims=True) + 2
    mean = (lost - won) / count
    half = ndtri(1 - alpha / 2) * np.sqrt(won + lost + 1 - mean * (lost - won)) / count
    return Comparison(np.minimum(1, 2 * bdtr(np.minimum(won, lost), (won + lost).astype(int), 0.5)), mean + half)


def t_test(differences: Floats, weights: Floats, alpha: float) -> Comparison:
    """Compares other values, by Student's paired t test.

    Args:
        differences: The leader's values minus each candidate's, shape (C, N).
        weights: How often each resample draws each row, shape (B, N).
        alpha: 1 minus the level of the interval.
    """
    from scipy.special import stdtr, stdtrit

    count = weights.sum(1, keepdims=True)
    mean = weights @ differences.T / np.maximum(count, 1)
    variance = np.maximum(0, weights @ (differences**2).T - count * mean**2) / np.maximum(count - 1, 1)
    error = np.sqrt(variance / np.maximum(count, 1))
    varies = error > ROUNDING * np.abs(mean)
    t = np.divide(mean, error, out=np.where(mean == 0, 0.0, np.inf), where=varies)
    degrees = np.maximum(count - 1, 1)
    return Comparison(2 * stdtr(degrees, -np.abs(t)), mean + stdtrit(degrees, 1 - alpha / 2) * error)


def _first(among: Bools, *keys: Floats) -> Integers:
    """Returns the first candidate of those with the smallest keys, compared one after the other, shape (B,)."""
    for key in keys:
        cost = np.where(among, key, np.inf)
        among = among & (cost == cost.min(1, keepdims=True))
    first: Integers = among.argmax(1)
    return first
