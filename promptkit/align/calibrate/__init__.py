"""Statistical alignment: label log-probabilities corrected after the fact, one technique a file.

A calibration is fitted on what it states as its `needs`, and then answers log q[i, y] for log p[i, y], normalized over the
labels. None of them makes a label impossible: see `normalized`.
"""

from __future__ import annotations

from collections.abc import Mapping

from promptkit.align.calibrate.affine import Affine
from promptkit.align.calibrate.batch import Batch
from promptkit.align.calibrate.batch_fitted import BatchFitted
from promptkit.align.calibrate.contextual import Contextual
from promptkit.align.calibrate.domain import Domain
from promptkit.align.calibrate.pmi import PMI
from promptkit.align.calibrate.prior import Prior
from promptkit.align.calibrate.proca import ProCa
from promptkit.align.calibrate.temperature import Temperature
from promptkit.align.calibrate.vector import Vector

_ALL = (Contextual, Domain, Batch, BatchFitted, PMI, Prior, ProCa, Temperature, Vector, Affine)
CALIBRATIONS: Mapping[str, type] = {calibration.name: calibration for calibration in _ALL}

__all__ = [
    "CALIBRATIONS",
    "PMI",
    "Affine",
    "Batch",
    "BatchFitted",
    "Contextual",
    "Domain",
    "Prior",
    "ProCa",
    "Temperature",
    "Vector",
]
