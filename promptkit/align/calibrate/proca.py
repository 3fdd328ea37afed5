"""Prototypical calibration (Han et al. 2022, 2205.10183): clusters of unlabeled outputs, each matched to a label.

A mixture of K Gaussians is fitted to the log-probability vectors of unlabeled rows, renormalized over the labels. Cluster c
becomes label y so that the sum of mean_c[y] is greatest (the Hungarian method); of several starts that with the greatest sum
is kept. A row's score of a label is the log-density of the label's cluster, each cluster weighing the same.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from promptkit.align.calibrate.probabilities import normalized
from promptkit.align.calibrate.unlabeled import EstimateOn, check_rows, needed, seen
from promptkit.core.alignment import FitData, Needs, Outputs
from promptkit.core.errors import InputError
from promptkit.core.hashing import sha256_int
from promptkit.core.registry import checked

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats, Integers

FULL = 20
"""With more labels than this a cluster's covariance is diagonal: a full one has K (K + 1) / 2 numbers."""
FEWEST = 4
"""Rows for each label."""
FLOOR = 1e-3
"""The least variance, in squared natural-log units, that a cluster has in any direction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clusters:
    """A Gaussian for each label."""

    means: Floats
    """Shape (K, K): a line a label."""
    roots: Floats
    """What a distance from the mean is multiplied by so that its length is Mahalanobis's: (K, K, K), or (K, K) diagonals."""

    def apply(self, outputs: Outputs) -> Floats:
        """Shape (rows, K)."""
        points = normalized(outputs.logprobs)
        return normalized(np.stack([self._density(points, label) for label in range(len(self.means))], axis=1))

    def _density(self, points: Floats, label: int) -> Floats:
        away, root = points - self.means[label], self.roots[label]
        scaled, diagonal = (away @ root, np.diagonal(root)) if root.ndim == 2 else (away * root, root)
        density: Floats = np.log(diagonal).sum() - (scaled**2).sum(1) / 2
        return density


@dataclass(frozen=True)
class Proca:
    """Each row's label is that of the cluster of outputs it lies in."""

    estimate_on: EstimateOn = "fit"
    """Rows of the train split's fit part, or those that are evaluated (transductive)."""
    rows: int = 500
    """At most how many rows; the paper finds about 500 to be enough."""
    restarts: int = 20
    seed: int = 0
    name: ClassVar[str] = "proca"

    def __post_init__(self) -> None:
        """Refuse to fit on nothing."""
        checked(self)
        check_rows(self.name, self.rows)
        if self.restarts < 1:
            raise InputError(
                "Prototypical calibration needs at least one restart",
                code="out-of-range",
                got=f"restarts={self.restarts}",
                aligner=self.name,
                restarts=self.restarts,
            )

    @property
    def needs(self) -> Needs:
        """Rows of the fit part, unless the test rows serve: enough for as many clusters as there are labels."""
        return replace(needed(self.estimate_on, self.rows), rows_each=FEWEST)

    def fit(self, support: FitData, labels: Integers | None = None) -> Clusters:
        """The start whose clusters match the labels best."""
        points = seen(support, self.estimate_on, self.rows)
        starts = (self._start(points, number) for number in range(self.restarts))
        return max(starts, key=lambda start: start[0])[1]

    def _start(self, points: Floats, number: int) -> tuple[float, Clusters]:
        """The sum of the matched means, and the clusters in the order of the labels."""
        from scipy.optimize import linear_sum_assignment

        mixture = self._mixture(points, number)
        clusters, matched = linear_sum_assignment(mixture.means_, maximize=True)
        order = clusters[np.argsort(matched)]
        fitted = Clusters(means=mixture.means_[order], roots=mixture.precisions_cholesky_[order])
        return float(np.diagonal(fitted.means).sum()), fitted

    def _mixture(self, points: Floats, number: int) -> Any:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture

        size = points.shape[1]
        mixture = GaussianMixture(
            size,
            covariance_type="full" if size <= FULL else "diag",
            init_params="k-means++",
            reg_covar=FLOOR,
            random_state=sha256_int(f"{self.seed} {number}", size=4),
        )
        with warnings.catch_warnings():  # a start that has not settled in 100 steps is a start as good as another
            warnings.simplefilter("ignore", ConvergenceWarning)
            return mixture.fit(points)
