"""What a frozen model declares about itself and what it can do."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from promptkit.core.arrays import Array
from promptkit.core.inputs import Interventions, KVPrefix, Vectors
from promptkit.core.requests import Output, Request

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats


class Heads(Protocol):
    """The heads of every layer: what each gives, what that is worth, and what it adds."""

    def outputs(self, ids: Sequence[int]) -> Floats:
        """Of each head at the prompt's last token, before they are projected: (layers, heads, width)."""
        ...

    def effects(self, ids: Sequence[int], continuation: Sequence[int], outputs: Floats) -> Floats:
        """How much likelier the continuation is where one head alone gives this at the prompt's last token: (layers, heads).

        A difference of probabilities. outputs: (layers, heads, width).
        """
        ...

    def projected(self, outputs: Floats) -> Floats:
        """What each head adds to the residual stream where all of its layer give this: (layers, heads, d_model).

        Where a norm follows a layer's attention, its scale is that of the layer's whole. outputs: (layers, heads, width).
        """
        ...


@runtime_checkable
class ExposesHeads(Protocol):
    """A model whose attention heads can be told apart."""

    def heads(self) -> Heads:
        """Its heads; the weights load now."""
        ...


Precision = Literal["no", "bf16", "fp16"]
"""In which a forward multiplies matrices, if not in that of its weights."""


class DifferentiableScores(Protocol):
    """Scores of certain requests as functions of what they all hold that is learned."""

    device: Any
    """Of torch: where the tensors shall be."""
    tokens: Sequence[int]
    """Of each request, how many are computed."""

    def batches(self, chosen: Sequence[int]) -> list[list[int]]:
        """The chosen requests in parts, each of which is computed at once."""
        ...

    def scores(self, chosen: Sequence[int], interventions: Interventions[Any]) -> list[list[Any]]:
        """Of each request, of each continuation, its tokens' log-probabilities: tensors, of those in `within`."""
        ...

    def embed(self, ids: Sequence[int]) -> Any:
        """What the embedding module gives these tokens: a tensor (tokens, d_model)."""
        ...

    def projected(self, vectors: Any) -> Any:
        """The inner product of each vector with each token's embedding: a tensor (rows, vocabulary)."""
        ...

    def weights_hash(self) -> str:
        """Of every weight of the frozen model."""
        ...


@runtime_checkable
class Differentiable(Protocol):
    """A model through which gradients flow."""

    def differentiable(
        self, requests: Sequence[Request], *, checkpointing: bool = False, precision: Precision = "no"
    ) -> DifferentiableScores:
        """Requests to score that all hold the same of what is learned, as functions of it; the weights load now.

        With `checkpointing` a backward pass computes each layer again; with a `precision` matrices are multiplied in it.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """Plain text as token ids."""

    ids: tuple[int, ...]
    starts: tuple[int, ...]
    """For each token, the offset in the text of its first character; never decreasing."""


class Tokenizer(Protocol):
    """Text to ids for one model. Text is only ever text: no marker in it acts as a control token."""

    @property
    def control(self) -> Mapping[str, int]:
        """Every control token of the model: name -> id."""
        ...

    @property
    def bos(self) -> tuple[int, ...]:
        """What the model's tokenizer itself puts before a plain text; empty for some models."""
        ...

    @property
    def ends(self) -> tuple[int, ...]:
        """The tokens with which the model ends a text."""
        ...

    def encode(self, text: str) -> Encoding:
        """Encode without special tokens; a control token's name in the text is encoded as text."""
        ...

    def name(self, token_id: int) -> str:
        """The token's own spelling in the vocabulary."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """The text of the ids."""
        ...

    def chat(self, turns: Sequence[tuple[str, str]]) -> str | None:
        """The model's chat template around (role, content) turns, ready for the answer; None if it refuses."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What a manipulation may know of a model, read from the model so that nobody types it."""

    tokenizer: Tokenizer
    d_model: int
    vocabulary: int
    """How many tokens its embedding has a row for."""
    layers: int
    kv_heads: int
    context_length: int
    """The most tokens that an input and its continuation may have together."""
    instruct: bool
    """Whether the model was trained on chat turns."""


class Model(Protocol):
    """A frozen model: what answers lists of requests."""

    name: str
    card: Card
    verbs: frozenset[str]
    """The names of the verbs that it answers: a subset of {"Score", "Read", "Generate"}."""
    hidden_states: bool
    """Whether `Read` gives them."""
    learned_vectors: bool
    """Whether prompts can contain learned vectors."""
    learned_layers: bool
    """Whether the layers accept learned keys, values and edits of hidden states."""

    def identity(self) -> Mapping[str, object]:
        """Everything about the model and its settings that determines a result; needs no weights."""
        ...

    def load(self) -> None:
        """Load the weights, if they are not yet; `answer` does so too."""
        ...

    def batches(self, requests: Sequence[Request]) -> Sequence[tuple[int, ...]]:
        """The indices of the requests that are computed together, in the order of `answer`."""
        ...

    def answer(
        self, requests: Sequence[Request], done: Collection[int] = frozenset()
    ) -> Iterator[tuple[tuple[int, ...], tuple[Output, ...]]]:
        """Yield (indices of requests, their outputs) a batch at a time.

        The batches depend on `requests` and the settings alone. Those whose requests are all in
        `done` are skipped; the others are computed whole.
        """
        ...

    def notes(self) -> Sequence[str]:
        """What the model had to do that a reader of the results should know, such as splitting a batch."""
        ...

    def embed(self, ids: Sequence[int]) -> Vectors:
        """Returns the embeddings of the tokens: used as learned vectors, they give the results of the tokens.

        Raises:
            Unsupported: The model does not support learned vectors.
        """
        ...

    def keys_values(self, ids: Sequence[int]) -> KVPrefix[Array]:
        """Returns the keys and values of the tokens at every layer: used as a prefix, they give the results of the tokens.

        Raises:
            Unsupported: The model does not support prefixes.
        """
        ...

    def close(self) -> None:
        """Releases memory and processes; the next request loads the weights again."""
        ...
