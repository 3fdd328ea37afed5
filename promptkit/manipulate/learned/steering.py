"""A vector in the residual stream: steering, and the mean states of demonstrations (Todd et al. 2023, 2310.15213).

(learnable, hidden, additive). It is trained from zero, or told by `extract_steering_vector` of what a model holds behind
demonstrations; in the place of the state it is a task vector (Hendel et al. 2023, 2310.15916). That is trained from a mean
state: at zero a norm is so steep that the first gradient outweighs all others in Adam's running means.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from promptkit.core.arrays import Array, as_array, check_parameters, parameters_digest
from promptkit.core.errors import InputError
from promptkit.core.inputs import HiddenEdit, Interventions
from promptkit.core.manipulation import Ask, BindContext, InputTransform
from promptkit.core.registry import parameters_field
from promptkit.core.taxonomy import Kind
from promptkit.manipulate.learned.layers import UNITS, layers_at, resolved, scales, settle_layers, states

At = Literal["last", "all"]
Operation = Literal["add", "replace"]
VECTORS = "vectors"


@dataclass(frozen=True)
class SteeringVector:
    """A vector that is added to the hidden state behind a layer, or stands in its place."""

    layers: tuple[int, ...] = ()
    """The layers, counted from 1, each with a vector of its own; all unless given."""
    _: KW_ONLY
    at: At = "last"
    """At the prompt's `last` token, or at `all`, those of labels and written texts too."""
    operation: Operation = "add"
    """`add`, or `replace`, which is of one layer."""
    parameters: Mapping[str, Array] = parameters_field()
    """What was learned: `vectors`, of shape (layers, d_model); before that they are zero, which when added changes nothing, or
    the mean state behind common tokens, where they replace."""
    base: Mapping[str, str | int] = parameters_field()
    """The model that it was learned on."""

    name: ClassVar[str] = "steering"
    kind: ClassVar[Kind] = Kind(format="learnable", location="hidden", operator="additive")
    slots: ClassVar[Mapping[str, int]] = {}
    fixed_parameters: ClassVar[frozenset[str]] = frozenset({UNITS})
    context_tokens: ClassVar[int] = 0
    learning_rate: ClassVar[float] = 0.02
    """In the units of a layer's hidden states."""

    def __post_init__(self) -> None:
        """Refuse what no shift can be."""
        settle_layers(self)
        if self.operation == "replace" and len(self.layers) != 1:
            raise InputError(
                "A shift that replaces a hidden state must have exactly one layer",
                code="needs-one-layer",
                got=f"{len(self.layers)} layers",
                hint="Write layers=9",
                layers=self.layers,
            )
        check_parameters("a shift", self.parameters, {VECTORS: "layers d_model"}, layers=len(self.layers))

    def settings(self) -> Mapping[str, object]:
        """Where, how, and what: by content once it is learned."""
        told = {"sha256": parameters_digest(self.parameters)} if self.parameters else {}
        return {"name": self.name, "layers": list(self.layers), "at": self.at, "operation": self.operation, **told}

    def bind(self, bind_context: BindContext) -> InputTransform:
        """What puts the vectors into a prompt."""
        edits = self._edits([as_array(vector) for vector in self._start(bind_context.ask)])
        return lambda prompt: replace(prompt, edits=(*prompt.edits, *edits))

    def _edits(self, vectors: Any) -> tuple[HiddenEdit[Any], ...]:
        layers = self.layers or range(1, len(vectors) + 1)
        where: dict[str, Any] = {"all_positions": True} if self.at == "all" else {"last": 1}
        pairs = zip(layers, vectors, strict=True)
        return tuple(HiddenEdit(layer=layer, operation=self.operation, arrays=(vector,), **where) for layer, vector in pairs)

    # ---- training ---------------------------------------------------------------------------------

    def interventions(self, trained: Mapping[str, Any]) -> Interventions[Any]:
        """The vectors."""
        return Interventions(edits=self._edits(self._made(trained)[VECTORS]))

    def with_parameters(self, trained: Mapping[str, Array], base: Mapping[str, str | int]) -> SteeringVector:
        """The same shift once it has been trained."""
        return replace(self, parameters=resolved(trained, self._made), base=dict(base))

    def _made(self, trained: Mapping[str, Any]) -> Mapping[str, Any]:
        return {VECTORS: trained[VECTORS] * trained[UNITS][:, None]}

    def initial_parameters(self, bind_context: BindContext) -> Mapping[str, Array]:
        """The vectors in units of their layers: what was learned, or what they begin as."""
        start, ask = self._start(bind_context.ask), bind_context.ask
        units = scales(ask, layers_at(self.layers, ask.card))
        return {VECTORS: as_array(start / units[:, None]), UNITS: as_array(units)}

    def _start(self, ask: Ask) -> Any:
        layers = layers_at(self.layers, ask.card)
        if self.parameters:
            return self.parameters[VECTORS].numpy()
        return states(ask, layers).mean(1) if self.operation == "replace" else np.zeros((len(layers), ask.card.d_model))
