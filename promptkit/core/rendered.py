"""The result of the encode stage for a row: the input of the model, and for a prompt the continuations to score."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from promptkit.core.arrays import Array
from promptkit.core.inputs import Input, Piece, TextInput, text_input
from promptkit.core.interventions import NO_INTERVENTIONS, Interventions
from promptkit.core.requests import Prepared, Request, Verb
from promptkit.core.thinking import ThoughtMarkers, without_thoughts

TooLong = Literal["truncate-demos", "error", "skip"]
"""What happens to a row whose prompt and answer do not fit the model's context: whole demonstrations are dropped until they do,
the run stops with an error, or the row is not sent to the model and counts as wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """What a model reads for one row, with the interventions; for a prompt also the continuations to score.

    The fields from `pieces` on describe an encoded prompt and keep their defaults for an input of another modality.
    """

    input: Input
    """What the model reads: the encoded prompt."""
    interventions: Interventions[Array] = NO_INTERVENTIONS
    """The interventions of the manipulations that modify the input."""
    pieces: tuple[Piece, ...] = ()
    """The texts that `input` was encoded from."""
    demos: tuple[str, ...] = ()
    """The ids of the demonstrations in the prompt, in order."""
    demo_labels: tuple[str, ...] = ()
    """Their labels, if the task declares labels; otherwise empty."""
    dropped: tuple[str, ...] = ()
    """The ids of demonstrations that were left out because the prompt would exceed the model's context."""
    targets: tuple[str, ...] = ()
    """The text of each continuation: the template's target block with one label word."""
    continuations: tuple[tuple[int, ...], ...] = ()
    """The token ids of the targets, from the boundary that they share with the prompt. An encoder-decoder writes them as
    separate texts; in a masked language model they take the place of the mask in the prompt."""
    rescored_tokens: int = 0
    """How many tokens at the end of the prompt are scored with every continuation, because a continuation merges with them.
    0 if none does, as templates should ensure."""
    label_token_counts: tuple[int, ...] = ()
    """With the noisy channel, the number of tokens at the start of each continuation that belong to the label. They are not
    scored; the input after them is."""
    stop: tuple[str, ...] = ()
    """Stop strings that mark the start of the next example in a generated text."""
    skipped: bool = False
    """Whether the row is not sent to the model, because its prompt does not fit the context. `input` is the complete prompt."""
    thought: str = ""
    """The marker that the prompt ends in if a generated text begins within a thought; otherwise empty."""
    may_think: bool = False
    """Whether labels are scored where the model may begin a thought instead."""
    thinks: bool = False
    """Whether a thought precedes the generated answer: the prompt ends in its marker, or thinking is turned on."""
    thought_markers: tuple[ThoughtMarkers, ...] = ()
    """The markers of thoughts that the model's chat template declares."""

    @property
    def text(self) -> TextInput:
        """The input as an encoded prompt; raises Unsupported for an input of another modality."""
        return text_input(self.input)

    def modified(self, transform: Callable[[Prepared], Prepared]) -> Rendered:
        """Returns a copy with the input and the interventions that a transform returns."""
        prepared = transform(Prepared(input=self.input, interventions=self.interventions))
        return replace(self, input=prepared.input, interventions=prepared.interventions)

    def request(self, verb: Verb) -> Request:
        """Returns the request to compute something for the input with the interventions."""
        return Request(input=self.input, interventions=self.interventions, verb=verb)

    def answer_text(self, generated: str) -> str | None:
        """Returns the part of a generated text that follows its thoughts, or None if a thought is not closed."""
        return without_thoughts(self.thought + generated, self.thought_markers)
