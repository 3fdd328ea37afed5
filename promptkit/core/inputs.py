"""What a model reads: the protocol of inputs of every modality, encoded prompts and images."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol, get_args

from promptkit.core.arrays import Array
from promptkit.core.errors import Unsupported

Modality = Literal["text", "image"]
MODALITIES: tuple[Modality, ...] = get_args(Modality)


class Input(Protocol):
    """An immutable, hashable value that a model reads. Batches, caches and records of runs use only this protocol."""

    @property
    def modality(self) -> Modality:
        """The kind of value."""
        ...

    @property
    def cost(self) -> int:
        """The cost of computing it, by which batches are planned: the number of tokens of a prompt, 1 for an image."""
        ...

    def fingerprint(self) -> str:
        """Returns a string that is different for different inputs."""
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
    """Token ids, including control tokens. The id -1-j refers to row j of `Interventions.vectors`; -1 also marks an unfilled
    slot."""
    spans: tuple[Span, ...] = field(default=(), compare=False)
    """The parts of the prompt in order, covering all of `ids`. A token across two parts belongs to the first. A model does not
    read them, so prompts with the same ids are equal."""

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


def text_input(value: Input) -> TextInput:
    """Returns an input as an encoded prompt.

    Raises:
        Unsupported: It is an input of another modality.
    """
    if isinstance(value, TextInput):
        return value
    raise _wrong_modality(value, "text", "Use a model that reads images, or a task of texts")


def image_input(value: Input) -> ImageInput:
    """Returns an input as an image.

    Raises:
        Unsupported: It is an input of another modality.
    """
    if isinstance(value, ImageInput):
        return value
    raise _wrong_modality(value, "image", "Use a language model, or a task of images")


def _wrong_modality(value: Input, needed: Modality, hint: str) -> Unsupported:
    return Unsupported(
        f"An input of the modality {needed} is needed",
        code=f"needs-{needed}-input",
        got=f"an input of the modality {value.modality}",
        hint=hint,
        modality=value.modality,
    )
