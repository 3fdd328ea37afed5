"""How undecided a model is: the entropy of a distribution, in nats."""

from __future__ import annotations

import math
from collections.abc import Sequence

DECIMALS = 4
"""Kept of an entropy that choices are made by: what a model answers in one batch and another differs by less."""


def entropy(weights: Sequence[float]) -> float:
    """- sum p log p, where p is the weights over their sum."""
    total = sum(weights)
    return -sum(weight / total * math.log(weight / total) for weight in weights if weight > 0)


def label_entropy(logprobs: Sequence[float]) -> float:
    """Of the probabilities of a row's candidate answers, renormalised over these."""
    highest = max(logprobs)
    return entropy([math.exp(logprob - highest) for logprob in logprobs])
