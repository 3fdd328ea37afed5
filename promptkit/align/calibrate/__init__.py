"""Statistical alignment: label log-probabilities corrected after the fact, one technique a file.

A calibration is fitted on what it states as its `needs`, and then answers log q[i, y] for log p[i, y], normalised over the
labels. None of them makes a label impossible: see `normalised`.
"""

from __future__ import annotations

from collections.abc import Mapping

from promptkit.align.calibrate.batch import Batch
from promptkit.align.calibrate.contextual import Contextual
from promptkit.align.calibrate.domain import Domain
from promptkit.align.calibrate.pmi import Pmi

CALIBRATIONS: Mapping[str, type] = {calibration.name: calibration for calibration in (Contextual, Domain, Batch, Pmi)}

__all__ = ["CALIBRATIONS", "Batch", "Contextual", "Domain", "Pmi"]
