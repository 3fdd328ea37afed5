"""Steering vectors: vectors added to the residual stream (Todd et al. 2023, arXiv:2310.15213), or replacing it.

A steering vector is trained from zero, or computed by `extract_steering_vector` from the hidden states after demonstrations.
A vector that replaces the state is a task vector (Hendel et al. 2023, arXiv:2310.15916). Training starts a task vector from a
mean state: near zero a layer norm is so steep that the first gradient would dominate Adam's running averages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from promptkit.core.capabilities import Feature
from promptkit.core.errors import InputError
from promptkit.core.interventions import HiddenEdit, T
from promptkit.core.manipulation import Ask
from promptkit.core.model import text_card
from promptkit.core.taxonomy import Kind
from promptkit.manipulate.learned.edits import EditManipulation
from promptkit.manipulate.learned.layers import common_states, layers_at

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats

At = Literal["last", "all"]
Operation = Literal["add", "replace"]
VECTORS = "vectors"


@dataclass(frozen=True, slots=True)
class SteeringVector(EditManipulation):
    """Adds a learned vector to the hidden state after a layer, or replaces the state with it.

    Its parameter is `vectors`, of shape (layers, d_model). Before training they are zero, or for `replace` the mean state
    after common tokens.
    """

    layers: tuple[int, ...] = ()
    """The layers, counted from 1, with one vector each; all layers by default."""
    _: KW_ONLY
    at: At = "last"
    """The tokens it applies to: the `last` token of the prompt, or `all` tokens, including continuations and generated ones."""
    operation: Operation = "add"
    """`add` to the hidden state, or `replace` it, which needs exactly one layer."""

    name: ClassVar[str] = "steering"
    kind: ClassVar[Kind] = Kind(format="learnable", location="hidden", operator="additive")
    requires: ClassVar[frozenset[Feature]] = frozenset({"text", "edits"})
    title: ClassVar[str] = "a steering vector"
    shapes: ClassVar[Mapping[str, str]] = {VECTORS: "layers d_model"}
    scaled_parameter: ClassVar[str] = VECTORS

    @property
    def learning_rate(self) -> float:
        """The default peak learning rate, in units of a layer's hidden states."""
        return 0.02

    def _check_options(self) -> None:
        if self.operation == "replace" and len(self.layers) != 1:
            raise InputError(
                "A steering vector that replaces the hidden state must have exactly one layer",
                code="needs-one-layer",
                got=f"{len(self.layers)} layers",
                hint="Write layers=9",
                layers=self.layers,
            )

    def _placement_settings(self) -> Mapping[str, object]:
        return {"layers": list(self.layers), "at": self.at, "operation": self.operation}

    def _initial_settings(self) -> Mapping[str, object]:
        return {}

    def _edit(self, layer: int, arrays: tuple[T, ...]) -> HiddenEdit[T]:
        everywhere = self.at == "all"
        last = 0 if everywhere else 1
        return HiddenEdit(layer=layer, operation=self.operation, arrays=arrays, all_positions=everywhere, last=last)

    def _untrained(self, ask: Ask) -> Mapping[str, Floats]:
        layers = layers_at(self.layers, text_card(ask.card))
        if self.operation == "replace":
            return {VECTORS: common_states(ask, layers).mean(1)}
        return {VECTORS: np.zeros((len(layers), text_card(ask.card).d_model))}
