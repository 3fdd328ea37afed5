"""Prototypical calibration, ProCa (Han et al. 2022, 2205.10183): matches clusters of unlabeled predictions to labels.

A mixture of K Gaussians is fitted to the normalized label log-probabilities of unlabeled rows. Clusters c are assigned to
labels y so that the sum of mean_c[y] is maximal (the Hungarian method); of several random restarts the one with the largest sum
is used. The score of a label is the log density of its cluster, with equal cluster weights.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from promptkit.align.calibrate.unlabeled import UnlabeledCalibration
from promptkit.align.logprobs import normalize_logprobs
from promptkit.core.errors import InputError
from promptkit.core.hashing import sha256_int
from promptkit.core.needs import FitData, Need, Outputs
from promptkit.core.state import stateful
from promptkit.needs.fit_rows import EvaluatedRows, FitRows

if TYPE_CHECKING:
    from sklearn.mixture import GaussianMixture

    from promptkit.core.arrays import Floats

MAX_FULL_LABELS = 20
"""Largest number of labels K with full covariance matrices, of K (K + 1) / 2 parameters each; for more they are diagonal."""
MIN_ROWS_PER_LABEL = 4
"""Rows needed for each label."""
MIN_VARIANCE = 1e-3
"""Smallest variance of a cluster in any direction, in squared natural-log units."""


@stateful("clusters")
@dataclass(frozen=True, slots=True, kw_only=True)
class Clusters:
    """A Gaussian for each label."""

    means: Floats
    """Shape (K, K), one row for each label."""
    precision_roots: Floats
    """Cholesky factors of the precision matrices, shape (K, K, K), or (K, K) for diagonal matrices."""

    def apply(self, outputs: Outputs) -> Floats:
        """Returns calibrated label log-probabilities, shape (rows, K)."""
        points = normalize_logprobs(outputs.logprobs)
        densities = [self._log_density(points, label) for label in range(len(self.means))]
        return normalize_logprobs(np.stack(densities, axis=1))

    def _log_density(self, points: Floats, label: int) -> Floats:
        """Returns the log density of the label's cluster, up to a constant."""
        offset, root = points - self.means[label], self.precision_roots[label]
        scaled, diagonal = (offset @ root, np.diagonal(root)) if root.ndim == 2 else (offset * root, root)
        density: Floats = np.log(diagonal).sum() - (scaled**2).sum(1) / 2
        return density


@dataclass(frozen=True, kw_only=True)
class ProCa(UnlabeledCalibration):
    """Prototypical calibration: predicts the label whose cluster of predictions is the most likely for the row.

    Raises:
        InputError: `restarts` is less than 1.
    """

    rows: int = 500
    """Maximum number of rows, also of the evaluated ones; the paper finds about 500 to be sufficient."""
    restarts: int = 20
    """Number of random initializations."""
    seed: int = 0
    """Random seed of the initializations."""
    name: ClassVar[str] = "proca"

    def __post_init__(self) -> None:
        """Checks the settings."""
        super().__post_init__()
        if self.restarts < 1:
            raise InputError(
                "Prototypical calibration needs at least one restart",
                code="out-of-range",
                got=f"restarts={self.restarts}",
                aligner=self.name,
                restarts=self.restarts,
            )

    @property
    def unlabeled(self) -> Need[Outputs]:
        """Rows of the fit part, or evaluated rows; enough of them for one cluster for each label."""
        if self.estimate_on == "fit":
            return FitRows(self.rows, MIN_ROWS_PER_LABEL)
        return EvaluatedRows(self.rows, MIN_ROWS_PER_LABEL)

    def fit(self, data: FitData) -> Clusters:
        """Fits the clusters from all initializations and returns those that match the labels best."""
        points = self.unlabeled_logprobs(data)
        candidates = (self._fit_once(points, number) for number in range(self.restarts))
        return max(candidates, key=lambda clusters: np.diagonal(clusters.means).sum())

    def _fit_once(self, points: Floats, number: int) -> Clusters:
        """Returns the clusters of one initialization, in the order of the labels that they are assigned to."""
        from scipy.optimize import linear_sum_assignment

        mixture = self._mixture(points, number)
        clusters, labels = linear_sum_assignment(mixture.means_, maximize=True)
        order = clusters[np.argsort(labels)]
        return Clusters(means=mixture.means_[order], precision_roots=mixture.precisions_cholesky_[order])

    def _mixture(self, points: Floats, number: int) -> GaussianMixture:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture

        size = points.shape[1]
        mixture = GaussianMixture(
            size,
            covariance_type="full" if size <= MAX_FULL_LABELS else "diag",
            init_params="k-means++",
            reg_covar=MIN_VARIANCE,
            random_state=sha256_int(f"{self.seed} {number}", size=4),
        )
        with warnings.catch_warnings():  # restarts that have not converged are candidates too
            warnings.simplefilter("ignore", ConvergenceWarning)
            return mixture.fit(points)
