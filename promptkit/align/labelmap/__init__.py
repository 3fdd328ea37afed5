"""Statistical alignment: source classes of a frozen model mapped to a task's labels, one technique a file."""

from __future__ import annotations

from collections.abc import Mapping

from promptkit.align.labelmap.base import LabelMapping
from promptkit.align.labelmap.bayesian import Bayesian, BayesianPlus
from promptkit.align.labelmap.frequency import Frequency
from promptkit.align.labelmap.iterative import Iterative
from promptkit.align.labelmap.mapping import LabelMap
from promptkit.align.labelmap.random import Random
from promptkit.align.labelmap.semantic import Semantic

LABEL_MAPPINGS: Mapping[str, type[LabelMapping]] = {
    technique.name: technique for technique in (Random, Frequency, Iterative, Bayesian, BayesianPlus, Semantic)
}

__all__ = ["LABEL_MAPPINGS", "Bayesian", "BayesianPlus", "Frequency", "Iterative", "LabelMap", "Random", "Semantic"]
