"""LoReFT: edits hidden states within a learned low-rank subspace (Wu et al. 2024, arXiv:2404.03592, equation 2).

    h + R^T (W h + b - R h)

The rows of R are orthonormal: R is the Q factor of a QR decomposition of a learned matrix, with signs chosen so that it is a
continuous function of that matrix. W is initialized as R and b as zero, which leaves the hidden states unchanged. The first
and last tokens of a prompt share one edit, the paper's tied variant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from promptkit.core.capabilities import Feature
from promptkit.core.errors import InputError
from promptkit.core.interventions import HiddenEdit, T
from promptkit.core.manipulation import Ask
from promptkit.core.model import text_card
from promptkit.core.seeding import generator
from promptkit.core.taxonomy import Kind
from promptkit.manipulate.learned.edits import EditManipulation
from promptkit.manipulate.learned.layers import LayerManipulation, layers_at

if TYPE_CHECKING:
    from torch import Tensor

    from promptkit.core.arrays import Floats

ROTATION, SOURCE, BIAS = "rotation", "source", "bias"


@dataclass(frozen=True, slots=True)
class LoReFT(EditManipulation):
    """Edits hidden states within a learned subspace of few dimensions (Wu et al. 2024, arXiv:2404.03592).

    Its parameters are `rotation` and `source`, of shape (layers, rank, d_model), and `bias`, of shape (layers, rank).
    """

    rank: int = 4
    """The number of dimensions of the subspace."""
    _: KW_ONLY
    first: int = 0
    """The number of tokens at the start of the prompt that are edited; vectors of a soft prompt count as tokens."""
    last: int = 1
    """The number of tokens at the end of the prompt that are edited."""
    seed: int = 0
    """The seed of the initial subspace."""

    name: ClassVar[str] = "loreft"
    kind: ClassVar[Kind] = Kind(format="learnable", location="hidden", operator="parametric")
    requires: ClassVar[frozenset[Feature]] = frozenset({"text", "edits"})
    title: ClassVar[str] = "a LoReFT edit"
    shapes: ClassVar[Mapping[str, str]] = {ROTATION: "layers rank d_model", SOURCE: "layers rank d_model", BIAS: "layers rank"}
    scaled_parameter: ClassVar[str] = BIAS

    @property
    def learning_rate(self) -> float:
        """The default peak learning rate."""
        return 0.001

    def _check_options(self) -> None:
        if self.rank < 1:
            raise InputError("The rank must be at least 1", code="out-of-range", got=f"rank={self.rank!r}", rank=self.rank)
        if min(self.first, self.last) < 0 or self.first + self.last < 1:
            raise InputError(
                "A LoReFT edit must apply to at least one of the prompt's first or last tokens",
                code="no-edited-token",
                got=f"first={self.first}, last={self.last}",
                first=self.first,
                last=self.last,
            )

    def _sizes(self) -> Mapping[str, int]:
        return {**LayerManipulation._sizes(self), "rank": self.rank}

    def _placement_settings(self) -> Mapping[str, object]:
        return {"rank": self.rank, "layers": list(self.layers), "first": self.first, "last": self.last}

    def _initial_settings(self) -> Mapping[str, object]:
        return {"seed": self.seed}

    def _edit(self, layer: int, arrays: tuple[T, ...]) -> HiddenEdit[T]:
        return HiddenEdit(layer=layer, operation="low_rank", first=self.first, last=self.last, arrays=arrays)

    def _untrained(self, ask: Ask) -> Mapping[str, Floats]:
        count, d_model = len(layers_at(self.layers, text_card(ask.card))), text_card(ask.card).d_model
        if self.rank > d_model:
            raise InputError(
                "The rank must not exceed the width of the hidden states",
                code="rank-too-large",
                got=f"rank={self.rank}, and the hidden states have {d_model} dimensions",
                rank=self.rank,
                d_model=d_model,
            )
        rows: Floats = np.linalg.qr(generator("low_rank", self.seed).normal(size=(count, d_model, self.rank))).Q.swapaxes(1, 2)
        return {ROTATION: rows, SOURCE: rows, BIAS: np.zeros((count, self.rank))}

    def _in_model_units(self, trained: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return {**EditManipulation._in_model_units(self, trained), ROTATION: _orthonormal_rows(trained[ROTATION])}


def _orthonormal_rows(matrices: Tensor) -> Tensor:
    """Returns orthonormal bases of the rows of each matrix, as a differentiable function; shape (layers, rank, d_model)."""
    import torch

    q, r = torch.linalg.qr(matrices.transpose(1, 2))
    signs = torch.where(r.diagonal(dim1=1, dim2=2) < 0, -1.0, 1.0)
    rows: Tensor = (q * signs[:, None]).transpose(1, 2)
    return rows
