"""Trigger tokens: discrete tokens in the prompt that were searched for, not written (AutoPrompt, 2010.15980).

(learnable, input, concatenative). They are ids, and go into the prompt as ids: the text that they spell may well be encoded
into other tokens. So they work on any model with the same tokenizer that is given ids. Knows nothing of how they are searched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, ClassVar

import numpy as np

from promptkit.core.arrays import Array, as_array, check_parameters
from promptkit.core.errors import CheckpointError, TrainingError
from promptkit.core.inputs import Interventions, TextInput
from promptkit.core.manipulation import BindContext, InputTransform
from promptkit.core.model import Tokenizer
from promptkit.core.registry import checked, parameters_field
from promptkit.core.taxonomy import Kind
from promptkit.inputs.text.encoding import SLOT_PART
from promptkit.manipulate.learned.placement import TOKENS_PART, Place, check_beginning, check_slot, place_of, spliced
from promptkit.manipulate.learned.soft_prompt import VECTORS, SoftPrompt
from promptkit.manipulate.learned.vocabulary import common_tokens

IDS = "ids"


@dataclass(frozen=True)
class TriggerTokens:
    """Tokens before the prompt that a search has found."""

    length: int = 5
    """How many tokens."""
    _: KW_ONLY
    init: str = "vocabulary"
    """What they begin as: `vocabulary` (common tokens), or a text of several words."""
    place: Place = "after_bos"
    """Behind the BOS token, if there is one, or at the very `start`, before it."""
    slot: str | None = None
    """The template's slot that they stand in, as a soft prompt of that length does: {{ soft("task", 5) }}."""
    seed: int = 0
    """Of what is drawn to begin with."""
    parameters: Mapping[str, Array] = parameters_field()
    """What was found: `ids`, of shape (length,), whole numbers, which float32 holds exactly; nothing before that."""
    base: Mapping[str, str | int] = parameters_field()
    """The model that they were found on; another with the same tokenizer takes them too."""

    name: ClassVar[str] = "trigger-tokens"
    kind: ClassVar[Kind] = Kind(format="learnable", location="input", operator="concatenative")
    fixed_parameters: ClassVar[frozenset[str]] = frozenset()
    learning_rate: ClassVar[None] = None

    def __post_init__(self) -> None:
        """Refuse what no trigger tokens can be."""
        checked(self)
        check_beginning("trigger tokens", self.length, self.init, ["vocabulary"])
        check_slot(self.slot, self.place)
        check_parameters("trigger tokens", self.parameters, {IDS: "length"}, length=self.length)
        if any(number < 0 or number % 1 for held in self.parameters.values() for number in _numbers(held)):
            raise CheckpointError(
                "The ids of trigger tokens must be non-negative whole numbers",
                code="invalid-token-ids",
                got=str([*map(float, _numbers(self.parameters[IDS]))])[:100],
                ids=tuple(map(float, _numbers(self.parameters[IDS])))[:20],
            )

    @property
    def context_tokens(self) -> int:
        """Tokens of the model's context that they take; a slot has been counted already."""
        return 0 if self.slot else self.length

    @property
    def slots(self) -> Mapping[str, int]:
        """Their slot, if they stand in one."""
        return {self.slot: self.length} if self.slot else {}

    def settings(self) -> Mapping[str, object]:
        """How many tokens, where, and which; before they are found, how they begin."""
        which = {"ids": list(ids_of(self.parameters))} if self.parameters else {"init": self.init, "seed": self.seed}
        where = {"slot": self.slot} if self.slot else {"place": self.place}
        return {"name": self.name, "length": self.length, **where, **which}

    def bind(self, bind_context: BindContext) -> InputTransform:
        """What puts the tokens into a prompt."""
        ids = ids_of(self.initial_parameters(bind_context))
        bos = bind_context.ask.card.tokenizer.bos
        return lambda prompt: self._placed(prompt, ids, bos)

    def _placed(self, prompt: TextInput, ids: tuple[int, ...], bos: tuple[int, ...]) -> TextInput:
        if not self.slot:
            return spliced(prompt, ids, place_of(prompt, self.place, bos), part=TOKENS_PART)
        filled = [*prompt.ids]
        for span in prompt.spans:
            if span.part == f"{SLOT_PART} {self.slot}":
                filled[span.start : span.stop] = [ids[place % len(ids)] for place in range(span.stop - span.start)]
        return replace(prompt, ids=tuple(filled))

    def with_parameters(self, parameters: Mapping[str, Array], base: Mapping[str, str | int]) -> TriggerTokens:
        """The same once they have been found; of the model its tokenizer alone must be the same."""
        kept = {key: base[key] for key in ("name", "tokenizer") if key in base}
        return replace(self, parameters=dict(parameters), base=kept)

    def as_vectors(self, bind_context: BindContext) -> SoftPrompt:
        """The soft prompt that is these tokens: at the same place, their embeddings, through which gradients flow."""
        rows = bind_context.ask.embed(ids_of(self.initial_parameters(bind_context)))
        return SoftPrompt(self.length, place=self.place, slot=self.slot, parameters={VECTORS: rows})

    def interventions(self, trained: Mapping[str, Any]) -> Interventions[Any]:
        """No function of the ids is differentiable: see `as_vectors`."""
        raise TrainingError(
            "Trigger tokens are discrete and cannot be trained by gradient descent",
            code="not-differentiable",
            hint="Use the optimizer hotflip",
            manipulation=self.name,
        )

    def initial_parameters(self, bind_context: BindContext) -> Mapping[str, Array]:
        """What was found, or the tokens before any search; those of a text from the first again where there are too few."""
        if self.parameters:
            return self.parameters
        card = bind_context.ask.card
        is_text = self.init != "vocabulary"
        ids = [*card.tokenizer.encode(self.init).ids] if is_text else common_tokens(card, self.seed)
        numbers = np.array([ids[place % len(ids)] for place in range(self.length)], "<f4")
        return {IDS: as_array(numbers)}


def ids_of(parameters: Mapping[str, Array]) -> tuple[int, ...]:
    """The token ids that trigger tokens' parameters hold."""
    return tuple(int(number) for number in _numbers(parameters[IDS]))


def spelt(ids: Sequence[int], tokenizer: Tokenizer) -> dict[str, object]:
    """What a reader can know of tokens: each one's spelling, their text, and whether the text is encoded as them again."""
    text = tokenizer.decode(ids)
    return {
        "tokens": [tokenizer.name(token) for token in ids],
        "text": text,
        "text_is_encoded_so": tokenizer.encode(text).ids == tuple(ids),
    }


def _numbers(array: Array) -> list[float]:
    numbers: list[float] = array.numpy().tolist()
    return numbers
