"""What an engine supports, as one value from which checks, tables and hints derive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from promptkit.core.inputs import Modality

VerbName = Literal["Score", "Read", "Generate", "Classify"]
InterventionName = Literal["vectors", "prefixes", "edits", "operations"]
"""The fields of `Interventions`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What an engine supports."""

    modalities: frozenset[Modality]
    """The modalities of the inputs that it reads."""
    verbs: frozenset[VerbName]
    """The names of the requests that it answers."""
    interventions: frozenset[InterventionName] = frozenset()
    """The interventions that a request may have."""
    hidden_states: bool = False
    """Whether `Read` returns hidden states: of the layers of a language model, or pooled features of an image classifier."""
    gradients: bool = False
    """Whether scores can be differentiated with respect to interventions, so that manipulations are trained by gradients."""
