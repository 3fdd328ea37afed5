"""The training loss: the cross-entropy of the scores that the aligner computes at evaluation.

For scored answers the loss is -log softmax(scores)[gold], where the scores are those of the aligner. For generated answers it
is the mean of -log p over the tokens of the gold text, including the tokens that end it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from promptkit.core.alignment import OutputReader, Scorer
from promptkit.core.errors import Unsupported, no_answer
from promptkit.core.requests import ScoreOutput

if TYPE_CHECKING:
    from torch import Tensor


@runtime_checkable
class DifferentiableScorer(Scorer, Protocol):
    """A scorer that can be used for training."""

    def align_tensors(self, logprobs: Sequence[Tensor]) -> Tensor:
        """Returns the scores of `align` as a differentiable tensor.

        Args:
            logprobs: Token log-probabilities of each word to score, shape (tokens,) each.

        Returns:
            One score for each candidate, shape (candidates,).
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The correct answer of one request."""

    gold: int | None
    """Index of the gold candidate; None if the only continuation is the gold text."""
    label_token_counts: tuple[int, ...] = ()
    """In channel scoring, how many leading tokens of each continuation belong to the label and are not part of the loss."""


def loss_of(reader: OutputReader, target: Target, logprobs: Sequence[Tensor]) -> tuple[Tensor, bool | None]:
    """Computes the differentiable loss of one request.

    Args:
        reader: The aligner whose scores are trained.
        target: The correct answer.
        logprobs: Token log-probabilities of each continuation, shape (tokens,) each.

    Returns:
        The loss, and whether the gold candidate has the highest score (None for a generated answer).

    Raises:
        Unsupported: The aligner has no differentiable scores.
    """
    scored = [tokens[start:] for tokens, start in zip(logprobs, _starts(target, len(logprobs)), strict=True)]
    if target.gold is None:
        return -scored[0].mean(), None
    scores = _trainable(reader).align_tensors(scored)
    return -scores.log_softmax(0)[target.gold], int(scores.argmax()) == target.gold


def loss_of_output(reader: OutputReader, target: Target, output: ScoreOutput) -> tuple[float, bool | None]:
    """Computes the loss of one request from a model's output, without gradients.

    Args:
        reader: The aligner whose scores are trained.
        target: The correct answer.
        output: The model's output.

    Returns:
        The loss, and whether the gold candidate has the highest score (None for a generated answer).

    Raises:
        Unsupported: The aligner has no differentiable scores.
        ModelError: The output has no answer.
    """
    if not output.answered:
        raise no_answer("Training")
    starts = _starts(target, len(output.logprobs))
    scored = tuple(tokens[start:] for tokens, start in zip(output.logprobs, starts, strict=True))
    if target.gold is None:
        return -sum(scored[0]) / len(scored[0]), None
    scores = _trainable(reader).align(ScoreOutput(logprobs=scored))
    return float(np.logaddexp.reduce(scores)) - scores[target.gold], scores.index(max(scores)) == target.gold


def _starts(target: Target, continuations: int) -> Sequence[int]:
    """Returns the first scored token of each continuation."""
    return target.label_token_counts or (0,) * continuations


def _trainable(reader: OutputReader) -> DifferentiableScorer:
    if not isinstance(reader, DifferentiableScorer):
        raise Unsupported(
            f"The scores of the aligner {reader.name} cannot be used for training",
            code="untrainable-aligner",
            hint="Use a Verbalizer or Choices",
            aligner=reader.name,
        )
    return reader
