"""Protocols of manipulations, which turn rows into model inputs. The package `manipulate` implements them.

A manipulation has two stages. The first one is bound to an `Encode`, which makes the input of each row (a prompt; an image
processor). Each modifier after it is bound to a `Transform`, which changes an input or adds interventions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, Self, runtime_checkable

from promptkit.core.arrays import Array
from promptkit.core.capabilities import Feature
from promptkit.core.examples import Example, LabeledExample, Part
from promptkit.core.fingerprints import Fingerprint
from promptkit.core.interventions import Interventions, KVPrefix
from promptkit.core.model import ModelCard
from promptkit.core.output_reader import OutputReader
from promptkit.core.rendered import Rendered
from promptkit.core.requests import Output, Prepared, Request
from promptkit.core.taxonomy import Kind

if TYPE_CHECKING:
    from torch import Tensor

Transform = Callable[[Prepared], Prepared]
"""Modifies what a model reads for one row: the input, the interventions, or both."""
Embed = Callable[[Sequence[int]], "Tensor"]
"""The token embedding of a model: token ids -> a tensor of shape (tokens, d_model)."""


def unchanged(prepared: Prepared) -> Prepared:
    """Returns its argument."""
    return prepared


@runtime_checkable
class Ask(Protocol):
    """A model that manipulations may query while they render prompts. Equal requests are computed once."""

    @property
    def card(self) -> ModelCard:
        """The properties of the model."""
        ...

    def __call__(self, requests: Sequence[Request]) -> list[Output]:
        """Returns the outputs in the order of the requests. Pass many requests at once: they are computed in full batches."""
        ...

    def embed(self, ids: Sequence[int]) -> Array:
        """Returns the embeddings of tokens, shape (tokens, d_model).

        Raises:
            Unsupported: The model does not accept learned vectors.
        """
        ...

    def keys_values(self, ids: Sequence[int]) -> KVPrefix[Array]:
        """Returns the keys and values that the model's layers compute for tokens at the start of an input.

        Raises:
            Unsupported: The model does not accept learned keys and values.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BindContext:
    """What a manipulation may use when it is bound to one task and one model."""

    ask: Ask
    """The model that will read the prompts."""
    reader: OutputReader
    """How the model's output will be read: which words are scored, or how much text is generated."""
    rows: Mapping[Part, Sequence[LabeledExample]] = field(default_factory=dict)
    """The rows of each part that the manipulation lists in `parts`."""
    other_models: Mapping[str, Ask] = field(default_factory=dict)
    """The models that the manipulation lists in `models`, by name."""
    transform: Transform = unchanged
    """Applied to every prompt that the manipulation sends to the model while it is bound. Final prompts are changed later."""
    scores_end: bool = False
    """Whether an answer is scored with the text that ends it: the separator between examples, or the end of a chat turn."""


