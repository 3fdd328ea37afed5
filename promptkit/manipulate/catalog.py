"""Every manipulation by name, with its place in the taxonomy of neural network reprogrammability."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from promptkit.core.manipulation import Manipulation, Modifier
from promptkit.manipulate.learned.loreft import LoReFT
from promptkit.manipulate.learned.prefix import Prefix
from promptkit.manipulate.learned.soft_prompt import SoftPrompt
from promptkit.manipulate.learned.steering import SteeringVector
from promptkit.manipulate.learned.trigger_tokens import TriggerTokens
from promptkit.manipulate.prompt import Prompt

MANIPULATIONS: Mapping[str, type[Manipulation | Modifier]] = {
    each.__name__: each for each in (Prompt, SoftPrompt, TriggerTokens, Prefix, SteeringVector, LoReFT)
}


def described() -> list[dict[str, str]]:
    """One entry a manipulation: its name, format, location, operator, and what it is."""
    return [
        {"name": name, **asdict(kind.kind), "description": str(kind.__doc__).splitlines()[0]}  # type: ignore[call-overload]
        for name, kind in MANIPULATIONS.items()
    ]
