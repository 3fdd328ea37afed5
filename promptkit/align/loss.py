"""The token log-probabilities that a training loss is computed from. The losses themselves are methods of the first aligners.

For scored answers the loss is -log softmax(scores)[gold], with the same scores as in evaluation (`CandidateScorer`), and with
any number of labels the binary cross-entropy of each label (`MultiLabel`). For generated answers it is the mean of -log p over
the tokens of the gold text, including the tokens that end it (`GoldText`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from promptkit.core.errors import no_answer
from promptkit.core.output_reader import Target
from promptkit.core.requests import Output, ScoreOutput

if TYPE_CHECKING:
    from torch import Tensor


def without_label_tokens(target: Target, logprobs: Sequence[Tensor]) -> list[Tensor]:
    """Returns the token log-probabilities of each continuation; in channel scoring, without the label tokens."""
    return [tokens[start:] for tokens, start in zip(logprobs, _starts(target, len(logprobs)), strict=True)]


def scored_tokens(target: Target, output: Output) -> tuple[tuple[float, ...], ...]:
    """Returns the token log-probabilities in a model's output; in channel scoring, without the label tokens.

    Raises:
        ModelError: The output has no answer.
    """
    assert isinstance(output, ScoreOutput)
    if not output.answered:
        raise no_answer("Training")
    starts = _starts(target, len(output.logprobs))
    return tuple(tokens[start:] for tokens, start in zip(output.logprobs, starts, strict=True))


def _starts(target: Target, continuations: int) -> Sequence[int]:
    """Returns the first scored token of each continuation."""
    return target.label_token_counts or (0,) * continuations
