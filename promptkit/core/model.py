"""Protocols of frozen models: the interface of every model, and optional capabilities."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, runtime_checkable

from promptkit.core.arrays import Array
from promptkit.core.capabilities import Capabilities
from promptkit.core.errors import Unsupported
from promptkit.core.formats import InputFormat
from promptkit.core.inputs import Modality
from promptkit.core.interventions import Interventions, KVPrefix
from promptkit.core.requests import Output, Request
from promptkit.core.thinking import ThoughtMarkers

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """A text as token ids."""

    ids: tuple[int, ...]
    """Token ids."""
    starts: tuple[int, ...]
    """For each token, the offset of its first character in the text. The offsets never decrease."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatOptions:
    """How a chat template is rendered."""

    template: str | None = None
    """The name of one of the model's chat templates; None for its default."""
    thinking: bool | None = None
    """Whether the model thinks before it answers, where its chat template has a switch; None for the template's default."""


DEFAULT_CHAT = ChatOptions()


class Tokenizer(Protocol):
    """The tokenizer of one model. It never parses a text for control tokens."""

    @property
    def control(self) -> Mapping[str, int]:
        """The model's control tokens: name -> id."""
        ...

    @property
    def bos(self) -> tuple[int, ...]:
        """The tokens that the model's tokenizer inserts before a text; empty for some models."""
        ...

    @property
    def ends(self) -> tuple[int, ...]:
        """The tokens with which the model ends a text."""
        ...

    def encode(self, text: str, *, after: str | None = None, before: str | None = None) -> Encoding:
        """Encodes a text without special tokens. The name of a control token in the text is encoded as text.

        Args:
            text: The text.
            after: The control token that precedes the text in a longer one, "" for anything else that precedes it, or None if
                the text is the start. Some tokenizers mark only the start of a text, and some tokens absorb white space.
            before: The control token that follows the text, or None.
        """
        ...

    def name(self, token_id: int) -> str:
        """Returns the token's name in the vocabulary."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Returns the text of token ids."""
        ...

    def chat(self, turns: Sequence[tuple[str, str]], options: ChatOptions = DEFAULT_CHAT) -> str | None:
        """Returns the model's chat template for (role, content) turns, up to the start of the answer; None if it fails.

        Raises:
            Unsupported: The model has no chat template with the name in `options`, several without a default, or none with a
                switch for thinking although `options` sets it.
        """
        ...

    def thought_markers(self, options: ChatOptions = DEFAULT_CHAT) -> Sequence[ThoughtMarkers]:
        """Returns the markers of thoughts that the chat template declares; empty if the model does not think."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TextCard:
    """What manipulations may know about a language model, read from its files."""

    tokenizer: Tokenizer
    d_model: int
    """The width of hidden states."""
    embedding_width: int
    """The width of token embeddings, which most models also have for hidden states."""
    vocabulary: int
    """The number of rows of the embedding."""
    layers: int
    """The number of layers."""
    kv_heads: int
    """The number of key-value heads of a layer."""
    context_length: int
    """The maximum number of tokens of an input with its continuation."""
    instruct: bool
    """Whether the model was trained on chat turns."""
    format: InputFormat | None = None
    """How a model that is not causal reads prompts; None for a causal model."""

    modality: ClassVar[Modality] = "text"

    @property
    def sizes(self) -> Mapping[str, str | int]:
        """The properties that a model must share with the one that a manipulation was trained on."""
        kind = self.format.name if self.format else "causal"
        return {"format": kind, "d_model": self.embedding_width, "layers": self.layers, "kv_heads": self.kv_heads}

    @property
    def depth(self) -> int:
        """The number of the last layer; 0 is the embedding."""
        return self.layers

    def state_width(self, layer: int) -> int:
        """Returns the width of the hidden states of a layer."""
        return self.d_model

    def unlimited(self) -> TextCard:
        """Returns the card with an unlimited context length, with which every prompt can be rendered."""
        return replace(self, context_length=sys.maxsize)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageCard:
    """What manipulations and aligners may know about an image classifier, read from its files."""

    size: tuple[int, int]
    """The height and width of the images that it reads."""
    channels: int
    """The number of color channels."""
    mean: tuple[float, ...]
    """The model's own normalization: the mean of each channel, for pixels between 0 and 1."""
    std: tuple[float, ...]
    """The model's own normalization: the standard deviation of each channel."""
    class_names: tuple[str, ...]
    """The names of its classes, in the order of its logits."""
    layers: tuple[str, ...]
    """The names of the layers whose features can be read, from the input to the last. `Read.hidden_layer` is an index into
    them; -1 is the pooled features that the classifier reads."""
    widths: tuple[int, ...]
    """The number of features of each of `layers`, averaged over the positions of the image."""

    modality: ClassVar[Modality] = "image"

    @property
    def sizes(self) -> Mapping[str, str | int]:
        """The properties that a model must share with the one that a manipulation was trained on."""
        return {"size": "x".join(map(str, self.size))}

    @property
    def depth(self) -> int:
        """The number of the last layer; 0 is the first one."""
        return len(self.layers) - 1

    def state_width(self, layer: int) -> int:
        """Returns the number of features of a layer."""
        return self.widths[layer]

    def unlimited(self) -> ImageCard:
        """Returns the card itself: images have no limit."""
        return self


