"""Probes: aligners that are learned from a few labeled rows. Learned mappings of source classes to labels are in `labelmap`."""

from __future__ import annotations

from collections.abc import Mapping

from promptkit.align.learned import LearnedAligner
from promptkit.align.probes.automatic_verbalizer import AutomaticVerbalizer
from promptkit.align.probes.centroids import HiddenCalibration, PrototypicalVerbalizer
from promptkit.align.probes.knn import KNNPrompting
from promptkit.align.probes.linear import LinearProbe
from promptkit.align.probes.soft_verbalizer import SoftVerbalizer

PROBES: Mapping[str, type[LearnedAligner]] = {
    probe.name: probe
    for probe in (KNNPrompting, HiddenCalibration, PrototypicalVerbalizer, AutomaticVerbalizer, SoftVerbalizer, LinearProbe)
}
"""All probes, by name."""

__all__ = [
    "PROBES",
    "AutomaticVerbalizer",
    "HiddenCalibration",
    "KNNPrompting",
    "LinearProbe",
    "PrototypicalVerbalizer",
    "SoftVerbalizer",
]
