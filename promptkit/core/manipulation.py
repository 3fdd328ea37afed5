"""What manipulations need and give: the interfaces that their implementations in `manipulate/` keep. Without behavior."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self, runtime_checkable

from promptkit.core.alignment import OutputReader
from promptkit.core.arrays import Array
from promptkit.core.examples import Example, LabeledExample, Part
from promptkit.core.inputs import Interventions, KVPrefix, TextInput, Vectors
from promptkit.core.model import Card
from promptkit.core.rendered import Rendered
from promptkit.core.requests import Output, Request
from promptkit.core.taxonomy import Kind

InputTransform = Callable[[TextInput], TextInput]
"""What a change does to a prompt."""


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

    @property
    def slots(self) -> Mapping[str, int]:
        """The template's slots that modifiers must fill: name -> number of vectors."""
        ...

    @property
    def modifiers(self) -> tuple[Modifier, ...]:
        """The modifiers of the prompt, in order; none for a prompt alone."""
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
    """A change that is trained: a value of its parameters."""

    @property
    def parameters(self) -> Mapping[str, Array]:
        """Name -> what was learned; nothing before that."""
        ...

    @property
    def base(self) -> Mapping[str, str | int]:
        """The model that it was learned on."""
        ...

    @property
    def learning_rate(self) -> float | None:
        """What suits it along gradients, unless another is asked for; None where it is not learned along them."""
        ...

    @property
    def fixed_parameters(self) -> frozenset[str]:
        """Of what `begun` gives, the names of what no step changes: the units that the rest is counted in."""
        ...

    def initial_parameters(self, bind_context: BindContext) -> Mapping[str, Array]:
        """What is trained, as it stands before: from what was learned, if anything was."""
        ...

    def interventions(self, trained: Mapping[str, Any]) -> Interventions[Any]:
        """What a forward reads, as a differentiable function of tensors of what is trained."""
        ...

    def with_parameters(self, trained: Mapping[str, Array], base: Mapping[str, str | int]) -> Self:
        """The change with the parameters that were come to."""
        ...
