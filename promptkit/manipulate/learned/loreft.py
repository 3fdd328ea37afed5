"""LoReFT: hidden states changed within a learned subspace (Wu et al. 2024, 2404.03592, equation 2).

(learnable, hidden, parametric). h + R^T (W h + b - R h), where the rows of R are orthonormal: R is the Q of a learned matrix's
QR decomposition, its signs such that Q follows the matrix, so that R R^T = I holds at every step. W begins as R and b as
zero, which changes nothing. The first and last tokens of a prompt have one and the same edit (the paper's tied one).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, ClassVar

import numpy as np

from promptkit.core.arrays import Array, as_array, check_parameters, parameters_digest
from promptkit.core.errors import InputError
from promptkit.core.inputs import HiddenEdit, Interventions
from promptkit.core.manipulation import BindContext, InputTransform
from promptkit.core.model import Card
from promptkit.core.registry import parameters_field
from promptkit.core.seeding import generator
from promptkit.core.taxonomy import Kind
from promptkit.manipulate.learned.layers import UNITS, layers_at, resolved, scales, settle_layers

ROTATION, SOURCE, BIAS = "rotation", "source", "bias"
NAMES = (ROTATION, SOURCE, BIAS)
SHAPES = {ROTATION: "layers rank d_model", SOURCE: "layers rank d_model", BIAS: "layers rank"}


@dataclass(frozen=True)
class LoReFT:
    """A learned change of hidden states within a subspace of few dimensions."""

    rank: int = 4
    """The dimensions of the subspace."""
    _: KW_ONLY
    layers: tuple[int, ...] = ()
    """The layers behind which it stands, counted from 1, each with one of its own; all unless given."""
    first: int = 0
    """At so many of the prompt's first tokens, vectors of a soft prompt counted,"""
    last: int = 1
    """and at so many of its last ones."""
    seed: int = 0
    """Of the subspace that it begins with."""
    parameters: Mapping[str, Array] = parameters_field()
    """What was learned: `rotation` and `source`, (layers, rank, d_model), and `bias`, (layers, rank); nothing before that."""
    base: Mapping[str, str | int] = parameters_field()
    """The model that it was learned on."""

    name: ClassVar[str] = "loreft"
    kind: ClassVar[Kind] = Kind(format="learnable", location="hidden", operator="parametric")
    slots: ClassVar[Mapping[str, int]] = {}
    fixed_parameters: ClassVar[frozenset[str]] = frozenset({UNITS})
    context_tokens: ClassVar[int] = 0
    learning_rate: ClassVar[float] = 0.001

    def __post_init__(self) -> None:
        """Refuse what no such edit can be."""
        settle_layers(self)
        if self.rank < 1:
            raise InputError("The rank must be at least 1", code="out-of-range", got=f"rank={self.rank!r}", rank=self.rank)
        if min(self.first, self.last) < 0 or self.first + self.last < 1:
            raise InputError(
                "A loreft edit must apply to at least one of the prompt's first or last tokens",
                code="no-edited-token",
                got=f"first={self.first}, last={self.last}",
                first=self.first,
                last=self.last,
            )
        check_parameters("a loreft edit", self.parameters, SHAPES, rank=self.rank, layers=len(self.layers))

    def settings(self) -> Mapping[str, object]:
        """Where, of which rank, and what: by content once it is learned."""
        told = {"sha256": parameters_digest(self.parameters)} if self.parameters else {"seed": self.seed}
        where = {"layers": list(self.layers), "first": self.first, "last": self.last}
        return {"name": self.name, "rank": self.rank, **where, **told}

    def bind(self, bind_context: BindContext) -> InputTransform:
        """What puts the edits into a prompt."""
        card = bind_context.ask.card
        layers_at(self.layers, card)
        held = [self.parameters[name].numpy() for name in NAMES] if self.parameters else self._start(card)
        edits = self._edits([[as_array(row) for row in each] for each in held])
        return lambda prompt: replace(prompt, edits=(*prompt.edits, *edits))

    def _edits(self, held: Any) -> tuple[HiddenEdit[Any], ...]:
        layers = self.layers or range(1, len(held[0]) + 1)
        made = zip(layers, *held, strict=True)
        return tuple(
            HiddenEdit(layer=layer, operation="low_rank", first=self.first, last=self.last, arrays=tuple(arrays))
            for layer, *arrays in made
        )

    def _start(self, card: Card) -> list[Any]:
        """Rows by chance, orthonormal; W as R; and no bias."""
        count = len(layers_at(self.layers, card))
        if self.rank > card.d_model:
            raise InputError(
                "The rank must not exceed the width of the hidden states",
                code="rank-too-large",
                got=f"rank={self.rank}, and the hidden states have {card.d_model} dimensions",
                rank=self.rank,
                d_model=card.d_model,
            )
        rows = np.linalg.qr(generator("low_rank", self.seed).normal(size=(count, card.d_model, self.rank))).Q.swapaxes(1, 2)
        return [rows, rows, np.zeros((count, self.rank))]

    # ---- training ---------------------------------------------------------------------------------

    def interventions(self, trained: Mapping[str, Any]) -> Interventions[Any]:
        """The edits."""
        made = self._made(trained)
        return Interventions(edits=self._edits([made[name] for name in NAMES]))

    def with_parameters(self, trained: Mapping[str, Array], base: Mapping[str, str | int]) -> LoReFT:
        """The same edit once it has been trained."""
        return replace(self, parameters=resolved(trained, self._made), base=dict(base))

    def _made(self, trained: Mapping[str, Any]) -> Mapping[str, Any]:
        import torch

        q, r = torch.linalg.qr(trained[ROTATION].transpose(1, 2))
        signs = torch.where(r.diagonal(dim1=1, dim2=2) < 0, -1.0, 1.0)
        rotation = (q * signs[:, None]).transpose(1, 2)
        return {ROTATION: rotation, SOURCE: trained[SOURCE], BIAS: trained[BIAS] * trained[UNITS][:, None]}

    def initial_parameters(self, bind_context: BindContext) -> Mapping[str, Array]:
        """What was learned, or what changes nothing; the bias in units of the layer's hidden states."""
        card = bind_context.ask.card
        units = scales(bind_context.ask, layers_at(self.layers, card))
        start = [self.parameters[name].numpy() for name in NAMES] if self.parameters else self._start(card)
        start[2] = start[2] / units[:, None]
        return {**{name: as_array(numbers) for name, numbers in zip(NAMES, start, strict=True)}, UNITS: as_array(units)}
