"""What manipulations need and give: the interfaces that their implementations in `manipulate/` keep. Without behavior."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self, runtime_checkable

from promptkit.core.alignment import OutputReader
from promptkit.core.arrays import Array
from promptkit.core.examples import Example, LabeledExample, Part
from promptkit.core.inputs import Interventions, KVPrefix, TextInput, Vectors
from promptkit.core.model import Card, Tokenizer
from promptkit.core.rendered import Rendered
from promptkit.core.requests import Output, Request
from promptkit.core.taxonomy import Kind

InputTransform = Callable[[TextInput], TextInput]
"""What a change does to a prompt."""
Embed = Callable[[Sequence[int]], Any]
"""The token embedding of a model: token ids -> a tensor of shape (tokens, d_model)."""


def unchanged(prompt: TextInput) -> TextInput:
    """The prompt as it is."""
    return prompt


class Ask(Protocol):
    """Puts requests to a model. What it has answered before it is not asked again."""

    @property
    def card(self) -> Card:
        """The model's own."""
        ...

    def __call__(self, requests: Sequence[Request]) -> list[Output]:
        """The answers in the order of the requests, which are computed in full batches: ask all that is known at once."""
        ...

    def embed(self, ids: Sequence[int]) -> Vectors:
        """What the model's embedding gives these tokens; raises Unsupported if it reads no learned vectors."""
        ...

    def keys_values(self, ids: Sequence[int]) -> KVPrefix[Array]:
        """What the model's layers hold of these tokens; raises Unsupported if they take no learned keys and values."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BindContext:
    """What a manipulation may see and ask."""

    ask: Ask
    """The model that will read what the manipulation makes."""
    reading: OutputReader
    """How its output will be read: which words are scored, or how much is written."""
    rows: Mapping[Part, Sequence[LabeledExample]] = field(default_factory=dict)
    """The parts that the manipulation has named."""
    others: Mapping[str, Ask] = field(default_factory=dict)
    """The other models that the manipulation has named."""
    put: InputTransform = unchanged
    """What is done to a prompt that the model is asked while prompts are made; to those that are made it is done after."""
    ends: bool = False
    """Whether an answer is scored to where a text of the model's would end: what separates examples, or the end of a turn."""


@runtime_checkable
class Manipulation(Protocol):
    """A change of what goes into the model; `bind` gives it what it may see and ask."""

    @property
    def kind(self) -> Kind:
        """Where it stands in the taxonomy."""
        ...

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts of the train split that it uses; one that uses none can do without a train split."""
        ...

    @property
    def models(self) -> tuple[str, ...]:
        """The names of other models that it asks, such as a sentence encoder."""
        ...

    def settings(self) -> Mapping[str, object]:
        """Everything about it that determines a result."""
        ...

    def bind(self, bind_context: BindContext) -> Apply:
        """The manipulation for one task and one model; what is searched or fitted once is, here."""
        ...


class Apply(Protocol):
    """A bound manipulation: a function of each row alone, of many rows at a time so that a model is asked in full batches."""

    def __call__(self, examples: Sequence[Example], *, context_of: Sequence[Example] | None = None) -> list[Rendered]:
        """What the model reads for each row, in the context of the row itself or of the one at its place in `like`."""
        ...

    def premise(self, example: Example) -> Rendered:
        """The prompt's end alone: what stands behind the row's inputs, without them, instruction and demonstrations."""
        ...


@runtime_checkable
class Modifier(Protocol):
    """A change of what a prompt has come to, such as learned vectors among its tokens. In a list it stands behind it."""

    @property
    def name(self) -> str:
        """Its spelling."""
        ...

    @property
    def kind(self) -> Kind:
        """Where it stands in the taxonomy."""
        ...

    @property
    def slots(self) -> Mapping[str, int]:
        """The slots of the prompt's template that it fills: name -> how many vectors."""
        ...

    @property
    def context_tokens(self) -> int:
        """Tokens of the model's context that it takes."""
        ...

    def settings(self) -> Mapping[str, object]:
        """Everything about it that determines a result."""
        ...

    def bind(self, bind_context: BindContext) -> InputTransform:
        """The change for one task and one model: a function of each row's prompt alone."""
        ...


@runtime_checkable
class Learnable(Modifier, Protocol):
    """A modifier whose parameters are trained while the model stays frozen.

    A learnable manipulation is an immutable value: training returns a copy with new parameters.
    """

    @property
    def parameters(self) -> Mapping[str, Array]:
        """The trained parameters by name; empty before training."""
        ...

    @property
    def base(self) -> Mapping[str, str | int]:
        """The identity of the model that the parameters were trained on; empty before training."""
        ...

    @property
    def is_discrete(self) -> bool:
        """Whether the parameters are token ids, which are searched, instead of real numbers."""
        ...

    @property
    def learning_rate(self) -> float | None:
        """The default peak learning rate for gradient descent; None for discrete parameters."""
        ...

    @property
    def fixed_parameters(self) -> frozenset[str]:
        """The names of the initial parameters that training leaves unchanged, such as the units of the others."""
        ...

    def initial_parameters(self, bind_context: BindContext) -> Mapping[str, Array]:
        """Returns the parameters that training starts from: the trained ones, if there are any."""
        ...

    def interventions(self, trained: Mapping[str, Any], embed: Embed) -> Interventions[Any]:
        """Returns what the model's forward pass reads, as a differentiable function of the parameters.

        Args:
            trained: A tensor for each of the initial parameters.
            embed: The model's token embedding, for discrete parameters: token ids -> tensor of shape (tokens, d_model).
        """
        ...

    def differentiable_form(self, bind_context: BindContext) -> Learnable:
        """Returns an equivalent manipulation that gradients flow through; the manipulation itself unless it is discrete."""
        ...

    def describe(self, tokenizer: Tokenizer) -> Mapping[str, object]:
        """Returns a readable form of the trained parameters for reports, such as the text of tokens; empty by default."""
        ...

    def with_parameters(self, trained: Mapping[str, Array], base: Mapping[str, str | int]) -> Self:
        """Returns a copy with the trained parameters.

        Args:
            trained: An array for each of the initial parameters.
            base: The identity of the model that they were trained on.
        """
        ...
