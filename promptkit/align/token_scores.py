"""Scores token sequences by the sum or the mean of their token log-probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from promptkit.core.arguments import check_value
from promptkit.core.requests import ScoreOutput

if TYPE_CHECKING:
    from torch import Tensor

SequenceScore = Literal["sum", "mean"]
"""`sum` is the log-probability of the sequence; `mean` is the average per token, which does not favor short sequences."""


def check_sequence_score(aligner: str, score: str) -> None:
    """Raises InputError if `score` is not a way to score sequences."""
    check_value("score", score, SequenceScore, of=aligner)


def sequence_scores(output: ScoreOutput, score: SequenceScore) -> list[float]:
    """Returns one score for each continuation, in natural-log units."""
    return [sum(tokens) if score == "sum" else sum(tokens) / len(tokens) for tokens in output.logprobs]


def sequence_score_tensor(logprobs: Sequence[Tensor], score: SequenceScore) -> Tensor:
    """Returns the same scores as a differentiable tensor.

    Args:
        logprobs: Token log-probabilities of each continuation, shape (tokens,) each.
        score: How a sequence is scored.

    Returns:
        The scores, shape (continuations,).
    """
    import torch

    return torch.stack([tokens.sum() if score == "sum" else tokens.mean() for tokens in logprobs])
