"""Hidden states of a layer, read of every row at the answer slot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self, cast

from promptkit.core.asking import Asking, Problem, ReadKind, Reads, RowRead
from promptkit.core.errors import InputError
from promptkit.core.needs import RowNeed, Stored
from promptkit.core.requests import Read

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats

Layer = int | float
"""A layer, counted as in `Read.hidden_layer`: 0 is the embedding, -1 the normalized output of the last layer. A number between
0 and 1 is a share of the depth: 0.5 is the layer half-way."""
LAYERS: tuple[Layer, ...] = (0.6, -1)
"""Candidate layers for hidden-state probes; the layer is chosen by cross-validation on the labeled rows. Which one is better
depends on the task (`benchmarks/alignment_learned`)."""


@dataclass(frozen=True, slots=True)
class HiddenState(RowNeed[None]):
    """The hidden state of a layer for every row, shape (rows, d_model). It has no value apart from the rows."""

    layer: Layer

    kind: ClassVar[str] = "hidden states"
    reads_of: ClassVar[frozenset[ReadKind]] = frozenset({"answer slot", "hidden states"})

    @classmethod
    def reads(cls, needs: Sequence[Self], asking: Asking) -> Reads:
        """Reads each layer once."""
        card = asking.ask.card
        layers = sorted({need.layer for need in needs})
        numbers = {layer: layer_number(layer, card.depth) for layer in layers}
        rows = [
            RowRead(tensor=_tensor(layer), verb=Read(hidden_layer=number), field="hidden", width=card.state_width(number))
            for layer, number in numbers.items()
        ]
        return Reads(metadata={"layers": layers}, rows=rows)

    def load(self, stored: Stored) -> None:
        """Returns nothing."""

    def load_rows(self, stored: Stored, records: Sequence[str]) -> Floats:
        """Returns the hidden states of rows."""
        return stored.tensor(_tensor(self.layer))[stored.positions(records)].astype(float)

    def missing(self, stored: Stored) -> Problem | None:
        """Returns a problem if the layer was not read."""
        if self.layer in cast("Sequence[Layer]", stored.metadata.get("layers", ())):
            return None
        return Problem(code="missing-hidden-states", text=f"hidden states of layer {self.layer}", fields={"layer": self.layer})


def _tensor(layer: Layer) -> str:
    return f"hidden {layer}"


def layer_number(layer: Layer, layers: int) -> int:
    """Returns the number of a layer in a model with this many layers.

    Raises:
        InputError: If there is no such layer (`unknown-layer`).
    """
    if isinstance(layer, float) and 0 < layer < 1:
        return max(1, round(layer * layers))
    if isinstance(layer, float) or not -layers - 1 <= layer <= layers:
        raise InputError(
            f"The model has no layer {layer}",
            code="unknown-layer",
            hint=f"0 is the embedding, 1 to {layers} are the layers, -1 is the normalized output of the last layer, and a "
            "number between 0 and 1, such as 0.5, is a fraction of the depth",
            layer=layer,
            model_layers=layers,
        )
    return layer