ModelCard = TextCard | ImageCard
"""What manipulations and aligners may know about a model. Every card has a `modality`."""


def text_card(card: ModelCard) -> TextCard:
    """Returns a card that must be the card of a language model.

    Raises:
        Unsupported: The model does not read texts.
    """
    if isinstance(card, TextCard):
        return card
    raise _wrong_modality("text", "A language model is needed", card)


def image_card(card: ModelCard) -> ImageCard:
    """Returns a card that must be the card of an image classifier.

    Raises:
        Unsupported: The model does not read images.
    """
    if isinstance(card, ImageCard):
        return card
    raise _wrong_modality("image", "An image classifier is needed", card)


def _wrong_modality(needed: Modality, message: str, card: ModelCard) -> Unsupported:
    return Unsupported(
        message,
        code=f"needs-{needed}-model",
        got=f"a model of the modality {card.modality}",
        hint="Use an image classifier, such as vision:demo" if needed == "image" else "Use a language model, such as demo",
        modality=card.modality,
    )


LOADER = "loader"
"""The key of a model's identity for the function that created it, if a name alone cannot load it."""


@runtime_checkable
class HasCapabilities(Protocol):
    """The members by which models are recognized. The card is not one of them, because reading it may open files."""

    name: str
    """The name that it is loaded by, including the engine."""
    capabilities: Capabilities
    """What it supports. Without `vectors`, `embed` raises Unsupported, and without `prefixes`, `keys_values` does."""

    def identity(self) -> Mapping[str, object]:
        """Returns everything about the model and its settings that determines a result, without loading weights.

        A model that `load` cannot return for its name has the key `LOADER`.
        """
        ...


