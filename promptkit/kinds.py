"""Every manipulation by name, with its place in the taxonomy of neural network reprogrammability."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from promptkit.manipulate.low_rank import LowRankEdit
from promptkit.manipulate.prefix import DeepPrefix
from promptkit.manipulate.prompt import Prompt
from promptkit.manipulate.shift import HiddenShift
from promptkit.manipulate.soft import SoftPrompt
from promptkit.manipulate.tokens import TriggerTokens
from promptkit.manipulations import Change, Manipulation

MANIPULATIONS: Mapping[str, type[Manipulation | Change]] = {
    each.__name__: each for each in (Prompt, SoftPrompt, TriggerTokens, DeepPrefix, HiddenShift, LowRankEdit)
}


def described() -> list[dict[str, str]]:
    """One entry a manipulation: its name, format, location, operator, and what it is."""
    return [
        {"name": name, **asdict(kind.kind), "description": str(kind.__doc__).splitlines()[0]}  # type: ignore[call-overload]
        for name, kind in MANIPULATIONS.items()
    ]
