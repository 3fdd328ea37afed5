"""Probes: aligners that are learned from a few labeled rows. Learned mappings of source classes to labels are in `labelmap`."""

from __future__ import annotations

from promptkit.align.calibrate import CALIBRATIONS
from promptkit.align.labelmap import LABEL_MAPPINGS
from promptkit.align.learned import LearnedAligner
from promptkit.align.probes.automatic_verbalizer import AutomaticVerbalizer
from promptkit.align.probes.centroids import HiddenCalibration, PrototypicalVerbalizer
from promptkit.align.probes.knn import KNNPrompting
from promptkit.align.probes.linear import LinearProbe
from promptkit.align.probes.soft_verbalizer import SoftVerbalizer
from promptkit.core.class_table import ClassTable

PROBES: ClassTable[LearnedAligner] = ClassTable(
    "probe",
    (KNNPrompting, HiddenCalibration, PrototypicalVerbalizer, AutomaticVerbalizer, SoftVerbalizer, LinearProbe),
    group="promptkit.probes",
    beside=(CALIBRATIONS, LABEL_MAPPINGS),
)
"""All probes, by name."""
register = PROBES.register
"""Registers the class of a probe, a dataclass that derives from `LearnedAligner`."""

__all__ = [
    "PROBES",
    "AutomaticVerbalizer",
    "HiddenCalibration",
    "KNNPrompting",
    "LinearProbe",
    "PrototypicalVerbalizer",
    "SoftVerbalizer",
    "register",
]
