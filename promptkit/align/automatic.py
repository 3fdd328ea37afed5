"""An automatic verbalizer: the label words that tell a label's rows from the others' (PETAL, Schick et al. 2020, 2010.13641).

    odds[s, t] = mean over rows of t of logit p(s) - mean over the other rows of logit p(s)

which is PETAL's log-likelihood ratio with its two sides balanced. The words of a label are weighed alike, by the mean of
their log-probabilities.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from promptkit.align.labelmap.mapping import FLOOR

if TYPE_CHECKING:
    from promptkit.types import Floats, Integers


def log_odds(logprobs: Floats, gold: Integers, labels: int) -> Floats:
    """Shape (rows, S) -> (S, K); 0 for a label that has no rows or all of them, as nothing tells it apart."""
    held = np.clip(logprobs, FLOOR, np.log1p(-np.finfo(float).eps))
    logits = held - np.log(-np.expm1(held))
    inside = np.eye(labels)[gold]
    counts = inside.sum(0)
    both = (counts > 0) & (counts < len(gold))
    own = logits.T @ inside / np.maximum(counts, 1)
    others = logits.T @ (1 - inside) / np.maximum(len(gold) - counts, 1)
    return np.where(both, own - others, 0.0)


def best_words(odds: Floats, words: int) -> Floats:
    """1 / words at the words of greatest odds of each label, else 0. Shape (S, K); ties go to the first."""
    chosen = np.argsort(-odds, axis=0, kind="stable")[:words]
    weights = np.zeros_like(odds)
    np.put_along_axis(weights, chosen, 1 / len(chosen), axis=0)
    return weights
