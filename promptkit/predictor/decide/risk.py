"""Abstention with a certified error rate.

`certify` chooses the threshold at which the most rows are answered while the error rate R among answered rows, over all rows
that the predictor may meet, is at most r with a confidence of 95% (selective classification with guaranteed risk, Geifman and
El-Yaniv 2017, arXiv 1705.08500; the multiple testing of Learn then Test, Angelopoulos et al. 2021, arXiv 2110.01052).

Of n labeled rows, the k with the highest confidence are answered at a threshold between the k-th and the next confidence. Given
the next confidence, these k rows are a random sample of the rows that this threshold answers, so that their errors e have the
binomial distribution B(k, R). The exact test rejects R > r if P(B(k, r) <= e) <= a, which is the case if and only if the upper
Clopper-Pearson bound of R at the level 1 - a is at most r.

The shares of answered rows that are tested, multiples of 1 / 10, depend only on n and r, never on the answers. With m of them,
each is tested at a = 0.05 / m (Bonferroni), so that the probability of certifying any threshold with R > r is at most 0.05,
however confidence and errors are related. Shares of so few rows that even no error would not suffice are not tested.

Assumption: labeled and new rows are drawn from the same distribution, independently, and are predicted alike. It holds exactly
if the labeled rows were held out. Out-of-fold rows are predicted by predictors that were fitted on fewer rows, so that the
guarantee is approximate; benchmarks/guarantees measures both.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, inf, log, log1p, nextafter
from typing import TYPE_CHECKING

import numpy as np

from promptkit.core.errors import InputError

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats
    from promptkit.predictor.out_of_fold import OutOfFold

LEVEL = 0.95
"""The confidence of a certificate."""
SHARES = 10
"""The maximum number of shares of answered rows that are tested."""
_MOST_ROWS = 10_000_000
"""The maximum number of labeled rows that `rows_needed` considers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A threshold with a certified error rate."""

    risk: float
    """The error rate among answered rows that is not exceeded, with a confidence of 95%."""
    threshold: float
    """Rows are answered if the probability of their likeliest label is at least this."""
    rows: int
    """The number of labeled rows."""
    answered: int
    """The number of labeled rows that are answered at the threshold."""
    errors: int
    """The number of answered rows whose answer is wrong."""
    bound: float
    """The upper confidence bound of the error rate, corrected for all shares that were tested."""

    @property
    def coverage(self) -> float:
        """The share of labeled rows that are answered."""
        return self.answered / self.rows

    def __str__(self) -> str:
        return (
            f"Answers with a probability of at least {self.threshold:.3f}: {self.answered} of {self.rows} labeled rows, "
            f"{self.errors} of them wrong; with 95% confidence, at most {self.bound:.1%} of answers are wrong"
        )


def certify(rows: OutOfFold, risk: float) -> Certificate:
    """Returns the threshold that answers the most rows with a certified error rate.

    Args:
        rows: Labeled rows that the predictor was not fitted on.
        risk: The error rate among answered rows that may not be exceeded, above 0 and below 1.

    Raises:
        InputError: `invalid-value` if the risk is not between 0 and 1; `risk-not-certified` if no threshold can be certified.
            The field `needed` is the number of labeled rows that would suffice at the observed error rates, or None if no
            number would.
    """
    check_risk(risk)
    for share, level in reversed(shares_to_test(len(rows), risk)):
        candidate = _certificate(rows, share, level, risk)
        if candidate.bound <= risk:
            return candidate
    raise _not_certified(rows, risk)


def check_risk(risk: float) -> None:
    """Raises InputError if a risk is not between 0 and 1."""
    if not 0 < risk < 1:
        raise InputError(
            "A risk is an error rate above 0 and below 1",
            code="invalid-value",
            got=f"risk={risk}",
            hint="For at most 5% wrong answers, write 0.05",
            name="risk",
            value=risk,
        )


def shares_to_test(rows: int, risk: float) -> list[tuple[int, float]]:
    """Returns the tested numbers of answered rows, in ascending order, each with the confidence level of its test.

    Args:
        rows: The number of labeled rows.
        risk: The error rate that may not be exceeded.
    """
    counts = sorted({ceil(rows * share / SHARES) for share in range(1, SHARES + 1)})
    while counts and counts[0] < _least_rows(risk, (1 - LEVEL) / len(counts)):
        counts.pop(0)
    return [(count, 1 - (1 - LEVEL) / len(counts)) for count in counts]


def upper_bound(errors: int, rows: int, level: float) -> float:
    """Returns the one-sided upper bound of an error rate (Clopper and Pearson 1934, Biometrika 26).

    Args:
        errors: The number of errors.
        rows: The number of rows; the bound is 1 if it is 0.
        level: The confidence of the bound.
    """
    from scipy.stats import beta

    return 1.0 if errors >= rows else float(beta.ppf(level, errors + 1, rows - errors))


def _least_rows(risk: float, significance: float) -> int:
    """Returns how many answered rows without an error certify a risk: (1 - risk)^n <= significance."""
    return ceil(log(significance) / log1p(-risk))


def _certificate(rows: OutOfFold, count: int, level: float, risk: float) -> Certificate:
    """Returns the certificate of the threshold that answers at most `count` rows."""
    threshold = _threshold(rows.confidence, count)
    answered = rows.confidence >= threshold
    number, errors = int(answered.sum()), int((answered & ~rows.correct).sum())
    bound = upper_bound(errors, number, level)
    return Certificate(risk=risk, threshold=threshold, rows=len(rows), answered=number, errors=errors, bound=bound)


def _threshold(confidence: Floats, count: int) -> float:
    """Returns the least number above the confidence that follows the `count` highest, so that ties are not answered."""
    following = float(np.sort(confidence)[::-1][count]) if count < len(confidence) else 0.0
    return nextafter(following, inf)


def _not_certified(rows: OutOfFold, risk: float) -> InputError:
    needed = rows_needed(rows, risk)
    reason = (
        f"about {needed} would suffice at the observed error rate"
        if needed
        else "at the observed error rate of the most confident answers, more rows would not help"
    )
    return InputError(
        f"No threshold has a certified error rate of at most {risk:g} among answered rows: there are {len(rows)} labeled rows, "
        f"and {reason}",
        code="risk-not-certified",
        got=f"risk={risk:g}",
        hint=f"{'Label more rows' if needed else 'Use a better predictor'}, or allow a higher risk",
        risk=risk,
        rows=len(rows),
        needed=needed,
    )


def rows_needed(rows: OutOfFold, risk: float) -> int | None:
    """Returns how many labeled rows would certify a risk if the error rate at each share stayed as observed.

    Args:
        rows: Labeled rows that the predictor was not fitted on.
        risk: The error rate that may not be exceeded.

    Returns:
        The number of rows, or None if the error rate at every share is too high for any number.
    """
    rates = [_error_rate(rows, share) for share in range(1, SHARES + 1)]
    number = max(1, len(rows))
    while number < _MOST_ROWS and not _suffice(number, rates, risk):
        number *= 2
    if number >= _MOST_ROWS:
        return None
    low, high = number // 2, number
    while high - low > max(1, high // 100):
        middle = (low + high) // 2
        low, high = (low, middle) if _suffice(middle, rates, risk) else (middle, high)
    return high


def _error_rate(rows: OutOfFold, share: int) -> tuple[float, float]:
    """Returns the share of rows that are answered, at most `share` tenths, and the error rate among them."""
    answered = rows.confidence >= _threshold(rows.confidence, ceil(len(rows) * share / SHARES))
    number = int(answered.sum())
    return number / max(1, len(rows)), float((answered & ~rows.correct).sum() / max(1, number))


def _suffice(number: int, rates: list[tuple[float, float]], risk: float) -> bool:
    """Whether a number of rows certifies a risk, if errors are as frequent as observed at each share."""
    levels = dict(shares_to_test(number, risk))
    for share, (coverage, rate) in enumerate(rates, start=1):
        level = levels.get(ceil(number * share / SHARES))
        answered = int(number * coverage)
        if level is not None and answered and upper_bound(ceil(answered * rate), answered, level) <= risk:
            return True
    return False