@runtime_checkable
class Manipulation(Protocol):
    """A function from rows to prompts, before it is bound to a task and a model."""

    @property
    def kind(self) -> Kind:
        """Its coordinates in the taxonomy."""
        ...

    @property
    def requires(self) -> frozenset[Feature]:
        """What a model must support to read its inputs: their modality."""
        ...

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts of the train split that it uses. If there are none, the task needs no train split."""
        ...

    @property
    def models(self) -> tuple[str, ...]:
        """The names of other models that it queries, such as a sentence encoder."""
        ...

    @property
    def slots(self) -> Mapping[str, int]:
        """The slots of its template that modifiers must fill: name -> number of learned vectors. Usually empty."""
        ...

    @property
    def modifiers(self) -> tuple[Modifier, ...]:
        """The modifiers that are applied to its prompts, in order. Empty for a prompt without modifiers."""
        ...

    @property
    def fitted_on(self) -> frozenset[Fingerprint]:
        """The labeled rows that it contains or was trained on, which no evaluation may use. Usually empty."""
        ...

    def settings(self) -> Mapping[str, object]:
        """Returns everything about it that determines a result, as JSON values."""
        ...

    @property
    def variables(self) -> frozenset[str]:
        """The variables that it shows of a row without its answer."""
        ...

    def bind(self, bind_context: BindContext) -> Encode:
        """Returns the manipulation for one task and one model. Searches and fits run once, in this call."""
        ...

    def fit(self, bind_context: BindContext) -> Manipulation:
        """Returns a manipulation that makes the same inputs for new rows and contains the rows that it uses.

        The `parts` of the result are empty, so that it can be bound without a task.
        """
        ...


class Encode(Protocol):
    """The encode stage, bound to a task and a model. The input of a row does not depend on the other rows of a call."""

    def __call__(self, examples: Sequence[Example], *, context_of: Sequence[Example] | None = None) -> list[Rendered]:
        """Returns the prompt of each row.

        Args:
            examples: The rows. Pass many at once, so that models are queried in full batches.
            context_of: One row for each of `examples`, whose demonstrations are used instead of the example's.
        """
        ...

    def premise(self, example: Example) -> Rendered:
        """Returns the end of a row's prompt: only what follows the row's inputs, without instruction and demonstrations."""
        ...


@runtime_checkable
class Modifier(Protocol):
    """Modifies an encoded prompt, for example by inserting learned vectors. Listed after the prompt in a predictor."""

    @property
    def name(self) -> str:
        """Its name on the command line."""
        ...

    @property
    def kind(self) -> Kind:
        """Its coordinates in the taxonomy."""
        ...

    @property
    def requires(self) -> frozenset[Feature]:
        """What a model must support: the modality that it modifies, if it is for only one, and its interventions."""
        ...

    @property
    def slots(self) -> Mapping[str, int]:
        """The slots of the prompt's template that it fills: name -> number of vectors."""
        ...

    @property
    def context_tokens(self) -> int:
        """How many tokens of the model's context it takes up."""
        ...

    @property
    def base(self) -> Mapping[str, str | int]:
        """The identity of the model that it was trained on; empty if it was not trained."""
        ...

    @property
    def fitted_on(self) -> frozenset[Fingerprint]:
        """The labeled rows that it was trained on or selected by; empty if it was not trained."""
        ...

    def settings(self) -> Mapping[str, object]:
        """Returns everything about it that determines a result, as JSON values."""
        ...

    def bind(self, bind_context: BindContext) -> Transform:
        """Returns the modifier for one task and one model, as a function of a single prompt."""
        ...


@runtime_checkable
class Learnable(Modifier, Protocol):
    """A modifier whose parameters are trained while the model stays frozen.

    Instances are immutable values: training returns a copy with new parameters.
    """

    @property
    def parameters(self) -> Mapping[str, Array]:
        """The trained parameters by name; empty before training."""
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
        """The names of the initial parameters that training leaves unchanged, such as scales of other parameters."""
        ...

    def initial_parameters(self, bind_context: BindContext) -> Mapping[str, Array]:
        """Returns the parameters that training starts from: the trained ones, if there are any."""
        ...

    def interventions(self, trained: Mapping[str, Tensor], embed: Embed) -> Interventions[Tensor]:
        """Returns the interventions of a forward pass, as a differentiable function of the parameters.

        Args:
            trained: A torch tensor for each of the initial parameters, by name.
            embed: The model's token embedding, for discrete parameters: token ids -> tensor of shape (tokens, d_model).
        """
        ...

    def differentiable_form(self, bind_context: BindContext) -> Learnable:
        """Returns an equivalent manipulation that gradients flow through; the manipulation itself unless it is discrete."""
        ...

    def describe(self, card: ModelCard) -> Mapping[str, object]:
        """Returns a readable form of the trained parameters for reports, such as the text of tokens; empty by default."""
        ...

    def with_parameters(
        self, trained: Mapping[str, Array], base: Mapping[str, str | int], fitted_on: frozenset[Fingerprint] = frozenset()
    ) -> Self:
        """Returns a copy with trained parameters.

        Args:
            trained: The parameters by name, as `initial_parameters` names them.
            base: The identity of the model that they were trained on.
            fitted_on: The labeled rows that they were trained on or selected by.
        """
        ...
