"""A fixed manipulation of texts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from promptkit.core.capabilities import Feature
from promptkit.core.fingerprints import Fingerprint
from promptkit.core.manipulation import BindContext, Transform
from promptkit.core.registry import settings_of
from promptkit.core.requests import Prepared
from promptkit.core.taxonomy import Kind


@dataclass(frozen=True, kw_only=True)
class Repeat:
    """Repeats the whole prompt."""

    times: int = 2
    """How often the prompt is read."""
    name: ClassVar[str] = "repeat"
    kind: ClassVar[Kind] = Kind(format="fixed", location="input", operator="concatenative")
    requires: ClassVar[frozenset[Feature]] = frozenset({"text"})
    slots: ClassVar[Mapping[str, int]] = {}
    context_tokens: ClassVar[int] = 0
    base: ClassVar[Mapping[str, str | int]] = {}
    fitted_on: ClassVar[frozenset[Fingerprint]] = frozenset()

    def settings(self) -> Mapping[str, object]:
        return settings_of(self)

    def bind(self, bind_context: BindContext) -> Transform:
        def transform(prepared: Prepared) -> Prepared:
            return replace(prepared, input=replace(prepared.text, ids=prepared.text.ids * self.times, spans=()))

        return transform
