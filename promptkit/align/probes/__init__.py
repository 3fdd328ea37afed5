"""Read-outs that are learned from a few labeled rows, one technique a file; label maps are in `labelmap`."""

from __future__ import annotations

from collections.abc import Mapping

from promptkit.align.fitted import Learned
from promptkit.align.probes.centroids import Hidden, Prototypical
from promptkit.align.probes.knn import Knn
from promptkit.align.probes.linear import LinearProbe
from promptkit.align.probes.petal import Automatic
from promptkit.align.probes.soft_verbalizer import SoftVerbalizer

LEARNED: Mapping[str, type[Learned]] = {
    each.name: each for each in (Knn, Hidden, Prototypical, Automatic, SoftVerbalizer, LinearProbe)
}

__all__ = ["LEARNED", "Automatic", "Hidden", "Knn", "LinearProbe", "Prototypical", "SoftVerbalizer"]
