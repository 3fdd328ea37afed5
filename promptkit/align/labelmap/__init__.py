"""Label mappings: learned maps from source classes of a frozen model to the labels of a task."""

from __future__ import annotations

from collections.abc import Mapping

from promptkit.align.labelmap.bayesian import Bayesian, BayesianPlus
from promptkit.align.labelmap.frequency import Frequency
from promptkit.align.labelmap.full import Full
from promptkit.align.labelmap.iterative import Iterative
from promptkit.align.labelmap.mapping import LabelMap
from promptkit.align.labelmap.random import Random
from promptkit.align.labelmap.semantic import Semantic
from promptkit.align.learned import LearnedAligner

LABEL_MAPPINGS: Mapping[str, type[LearnedAligner]] = {
    mapping.name: mapping for mapping in (Random, Frequency, Iterative, Bayesian, BayesianPlus, Semantic, Full)
}
"""All label mappings, by name."""

__all__ = ["LABEL_MAPPINGS", "Bayesian", "BayesianPlus", "Frequency", "Full", "Iterative", "LabelMap", "Random", "Semantic"]
