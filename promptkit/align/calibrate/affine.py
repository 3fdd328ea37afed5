"""Matrix scaling (Guo et al. 2017, 1706.04599): log q = W log p + b, W of full rank, held to the identity.

Kull et al. 2019 (1910.12656, ODIR) penalise b and W off the diagonal. Here the diagonal is held to 1 as well, with one strength
for all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from promptkit.align.calibrate.labelled import Linear, known, penalised
from promptkit.align.calibrate.unlabelled import check_rows
from promptkit.align.calibrate.vector import check_l2
from promptkit.aligners import Needs, Support
from promptkit.registry import checked, settings_of

if TYPE_CHECKING:
    from promptkit.types import Integers


@dataclass(frozen=True)
class Affine:
    """A score of each label from the log-probabilities of all, fitted on labelled rows of the fit part."""

    rows: int = 128
    l2: float = 1.0
    """Half of it times the squared distance from W = 1, b = 0 is added to the summed loss."""
    name: ClassVar[str] = "affine"

    def __post_init__(self) -> None:
        """Refuse to fit on nothing."""
        checked(self)
        check_rows(self.name, self.rows)
        check_l2(self.name, self.l2)

    @property
    def needs(self) -> Needs:
        """Labelled rows."""
        return Needs(rows=self.rows, labels=True)

    def fit(self, support: Support, labels: Integers | None = None) -> Linear:
        """K (K + 1) numbers."""
        logprobs, gold = known(self.name, support, labels, self.rows)
        size = logprobs.shape[1]
        return penalised(logprobs, gold, Linear(weight=np.eye(size), bias=np.zeros(size)), self.l2)

    def settings(self) -> Mapping[str, object]:
        """As given."""
        return settings_of(self)
