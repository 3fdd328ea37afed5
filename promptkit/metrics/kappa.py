"""Cohen's kappa with quadratic weights (Cohen 1968).

On values in general it is 1 - mean((p - g)^2) / mean over all pairs of rows((p_i - g_j)^2), which is Lin's concordance
correlation coefficient (Lin 1989); for predictions that are values of labels this is the weighted kappa of scikit-learn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from promptkit.core.metric_input import MetricInput
from promptkit.metrics.base import Interval
from promptkit.metrics.scale import has_values, values_on_scale

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats
    from promptkit.metrics.intervals import Statistic

TINY = 1e-12
"""A variance below this share of the squared values is 0 but for rounding."""


class QuadraticKappa:
    """The agreement of predicted and gold values beyond chance, from -1 to 1.

    It is 0 if all predicted and gold values are the same value, for which no agreement beyond chance can be measured.
    """

    name: ClassVar[str] = "quadratic_kappa"
    title: ClassVar[str] = "quadratic kappa"
    is_default: ClassVar[bool] = True
    interval: ClassVar[Interval] = "bootstrap"
    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    higher_is_better: ClassVar[bool] = True

    def applies_to(self, rows: MetricInput) -> bool:
        """Returns whether the rows have values on a scale."""
        return has_values(rows)

    def values(self, rows: MetricInput) -> Statistic:
        """Returns the kappa of each resample of the rows."""
        gold, predicted = values_on_scale(rows)
        shift = gold.mean()  # the result does not depend on it, and small numbers lose fewer digits
        g, p = gold - shift, predicted - shift
        sums = np.stack([g, p, g * g, p * p, g * p], axis=1)

        def kappa(weights: Floats) -> Floats:
            mean_g, mean_p, gg, pp, gp = (weights @ sums / len(g)).T
            observed, expected = gg + pp - 2 * gp, gg + pp - 2 * mean_g * mean_p
            is_defined = expected > TINY * (1 + gg + pp)
            kappas: Floats = np.where(is_defined, 1 - observed / np.where(is_defined, expected, 1), 0.0)
            return kappas

        return kappa
