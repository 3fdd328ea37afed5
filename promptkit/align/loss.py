"""What training makes small: the aligner's own rule, on tensors or on a model's answers, so that what is trained is evaluated.

Labels are scored as the aligner scores them, and the loss is their cross-entropy, -log softmax(scores)[gold]; where the model
writes a text it is the mean over the right text's tokens, with those that end it, of -log p.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from promptkit.align.choices import Choices
from promptkit.align.verbalizer import Verbalizer
from promptkit.core.alignment import OutputReader
from promptkit.core.errors import Unsupported
from promptkit.core.requests import ScoreOutput

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is right of one request."""

    gold: int | None
    """Which candidate; None where the one continuation is the right text."""
    label_token_counts: tuple[int, ...] = ()
    """See `Rendered.given`."""


def loss_of(reading: OutputReader, target: Target, rows: Sequence[Tensor]) -> tuple[Tensor, bool | None]:
    """The loss of one request, and whether the right candidate is the likeliest. rows: (tokens,) each."""
    counted = (
        [row[given:] for row, given in zip(rows, target.label_token_counts, strict=True)] if target.label_token_counts else rows
    )
    if target.gold is None:
        return -counted[0].mean(), None
    scores = label_scores(reading, counted)
    return -scores.log_softmax(0)[target.gold], int(scores.argmax()) == target.gold


def loss_of_output(reading: OutputReader, target: Target, output: ScoreOutput) -> tuple[float, bool | None]:
    """The same of what a model has answered, without gradients."""
    rows = output.logprobs
    counted = (
        tuple(row[given:] for row, given in zip(rows, target.label_token_counts, strict=True))
        if target.label_token_counts
        else rows
    )
    if target.gold is None:
        return -sum(counted[0]) / len(counted[0]), None
    scores = _scorer(reading).align(ScoreOutput(logprobs=counted))
    highest = max(scores)
    total = highest + math.log(sum(math.exp(score - highest) for score in scores))
    return total - scores[target.gold], scores.index(highest) == target.gold


def _scorer(reading: OutputReader) -> Verbalizer | Choices:
    if not isinstance(reading, Verbalizer | Choices):
        raise Unsupported(
            f"The scores of the aligner {reading.name} cannot be used for training",
            code="untrainable-aligner",
            hint="Use a Verbalizer or Choices",
            aligner=reading.name,
        )
    return reading


def label_scores(reading: OutputReader, rows: Sequence[Tensor]) -> Tensor:
    """One score a candidate, (candidates,): `align` of a verbalizer or of choices, differentiable."""
    import torch

    reading = _scorer(reading)
    scores = torch.stack([row.sum() if reading.score == "sum" else row.mean() for row in rows])
    if isinstance(reading, Choices):
        return scores
    own = torch.split(scores, reading.counts)
    if reading.pool == "logsumexp":
        return torch.stack([each.logsumexp(0) for each in own])
    return torch.stack([each.amax(0) if reading.pool == "max" else each.mean(0) for each in own])
