"""Label mappings: learned maps from source classes of a frozen model to the labels of a task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from promptkit.align.calibrate import CALIBRATIONS
from promptkit.align.labelmap.bayesian import Bayesian, BayesianPlus
from promptkit.align.labelmap.frequency import Frequency
from promptkit.align.labelmap.full import Full
from promptkit.align.labelmap.iterative import Iterative
from promptkit.align.labelmap.mapping import LabelMap
from promptkit.align.labelmap.random import Random
from promptkit.align.labelmap.semantic import Semantic
from promptkit.align.learned import LearnedAligner
from promptkit.core.class_table import ClassTable, named_attributes

LABEL_MAPPINGS: ClassTable[LearnedAligner] = ClassTable(
    "label map",
    (Random, Frequency, Iterative, Bayesian, BayesianPlus, Semantic, Full),
    group="promptkit.label_maps",
    beside=(CALIBRATIONS,),
)
"""All label mappings, by name."""
register = LABEL_MAPPINGS.register
"""Registers the class of a label mapping, a dataclass that derives from `LearnedAligner`."""

# the registered names (see `named_attributes`)
random_map = Random
frequency = Frequency
iterative = Iterative
blm = Bayesian
blm_plus = BayesianPlus
semantic = Semantic
full = Full
if not TYPE_CHECKING:  # type checkers report unknown names
    __getattr__ = named_attributes(__name__, LABEL_MAPPINGS)

__all__ = [
    "LABEL_MAPPINGS",
    "Bayesian",
    "BayesianPlus",
    "Frequency",
    "Full",
    "Iterative",
    "LabelMap",
    "Random",
    "Semantic",
    "register",
]
