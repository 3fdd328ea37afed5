"""Vector scaling (Guo et al. 2017, 1706.04599): log q[y] = w[y] log p[y] + b[y]."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from promptkit.align.calibrate.labelled import Linear, known, penalised
from promptkit.align.calibrate.unlabelled import check_rows
from promptkit.aligners import Needs, Support
from promptkit.errors import PromptkitError
from promptkit.registry import checked, settings_of

if TYPE_CHECKING:
    from promptkit.types import Integers


@dataclass(frozen=True)
class Vector:
    """A weight and a bias for each label, fitted on labelled rows of the fit part.

    They are held to the identity as by a normal prior (supervised calibration, 2505.23783, has a trust region for that), so
    that a label which occurs in no row, or in every one, keeps finite scores.
    """

    rows: int = 128
    l2: float = 1.0
    """How strongly: half of it times the squared distance from w = 1, b = 0 is added to the summed loss."""
    name: ClassVar[str] = "vector"

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
        """2 K numbers."""
        logprobs, gold = known(self.name, support, labels, self.rows)
        size = logprobs.shape[1]
        return penalised(logprobs, gold, Linear(weight=np.ones(size), bias=np.zeros(size)), self.l2)

    def settings(self) -> Mapping[str, object]:
        """As given."""
        return settings_of(self)


def check_l2(name: str, l2: float) -> None:
    """Refuse a penalty that leaves the minimum at infinity."""
    if not 0 < l2 < float("inf"):
        raise PromptkitError(f"The calibration {name} needs a penalty above 0", got=f"l2={l2}")
