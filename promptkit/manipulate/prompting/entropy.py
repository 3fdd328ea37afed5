"""The entropy of a model's predictions, in nats."""

from __future__ import annotations

import math
from collections.abc import Sequence

from promptkit.core.examples import Example
from promptkit.manipulate.prompting.context import SelectionContext
from promptkit.manipulate.prompting.rows import Demonstrations

DECIMALS = 4
"""Decimals to which entropies are rounded before comparison; results of different batches differ by less."""


def entropy(weights: Sequence[float]) -> float:
    """Returns - sum p log p, where p are the weights divided by their sum."""
    total = sum(weights)
    return -sum(weight / total * math.log(weight / total) for weight in weights if weight > 0)


def label_entropy(logprobs: Sequence[float]) -> float:
    """Returns the entropy of the candidate answers' probabilities, renormalized over the candidates."""
    highest = max(logprobs)
    return entropy([math.exp(logprob - highest) for logprob in logprobs])


def lowest_entropy(
    context: SelectionContext, options: Sequence[tuple[Example, Sequence[Demonstrations]]], purpose: str
) -> list[Demonstrations]:
    """Chooses, for each row, the demonstrations with the lowest entropy of the model's prediction.

    Args:
        context: The model and the prompt layout.
        options: Rows, each with the demonstrations to choose from. A single option is chosen without a query.
        purpose: The feature that needs the scores, for the error message.

    Returns:
        The chosen demonstrations of each row; ties go to the first.
    """
    queries = [(example, option) for example, row_options in options if len(row_options) > 1 for option in row_options]
    entropies = iter([round(label_entropy(scores), DECIMALS) for scores in context.scores(queries, purpose)])
    chosen = []
    for _, row_options in options:
        row_entropies = [next(entropies) for _ in row_options] if len(row_options) > 1 else [0.0]
        chosen.append(row_options[row_entropies.index(min(row_entropies))])
    return chosen
