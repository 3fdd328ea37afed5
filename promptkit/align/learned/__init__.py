"""Read-outs that are learned from a few labelled rows, one technique a file; label maps are in `labelmap`."""

from __future__ import annotations

from collections.abc import Mapping

from promptkit.align.labelled import Learned
from promptkit.align.learned.automatic import Automatic
from promptkit.align.learned.centroids import Hidden, Prototypical
from promptkit.align.learned.knn import Knn
from promptkit.align.learned.linear import Linear
from promptkit.align.learned.soft import Soft

LEARNED: Mapping[str, type[Learned]] = {each.name: each for each in (Knn, Hidden, Prototypical, Automatic, Soft, Linear)}

__all__ = ["LEARNED", "Automatic", "Hidden", "Knn", "Linear", "Prototypical", "Soft"]
