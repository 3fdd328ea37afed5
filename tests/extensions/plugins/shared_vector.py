"""A learnable manipulation of texts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from promptkit.core.arrays import Array, as_array
from promptkit.core.capabilities import Feature
from promptkit.core.interventions import Interventions
from promptkit.core.manipulation import BindContext, Embed, Transform
from promptkit.core.model import text_card
from promptkit.core.taxonomy import Kind
from promptkit.manipulate.learned.base import LearnedManipulation
from promptkit.manipulate.learned.soft_prompt import SoftPrompt

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedVector(LearnedManipulation):
    """Inserts the same learned vector several times."""

    times: int = 3
    """How often it is inserted."""
    name: ClassVar[str] = "shared-vector"
    title: ClassVar[str] = "a shared vector"
    kind: ClassVar[Kind] = Kind(format="learnable", location="embedding", operator="concatenative")
    requires: ClassVar[frozenset[Feature]] = frozenset({"text", "vectors"})
    shapes: ClassVar[Mapping[str, str]] = {"vector": "one d_model"}

    @property
    def learning_rate(self) -> float:
        return 0.1

    @property
    def context_tokens(self) -> int:
        return self.times

    def _check_settings(self) -> None: ...

    def _sizes(self) -> Mapping[str, int]:
        return {"one": 1}

    def _placement_settings(self) -> Mapping[str, object]:
        return {"times": self.times}

    def _initial_settings(self) -> Mapping[str, object]:
        return {}

    def initial_parameters(self, bind_context: BindContext) -> Mapping[str, Array]:
        tokenizer = text_card(bind_context.ask.card).tokenizer
        return self.parameters or {"vector": as_array(bind_context.ask.embed(tokenizer.encode("a").ids[:1]).numpy())}

    def bind(self, bind_context: BindContext) -> Transform:
        rows = as_array(np.repeat(self.initial_parameters(bind_context)["vector"].numpy(), self.times, axis=0))
        bos = text_card(bind_context.ask.card).tokenizer.bos
        return lambda prepared: SoftPrompt(self.times).insert(prepared, rows, bos)

    def interventions(self, trained: Mapping[str, Tensor], embed: Embed) -> Interventions[Tensor]:
        return Interventions(vectors=trained["vector"].expand(self.times, -1))
