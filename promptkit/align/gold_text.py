"""Scores the gold text of a row whose answer is a generated text, for training and for searches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from promptkit.align.choices import Choices
from promptkit.align.loss import scored_tokens, without_label_tokens
from promptkit.core.output_reader import Target
from promptkit.core.requests import Output

if TYPE_CHECKING:
    from torch import Tensor


class GoldText(Choices):
    """Scores the only choice of a row, its gold text; see `LabeledExample.answered`.

    The loss is the mean of -log p over the tokens of the text.

    Args:
        template_values: The template variables that the aligner of generated texts provides.
    """

    def __init__(self, template_values: Mapping[str, object]) -> None:
        super().__init__()
        self._template_values = template_values

    def template_values(self) -> Mapping[str, object]:
        """Returns the template variables of the aligner of generated texts."""
        return self._template_values

    def loss(self, target: Target, logprobs: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
        """Returns the mean of -log p over the tokens of the gold text."""
        return -without_label_tokens(target, logprobs)[0].mean(), None

    def loss_of_output(self, target: Target, output: Output) -> tuple[float, tuple[float, ...] | None]:
        """Returns the mean of -log p over the tokens of the gold text."""
        (tokens,) = scored_tokens(target, output)
        return -sum(tokens) / len(tokens), None
