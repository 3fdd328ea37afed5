"""Prior matching (Liusie et al. 2023, 2309.04992): labels are weighted so that, over unlabeled inputs, each is as likely as it
should be.

The weights a solve mean_i a[k] p[i, k] / sum_j a[j] p[i, j] = target[k]. With b = log a that is where the gradient of

    mean_i log sum_j exp(b[j] + log p[i, j]) - sum_k target[k] b[k]

is zero, which is convex in b.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isclose
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from promptkit.align.calibrate.probabilities import Shift
from promptkit.align.calibrate.unlabeled import EstimateOn, check_rows, needed, seen
from promptkit.core.alignment import FitData, Needs
from promptkit.core.errors import InputError
from promptkit.core.registry import checked

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats, Integers


@dataclass(frozen=True)
class Prior:
    """log q = log p + log a, with the weights a that make the mean of q the target."""

    estimate_on: EstimateOn = "fit"
    """Rows of the train split's fit part, or all the rows that are evaluated (transductive)."""
    rows: int = 128
    """At most how many rows of the fit part."""
    target: tuple[float, ...] = ()
    """How likely each label should be, in the declared order, `0.2|0.8`; 1 / K each unless given."""
    name: ClassVar[str] = "prior"

    def __post_init__(self) -> None:
        """Refuse a target that is no distribution."""
        checked(self)
        check_rows(self.name, self.rows)
        if self.target and not (min(self.target) > 0 and isclose(sum(self.target), 1, abs_tol=1e-6)):
            given = "|".join(map(str, self.target))
            raise InputError(
                "The target of prior matching must be probabilities greater than 0 that sum to 1",
                code="not-a-distribution",
                got=given,
                target=self.target,
            )

    @property
    def needs(self) -> Needs:
        """Rows of the fit part, unless the test rows serve; and as many labels as the target has shares."""
        return replace(needed(self.estimate_on, self.rows), classes=len(self.target))

    def fit(self, support: FitData, labels: Integers | None = None) -> Shift:
        """K weights."""
        logprobs = seen(support, self.estimate_on, self.rows if self.estimate_on == "fit" else None)
        size = logprobs.shape[1]
        return Shift(prior=-matched(logprobs, np.array(self.target or np.full(size, 1 / size)))[None])


def matched(logprobs: Floats, target: Floats) -> Floats:
    """log a, up to a constant, for log p (rows, K) and the target (K,)."""
    from scipy.optimize import minimize

    def objective(b: Floats) -> tuple[float, Floats]:
        moved = logprobs + b
        whole = np.logaddexp.reduce(moved, axis=1)
        return float(whole.mean() - target @ b), np.exp(moved - whole[:, None]).mean(0) - target

    start = np.log(target) - logprobs.mean(0)
    found = minimize(objective, start, jac=True, method="L-BFGS-B", options={"gtol": 1e-9, "ftol": 0, "maxiter": 2000})
    b: Floats = found.x - found.x.max()
    return b
