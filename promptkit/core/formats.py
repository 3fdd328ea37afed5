"""How a model that is not causal reads a prompt: the tokens that close it, and where the answer is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderDecoderFormat:
    """An encoder reads the prompt, and a decoder writes the answer as a separate text, as in T5 and BART."""

    after: tuple[int, ...]
    """The tokens that the tokenizer adds after a prompt, such as `</s>`."""
    target_end: tuple[int, ...]
    """The tokens that the tokenizer adds after an answer. They are scored with it."""

    name: ClassVar[str] = "encoder-decoder"
    description: ClassVar[str] = "an encoder-decoder"


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedFormat:
    """The model predicts the answer's tokens at a mask inside the prompt, from the text on both sides, as in BERT."""

    after: tuple[int, ...]
    """The tokens that the tokenizer adds after a prompt, such as `[SEP]`."""
    mask: int
    """The mask token. A prompt has exactly one, in place of the answer."""
    takes_space: bool = False
    """Whether the mask also takes the place of the white space before it, as in RoBERTa, whose words begin with their space."""

    name: ClassVar[str] = "masked"
    description: ClassVar[str] = "a masked language model"


InputFormat = EncoderDecoderFormat | MaskedFormat
"""The format of a model that is not causal. A causal model has none: its answer follows the last token of the prompt."""
