"""Calibrations: correct label log-probabilities after the model has computed them.

A calibration declares the data it is fitted on as its `needs`. After fitting it maps log p[i, y] to log q[i, y], normalized
over the labels; no label becomes impossible (see `normalize_logprobs`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from promptkit.align.calibrate.affine import Affine
from promptkit.align.calibrate.batch import Batch
from promptkit.align.calibrate.batch_fitted import BatchFitted
from promptkit.align.calibrate.contextual import Contextual
from promptkit.align.calibrate.domain import Domain
from promptkit.align.calibrate.label_batch import LabelBatch
from promptkit.align.calibrate.label_threshold import LabelThreshold
from promptkit.align.calibrate.pmi import PMI
from promptkit.align.calibrate.prior import Prior
from promptkit.align.calibrate.proca import ProCa
from promptkit.align.calibrate.temperature import Temperature
from promptkit.align.calibrate.vector import Vector
from promptkit.core.calibration import Calibration
from promptkit.core.class_table import ClassTable, named_attributes

CALIBRATIONS: ClassTable[Calibration] = ClassTable(
    "calibration",
    (Contextual, Domain, Batch, BatchFitted, PMI, Prior, ProCa, Temperature, Vector, Affine, LabelBatch, LabelThreshold),
    group="promptkit.calibrations",
)
"""All calibrations, by name."""
register = CALIBRATIONS.register
"""Registers the class of a calibration, a dataclass; the command line, YAML and `promptkit align` then know its name."""

# the registered names (see `named_attributes`)
contextual = Contextual
domain = Domain
batch = Batch
batch_fitted = BatchFitted
pmi = PMI
prior = Prior
proca = ProCa
temperature = Temperature
vector = Vector
affine = Affine
label_batch = LabelBatch
label_threshold = LabelThreshold
if not TYPE_CHECKING:  # type checkers report unknown names
    __getattr__ = named_attributes(__name__, CALIBRATIONS)

__all__ = [
    "CALIBRATIONS",
    "PMI",
    "Affine",
    "Batch",
    "BatchFitted",
    "Contextual",
    "Domain",
    "LabelBatch",
    "LabelThreshold",
    "Prior",
    "ProCa",
    "Temperature",
    "Vector",
    "register",
]
