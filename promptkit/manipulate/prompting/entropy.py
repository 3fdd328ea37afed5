"""How undecided a model is: the entropy of its answers, in nats."""

from __future__ import annotations

import math
from collections.abc import Sequence

from promptkit.core.examples import Example
from promptkit.manipulate.prompting.context import SelectionContext
from promptkit.manipulate.prompting.rows import Demonstrations

DECIMALS = 4
"""Kept of an entropy that choices are made by: what a model answers in one batch and another differs by less."""


def entropy(weights: Sequence[float]) -> float:
    """- sum p log p, where p is the weights over their sum."""
    total = sum(weights)
    return -sum(weight / total * math.log(weight / total) for weight in weights if weight > 0)


def label_entropy(logprobs: Sequence[float]) -> float:
    """Of the probabilities of a row's candidate answers, renormalized over these."""
    highest = max(logprobs)
    return entropy([math.exp(logprob - highest) for logprob in logprobs])


def least_undecided(
    context: SelectionContext, ways: Sequence[tuple[Example, Sequence[Demonstrations]]], purpose: str
) -> list[Demonstrations]:
    """For each row, those of its demonstrations behind which the model is least undecided about it; the first of equal ones."""
    contexts = [(example, way) for example, own in ways if len(own) > 1 for way in own]
    undecided = iter([round(label_entropy(scores), DECIMALS) for scores in context.scores(contexts, purpose)])
    found = []
    for _, own in ways:
        entropies = [next(undecided) for _ in own] if len(own) > 1 else [0.0]
        found.append(own[entropies.index(min(entropies))])
    return found
