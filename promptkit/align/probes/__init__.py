"""Probes: aligners that are learned from a few labeled rows. Learned mappings of source classes to labels are in `labelmap`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from promptkit.align.calibrate import CALIBRATIONS
from promptkit.align.labelmap import LABEL_MAPPINGS
from promptkit.align.learned import LearnedAligner
from promptkit.align.probes.automatic_verbalizer import AutomaticVerbalizer
from promptkit.align.probes.centroids import HiddenCalibration, PrototypicalVerbalizer
from promptkit.align.probes.knn import KNNPrompting
from promptkit.align.probes.linear import LinearProbe
from promptkit.align.probes.soft_verbalizer import SoftVerbalizer
from promptkit.core.class_table import ClassTable, named_attributes

PROBES: ClassTable[LearnedAligner] = ClassTable(
    "probe",
    (KNNPrompting, HiddenCalibration, PrototypicalVerbalizer, AutomaticVerbalizer, SoftVerbalizer, LinearProbe),
    group="promptkit.probes",
    beside=(CALIBRATIONS, LABEL_MAPPINGS),
)
"""All probes, by name."""
register = PROBES.register
"""Registers the class of a probe, a dataclass that derives from `LearnedAligner`."""

# the registered names (see `named_attributes`)
knn = KNNPrompting
hidden = HiddenCalibration
prototypical = PrototypicalVerbalizer
automatic = AutomaticVerbalizer
soft_verbalizer = SoftVerbalizer
linear = LinearProbe
if not TYPE_CHECKING:  # type checkers report unknown names
    __getattr__ = named_attributes(__name__, PROBES)

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
