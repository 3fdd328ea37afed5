"""Trigger tokens: discrete tokens in the prompt, found by a search (AutoPrompt, Shin et al. 2020, arXiv:2010.15980).

They are inserted as token ids, because their text may be encoded as other tokens. They work on any model that has the same
tokenizer and accepts token ids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from promptkit.core.arrays import Array, as_array
from promptkit.core.capabilities import Feature
from promptkit.core.errors import CheckpointError
from promptkit.core.fingerprints import Fingerprint
from promptkit.core.interventions import Interventions
from promptkit.core.manipulation import BindContext, Embed, Transform
from promptkit.core.model import ModelCard, text_card
from promptkit.core.taxonomy import Kind
from promptkit.manipulate.learned.placement import TOKENS_PART, TokenManipulation
from promptkit.manipulate.learned.soft_prompt import VECTORS, SoftPrompt
from promptkit.manipulate.learned.vocabulary import common_tokens, repeated

if TYPE_CHECKING:
    from torch import Tensor

IDS = "ids"


@dataclass(frozen=True, slots=True)
class TriggerTokens(TokenManipulation):
    """Inserts discrete tokens, found by a search, into the prompt (AutoPrompt, Shin et al. 2020, arXiv:2010.15980).

    Its parameter is `ids`, of shape (length,): whole numbers, which float32 represents exactly.
    """

    length: int = 5
    """The number of tokens."""
    _: KW_ONLY
    init: str = "vocabulary"
    """The initial tokens: `vocabulary` for common tokens, or a text of several words."""

    name: ClassVar[str] = "trigger-tokens"
    kind: ClassVar[Kind] = Kind(format="learnable", location="input", operator="concatenative")
    requires: ClassVar[frozenset[Feature]] = frozenset({"text"})
    title: ClassVar[str] = "trigger tokens"
    shapes: ClassVar[Mapping[str, str]] = {IDS: "length"}
    inits: ClassVar[Sequence[str]] = ("vocabulary",)
    part: ClassVar[str] = TOKENS_PART
    is_discrete: ClassVar[bool] = True

    def __post_init__(self) -> None:
        TokenManipulation.__post_init__(self)
        numbers: list[float] = self.parameters[IDS].numpy().tolist() if self.parameters else []
        if any(number < 0 or number % 1 for number in numbers):
            raise CheckpointError(
                "The ids of trigger tokens must be non-negative whole numbers",
                code="invalid-token-ids",
                got=str(numbers)[:100],
                ids=tuple(numbers)[:20],
            )

    @property
    def learning_rate(self) -> None:
        """None: tokens are searched, not trained by gradient descent."""
        return

    def _trained_settings(self) -> Mapping[str, object]:
        return {"ids": list(token_ids(self.parameters))}

    def bind(self, bind_context: BindContext) -> Transform:
        """Returns the transform that inserts the tokens into encoded prompts."""
        ids = token_ids(self.initial_parameters(bind_context))
        bos = text_card(bind_context.ask.card).tokenizer.bos
        return lambda prepared: self._with_ids(prepared, ids, bos)

    def with_parameters(
        self, trained: Mapping[str, Array], base: Mapping[str, str | int], fitted_on: frozenset[Fingerprint] = frozenset()
    ) -> Self:
        """Returns a copy with the found tokens; a later model needs only the same tokenizer."""
        tokenizer = {key: base[key] for key in ("name", "tokenizer") if key in base}
        return replace(self, parameters=dict(trained), base=tokenizer, fitted_on=fitted_on)

    def differentiable_form(self, bind_context: BindContext) -> SoftPrompt:
        """Returns a soft prompt of the tokens' embeddings at the same place."""
        rows = bind_context.ask.embed(token_ids(self.initial_parameters(bind_context)))
        return SoftPrompt(self.length, place=self.place, slot=self.slot, parameters={VECTORS: rows})

    def interventions(self, trained: Mapping[str, Tensor], embed: Embed) -> Interventions[Tensor]:
        """Returns the embeddings of the tokens."""
        return Interventions(vectors=embed(trained[IDS].int().tolist()))

    def initial_parameters(self, bind_context: BindContext) -> Mapping[str, Array]:
        """Returns the found tokens, or else the initial ones, starting over where a text has too few."""
        if self.parameters:
            return self.parameters
        card = text_card(bind_context.ask.card)
        is_text = self.init not in self.inits
        ids = [*card.tokenizer.encode(self.init).ids] if is_text else common_tokens(card, self.seed)
        return {IDS: as_array(np.array(repeated(ids, self.length)))}

    def describe(self, card: ModelCard) -> Mapping[str, object]:
        """Returns the tokens, their text, and whether the text is encoded as the same tokens."""
        tokenizer = text_card(card).tokenizer
        ids = token_ids(self.parameters)
        text = tokenizer.decode(ids)
        return {
            "tokens": [tokenizer.name(token) for token in ids],
            "text": text,
            "text_round_trips": tokenizer.encode(text).ids == ids,
        }


def token_ids(parameters: Mapping[str, Array]) -> tuple[int, ...]:
    """Returns the token ids among the parameters of trigger tokens."""
    return tuple(int(number) for number in parameters[IDS].numpy())