class Model(HasCapabilities, Protocol):
    """A frozen model, which answers lists of requests."""

    card: ModelCard

    def check_supported(self, requests: Sequence[Request]) -> None:
        """Raises Unsupported if a request needs something that the model does not support. Loads no weights."""
        ...

    def load(self) -> None:
        """Loads the weights if they are not loaded. `answer` calls it."""
        ...

    def batches(self, requests: Sequence[Request]) -> Sequence[tuple[int, ...]]:
        """Returns the indices of the requests of each batch, in the order of `answer`."""
        ...

    def answer(
        self, requests: Sequence[Request], done: Collection[int] = frozenset()
    ) -> Iterator[tuple[tuple[int, ...], tuple[Output, ...]]]:
        """Yields the indices and the outputs of the requests of one batch at a time.

        The batches depend only on `requests` and the model's settings, so that a resumed run equals an uninterrupted one.

        Args:
            requests: All requests of the run.
            done: Indices of requests whose outputs are known. Batches of known requests are skipped; all other batches are
                computed completely.
        """
        ...

    def notes(self) -> Sequence[str]:
        """Returns notes for readers of the results about unusual steps of the model, such as the split of a batch."""
        ...

    def embed(self, ids: Sequence[int]) -> Array:
        """Returns the embeddings of tokens, shape (tokens, d_model). As learned vectors they are equal to the tokens.

        Raises:
            Unsupported: The model does not support learned vectors.
        """
        ...

    def keys_values(self, ids: Sequence[int]) -> KVPrefix[Array]:
        """Returns the keys and values of tokens at the start of an input. As a prefix they are equal to the tokens.

        Raises:
            Unsupported: The model does not support prefixes.
        """
        ...

    def close(self) -> None:
        """Releases memory and processes; the next request loads the weights again."""
        ...


Precision = Literal["no", "bf16", "fp16"]
"""The precision of matrix products in a forward pass; `no` keeps the precision of the weights."""


class DifferentiableScores(Protocol):
    """The scores of requests as differentiable functions of interventions that all requests share."""

    device: torch.device
    """The torch device of the model, on which tensors must be."""
    costs: Sequence[int]
    """The cost of each request: the number of tokens to compute, or 1 for an image."""

    def batches(self, chosen: Sequence[int]) -> list[list[int]]:
        """Returns the chosen requests in batches that fit into memory.

        Args:
            chosen: Indices of requests.
        """
        ...

    def scores(self, chosen: Sequence[int], interventions: Interventions[Tensor]) -> list[list[Tensor]]:
        """Returns the scores of each chosen request as tensors.

        Args:
            chosen: Indices of requests.
            interventions: The interventions of all requests as tensors.

        Returns:
            For each `Score` request, the log-probabilities of the tokens of each continuation; for each `Classify` request,
            one tensor with the logits of its classes.
        """
        ...

    def weights_hash(self) -> str:
        """Returns a hash of all weights, which must not change during training."""
        ...


@runtime_checkable
class DifferentiableTextScores(DifferentiableScores, Protocol):
    """The scores of a language model, whose tokens have embeddings."""

    def embed(self, ids: Sequence[int]) -> Tensor:
        """Returns the embeddings of tokens as a tensor, shape (tokens, d_model)."""
        ...

    def projected(self, vectors: Tensor) -> Tensor:
        """Returns the inner product of each vector with each token's embedding as a tensor, shape (rows, vocabulary)."""
        ...


@runtime_checkable
class ShowsPixels(Protocol):
    """An image model that can show the pixels that it reads."""

    def pixels(self, requests: Sequence[Request]) -> list[Array]:
        """Returns the pixels that the model reads for each request: after its operations, before the model's normalization.

        Args:
            requests: Requests with images.

        Returns:
            Arrays of shape (channels, height, width) of the model's size, with values between 0 and 1.
        """
        ...


@runtime_checkable
class KeepsPrefixes(Protocol):
    """A model that can cache its computation for a prefix of prompts between calls."""

    def reusing(self, prefix: tuple[int, ...]) -> AbstractContextManager[None]:
        """Returns a context manager within which requests that begin with the prefix reuse its computation.

        Without it, the outputs of requests do not depend on earlier calls.

        Args:
            prefix: The first token ids of the prompts.
        """
        ...


@runtime_checkable
class Differentiable(Protocol):
    """A model that can be differentiated with respect to interventions."""

    def differentiable(
        self, requests: Sequence[Request], *, checkpointing: bool = False, precision: Precision = "no"
    ) -> DifferentiableScores:
        """Returns the scores of requests as differentiable functions of their interventions. Loads the weights.

        Args:
            requests: `Score` or `Classify` requests with the same interventions.
            checkpointing: Whether the backward pass recomputes each layer to save memory.
            precision: The precision of matrix products.
        """
        ...
