"""Hidden states of a layer, read for every row at the answer slot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self, cast

from promptkit.core.capabilities import Feature
from promptkit.core.errors import InputError
from promptkit.core.need_context import NeedContext, Problem, Reads, RowRead
from promptkit.core.needs import RowNeed, Stored
from promptkit.core.requests import Read
from promptkit.core.state import stateful

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats

Layer = int | float
"""A layer, counted as in `Read.hidden_layer`. For a language model, 0 is the embedding and -1 the normalized output of the last
layer. For an image classifier, it is an index into the layers of its card, and -1 is the pooled features that it predicts from.
A number between 0 and 1 is a share of the depth: 0.5 is the layer half-way."""
LAYERS: tuple[Layer, ...] = (0.6, -1)
"""Candidate layers for hidden-state probes; the layer is chosen by cross-validation on the labeled rows. Which one is better
depends on the task (`benchmarks/alignment_learned`)."""


@stateful("hidden-state")
@dataclass(frozen=True, slots=True)
class HiddenState(RowNeed[None]):
    """The hidden state of a layer for every row, shape (rows, width). Its value in `FitData` is None.

    For a language model it is read at the answer slot; for an image classifier it is averaged over the positions of the image.
    """

    layer: Layer

    kind: ClassVar[str] = "hidden states"
    features: ClassVar[frozenset[Feature]] = frozenset({"hidden_states"})
    at_answer_slot: ClassVar[bool] = True

    @classmethod
    def reads(cls, needs: Sequence[Self], need_context: NeedContext) -> Reads:
        """Reads each layer once."""
        card = need_context.ask.card
        layers = sorted({need.layer for need in needs})
        numbers = {layer: layer_number(layer, card.depth) for layer in layers}
        rows = [
            RowRead(tensor=_tensor(layer), verb=Read(hidden_layer=number), field="hidden", width=card.state_width(number))
            for layer, number in numbers.items()
        ]
        return Reads(metadata={"layers": layers}, rows=rows)

    def load(self, stored: Stored) -> None:
        """Returns None."""

    def load_rows(self, stored: Stored, records: Sequence[str]) -> Floats:
        """Returns the hidden states of rows."""
        return stored.tensor(_tensor(self.layer))[stored.positions(records)].astype(float)

    def missing(self, stored: Stored) -> Problem | None:
        """Returns a problem if the layer was not read."""
        if self.layer in cast("Sequence[Layer]", stored.metadata.get("layers", ())):
            return None
        return Problem(code="missing-hidden-states", text=f"hidden states of layer {self.layer}", fields={"layer": self.layer})


def candidate_states(layer: Layer | None) -> tuple[HiddenState, ...]:
    """Returns the need for a layer, or for each of `LAYERS` if the layer is chosen by cross-validation."""
    return tuple(map(HiddenState, LAYERS if layer is None else (layer,)))


def _tensor(layer: Layer) -> str:
    return f"hidden {layer}"


def layer_number(layer: Layer, depth: int) -> int:
    """Returns the number of a layer in a model.

    Args:
        layer: The layer.
        depth: The number of the model's last layer.

    Raises:
        InputError: If there is no such layer (`unknown-layer`).
    """
    if isinstance(layer, float) and 0 < layer < 1:
        return min(depth, max(1, round(layer * depth)))
    if isinstance(layer, float) or not -depth - 1 <= layer <= depth:
        raise InputError(
            f"The model has no layer {layer}",
            code="unknown-layer",
            hint=f"0 is the embedding, or the first layer of an image classifier, {depth} is the last layer, -1 is what the "
            "model predicts from, and a number between 0 and 1, such as 0.5, is a fraction of the depth",
            layer=layer,
            model_layers=depth,
        )
    return layer
