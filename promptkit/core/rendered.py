"""One row as the model will read it."""

from __future__ import annotations

from dataclasses import dataclass

from promptkit.core.inputs import Piece, TextInput


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """One row as the model will read it, with the continuations that are to be scored."""

    input: TextInput
    pieces: tuple[Piece, ...]
    """What `input` was encoded from."""
    demos: tuple[str, ...]
    """Ids of the demonstrations shown, in order."""
    demo_labels: tuple[str, ...]
    """Their labels, where labels are the same for every row; none elsewhere."""
    dropped: tuple[str, ...]
    """Ids of the demonstrations left out because the prompt would not fit the model's context."""
    targets: tuple[str, ...]
    """The text of each continuation: the template's target block with one label word."""
    continuations: tuple[tuple[int, ...], ...]
    """Token ids of the targets, counted from the shared boundary."""
    rescored_tokens: int
    """How many of the prompt's own last tokens are scored with every continuation because one of them
    merges with the prompt; 0 where none does, as it should be."""
    label_token_counts: tuple[int, ...] = ()
    """By the channel: how many of each continuation's first tokens are its label's, behind which the input is scored."""
    stop: tuple[str, ...] = ()
    """What would begin a further example: a text that the model writes has ended before it."""
