"""What a model reads: the protocol of inputs of every modality, encoded prompts and images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

from promptkit.core.arrays import Array
from promptkit.core.interventions import HiddenEdit, KVPrefix

Modality = Literal["text", "image"]


class Input(Protocol):
    """An immutable, hashable value that a model reads. Batches, caches and records of runs use only this protocol."""

    @property
    def modality(self) -> Modality:
        """What kind of value it is."""
        ...

    @property
    def cost(self) -> int:
        """The work that it is for a model, by which batches are planned: tokens of a prompt, 1 for an image."""
        ...

    def fingerprint(self) -> str:
        """Returns a text that differs between inputs that differ."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A part of a prompt before it is encoded."""

    text: str
    """The text, or the name of a control token or of a slot."""
    part: str
    """`instruction`, `demonstration 3`, `query`, `separator`, `frame` (BOS, turn markers) or `soft NAME`."""
    control: bool = False
    """Whether it is a control token. Text is never parsed for control tokens."""
    added: bool = False
    """Whether the tokenizer adds the control token around a text, which then begins as it would alone. The tokenizer finds all
    other control tokens in the text."""
    learned: int = 0
    """The number of learned vectors in a slot; `text` is then the name of the slot. 0 for text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The tokens of a prompt that belong to one part."""

    part: str
    """As in `Piece.part`."""
    start: int
    """The index of the first token."""
    stop: int
    """The index after the last token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextInput:
    """An encoded prompt: what a language model reads."""

    ids: tuple[int, ...]
    """Token ids, including control tokens. The id -1-j refers to row j of `vectors`; -1 also marks an unfilled slot."""
    spans: tuple[Span, ...] = ()
    """The parts of the prompt in order, covering all of `ids`. A token across two parts belongs to the first."""
    vectors: Array | None = None
    """Shape (rows, d_model): used in place of the embedding module's output, with the embedding's scale already applied."""
    prefixes: tuple[KVPrefix[Array], ...] = ()
    """Learned keys and values before the prompt."""
    edits: tuple[HiddenEdit[Array], ...] = ()
    """Edits of hidden states."""

    modality: ClassVar[Modality] = "text"

    @property
    def cost(self) -> int:
        """The number of tokens."""
        return len(self.ids)

    def fingerprint(self) -> str:
        """Returns the token ids."""
        return repr(self.ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInput:
    """An image before the operations of a request and the model's own normalization, at any size."""

    pixels: Array
    """Shape (channels, height, width), float32 values between 0 and 1."""

    modality: ClassVar[Modality] = "image"

    @property
    def cost(self) -> int:
        """One: an engine resizes every image to the same size."""
        return 1

    def fingerprint(self) -> str:
        """Returns the shape and the hash of the pixels."""
        return f"image {self.pixels.shape} {self.pixels.digest}"
