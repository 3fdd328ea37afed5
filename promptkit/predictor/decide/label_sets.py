"""Sets of labels that contain the right one with a stated probability.

Split conformal prediction (Vovk et al. 2005; Angelopoulos and Bates 2021, arXiv 2107.07511) with the score of Sadinle et al.
2019 (J. Am. Stat. Assoc. 114, "LAC"), which gives the smallest sets on average. The score of a label is s = 1 - p(label). Let q
be the ceil((n + 1) * level)-th smallest score of the right labels of n labeled rows. The set of a new row has the labels with
s <= q.

If labeled and new rows are exchangeable and predicted alike, the right label is in the set with a probability of at least
`level`, and of at most level + 1 / (n + 1) if no scores are equal. Equal scores only make sets larger. The probability is an
average over all rows, not one for each label or each row. It holds exactly if the labeled rows were held out. Out-of-fold rows
are predicted by predictors that were fitted on fewer rows, so that it is approximate; benchmarks/guarantees measures both.

Two additions keep the guarantee, because they only add labels: the likeliest label is always in its set, so that no set is
empty, and the set of a row without an answer contains all labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from promptkit.core.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from promptkit.core.arrays import Floats
    from promptkit.predictor.out_of_fold import OutOfFold


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSets:
    """A rule that gives each row a set of labels, from `conformal`."""

    level: float
    """The probability that the right label is in the set."""
    least: float
    """Labels of at least this probability are in the set."""

    def members(self, probabilities: Floats) -> NDArray[np.bool_]:
        """Returns whether each label is in a row's set, shape (N, K).

        Args:
            probabilities: Shape (N, K); all 0 in a row without an answer.
        """
        highest = probabilities.max(1, keepdims=True)
        members: NDArray[np.bool_] = (probabilities >= self.least) | (probabilities == highest)
        return members


def conformal(rows: OutOfFold, level: float) -> LabelSets:
    """Returns the rule for sets that contain the right label with a probability of at least `level`.

    Args:
        rows: Labeled rows that the predictor was not fitted on.
        level: The probability, above 0 and below 1.

    Raises:
        InputError: `invalid-value` if the level is not between 0 and 1; `too-few-rows` if there are fewer than
            level / (1 - level) labeled rows, so that only the set of all labels would be certain enough.
    """
    check_level(level)
    rank, needed = _rank(len(rows), level), _rows_needed(level)
    if rank > len(rows):
        raise InputError(
            f"Label sets at the level {level:g} need at least {needed} labeled rows, and the predictor has {len(rows)}",
            code="too-few-rows",
            got=f"sets={level:g}",
            hint="Label more rows, or give a lower level",
            rows=len(rows),
            needed=needed,
            level=level,
        )
    gold = np.where(rows.answered, rows.probabilities[np.arange(len(rows)), rows.gold], 1.0)
    return LabelSets(level=level, least=float(np.sort(gold)[::-1][rank - 1]))


def check_level(level: float) -> None:
    """Raises InputError if the level of label sets is not between 0 and 1."""
    if not 0 < level < 1:
        raise InputError(
            "The level of label sets is a probability above 0 and below 1",
            code="invalid-value",
            got=f"sets={level}",
            hint="For sets that contain the right label in 90% of rows, write 0.9",
            name="sets",
            value=level,
        )


def _rank(rows: int, level: float) -> int:
    """Returns ceil((rows + 1) * level) of the level as it is written, without binary rounding."""
    return ceil((rows + 1) * Fraction(repr(level)))


def _rows_needed(level: float) -> int:
    """Returns the smallest n with `_rank(n, level) <= n`."""
    exact = Fraction(repr(level))
    return ceil(exact / (1 - exact))
