"""Soft prompts: learned vectors among the prompt's tokens, for a frozen model (prompt tuning, Lester et al. 2021, 2104.08691).

(learnable, embedding, concatenative). The vectors stand where the model's embedding module would put a token's, so that a
model's own scale (Gemma's sqrt(d_model)) is in them already. Knows nothing of how they are trained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, ClassVar

import numpy as np

from promptkit.core.arrays import Array, as_array, check_parameters
from promptkit.core.errors import CheckpointError, InputError
from promptkit.core.inputs import Interventions, TextInput
from promptkit.core.manipulation import Ask, BindContext, InputTransform
from promptkit.core.registry import checked, parameters_field
from promptkit.core.seeding import generator
from promptkit.core.taxonomy import Kind
from promptkit.inputs.text.encoding import SLOT_PART
from promptkit.manipulate.learned.placement import Place, check_beginning, check_slot, place_of, spliced
from promptkit.manipulate.learned.reparameterization import Reparameterization, evaluated, made, networked
from promptkit.manipulate.learned.vocabulary import by_chance, common_tokens

INITS = ("random", "vocabulary", "labels")
SAMPLED = 1024
"""Rows of the embedding by which its scale is told."""
VECTORS = "vectors"


@dataclass(frozen=True)
class SoftPrompt:
    """Learned vectors before the prompt."""

    length: int = 20
    """How many vectors."""
    _: KW_ONLY
    init: str = "vocabulary"
    """What they begin as: `random` (at the scale of the embedding's rows), `vocabulary` (rows of common tokens), `labels`
    (the label words' rows), or a text of several words, whose tokens' rows they are."""
    place: Place = "after_bos"
    """Behind the BOS token, if there is one, or at the very `start`, before it, as PEFT places them."""
    slot: str | None = None
    """The template's slot that it stands in, wherever and how often that is; {{ soft("task", 8) }} is one named task."""
    seed: int = 0
    """Of what is drawn to begin with."""
    reparameterize: Reparameterization | None = None
    """Train it through a network, `mlp`, `lstm` or `residual`, whose numbers are learned with it; the vectors that it makes
    in the end are what is kept. The first two learn at a lower rate than vectors do: 0.01 rather than 0.1."""
    width: int | None = None
    """Of the hidden layers of that network; d_model unless given."""
    parameters: Mapping[str, Array] = parameters_field()
    """What was learned: `vectors`, of shape (length, d_model); nothing before that."""
    base: Mapping[str, str | int] = parameters_field()
    """The model that it was learned on."""

    name: ClassVar[str] = "soft"
    kind: ClassVar[Kind] = Kind(format="learnable", location="embedding", operator="concatenative")
    fixed_parameters: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        """Refuse what no soft prompt can be."""
        checked(self)
        check_beginning("a soft prompt", self.length, self.init, INITS)
        check_slot(self.slot, self.place)
        if self.width is not None and (not self.reparameterize or self.width < 1):
            raise InputError(
                "The width of a reparameterization must be at least 1, and needs a reparameterization",
                code="out-of-range" if self.reparameterize else "width-without-network",
                got=f"width={self.width!r}",
                hint="Write reparameterize=mlp:width=64",
                width=self.width,
            )
        check_parameters("a soft prompt", self.parameters, {VECTORS: "length d_model"}, length=self.length)

    @property
    def context_tokens(self) -> int:
        """Tokens of the model's context that it takes; a slot has been counted already."""
        return 0 if self.slot else self.length

    @property
    def learning_rate(self) -> float:
        """In the units of the embedding; a network that makes all of the vectors wants smaller steps."""
        return 0.01 if self.reparameterize in ("mlp", "lstm") and not self.parameters else 0.1

    @property
    def slots(self) -> Mapping[str, int]:
        """Its slot, if it stands in one."""
        return {self.slot: self.length} if self.slot else {}

    def settings(self) -> Mapping[str, object]:
        """How many vectors, where, and which: by content once they are learned, before that by how they begin."""
        held = self.parameters.get(VECTORS)
        digest = {"sha256": held.digest[:16]} if held is not None else self._beginning
        where = {"slot": self.slot} if self.slot else {"place": self.place}
        return {"name": self.name, "length": self.length, **where, **digest}

    @property
    def _beginning(self) -> dict[str, object]:
        network = {"reparameterize": self.reparameterize, "width": self.width} if self.reparameterize else {}
        return {"init": self.init, "seed": self.seed, **network}

    def bind(self, bind_context: BindContext) -> InputTransform:
        """What puts the vectors into a prompt."""
        rows = self._vectors(self.initial_parameters(bind_context))
        bos = bind_context.ask.card.tokenizer.bos
        return lambda prompt: self._placed(prompt, rows, bos)

    def _placed(self, prompt: TextInput, rows: Array, bos: tuple[int, ...]) -> TextInput:
        if self.slot:
            return filled(prompt, rows, part=f"{SLOT_PART} {self.slot}")
        return inserted(prompt, rows, place_of(prompt, self.place, bos), part=SLOT_PART)

    def with_parameters(self, parameters: Mapping[str, Array], base: Mapping[str, str | int]) -> SoftPrompt:
        """The same soft prompt once it has been trained: its vectors alone, whatever has made them."""
        return replace(self, parameters={VECTORS: self._vectors(parameters)}, base=dict(base))

    def interventions(self, trained: Mapping[str, Any]) -> Interventions[Any]:
        """The vectors: what is trained, or what a network makes of that."""
        if self.reparameterize is None or VECTORS in trained:
            return Interventions(vectors=trained[VECTORS])
        return Interventions(vectors=made(self.reparameterize, trained))

    def _vectors(self, parameters: Mapping[str, Array]) -> Array:
        if self.reparameterize is None or VECTORS in parameters:
            return parameters[VECTORS]
        return evaluated(self.reparameterize, parameters)

    # ---- what they begin as -----------------------------------------------------------------------

    def initial_parameters(self, bind_context: BindContext) -> Mapping[str, Array]:
        """What was learned, or else the parameters before any training."""
        if self.parameters:
            return self.parameters
        begin = self._random(bind_context.ask) if self.init == "random" else self._of_tokens(bind_context)
        if self.reparameterize is None:
            return {VECTORS: as_array(begin)}
        return networked(self.reparameterize, begin, width=self.width or begin.shape[1], seed=self.seed)

    def _random(self, ask: Ask) -> Any:
        """Normal, at the root mean square of the embedding's rows."""
        ids = by_chance(ask.card.vocabulary, self.seed)[:SAMPLED]
        scale = np.sqrt(np.mean(ask.embed(ids).numpy() ** 2))
        return scale * generator("soft", self.seed).normal(size=(self.length, ask.card.d_model))

    def _of_tokens(self, bind_context: BindContext) -> Any:
        """A row a token, or the mean row of a label word's tokens; from the first again where there are too few."""
        ask = bind_context.ask
        groups = self._tokens(bind_context)
        rows = ask.embed([token for group in groups for token in group]).numpy()
        ends = np.cumsum([len(group) for group in groups])
        means = np.stack([part.mean(0) for part in np.split(rows, ends[:-1])])
        return means[np.arange(self.length) % len(means)]

    def _tokens(self, bind_context: BindContext) -> Sequence[Sequence[int]]:
        card = bind_context.ask.card
        if self.init == "vocabulary":
            return [[token] for token in common_tokens(card, self.seed)[: self.length]]
        if self.init != "labels":
            return [[token] for token in card.tokenizer.encode(self.init).ids]
        words = [*bind_context.reading.label_words().values()]
        if not words:
            raise InputError(
                "A soft prompt cannot be initialized from label words in a task without labels",
                code="no-label-words",
                got="init=labels",
                hint="Use init=vocabulary",
                init=self.init,
            )
        return [card.tokenizer.encode(f" {word}").ids for word in words]


def inserted(prompt: TextInput, rows: Array, at: int, *, part: str) -> TextInput:
    """The prompt with more learned vectors before its token `at`, as a span of their own."""
    table, first, count = _joined(prompt, rows)
    return replace(spliced(prompt, range(-1 - first, -1 - first - count, -1), at, part=part), vectors=table)


def filled(prompt: TextInput, rows: Array, *, part: str) -> TextInput:
    """The prompt with these vectors in every span of a slot."""
    table, first, count = _joined(prompt, rows)
    ids = [*prompt.ids]
    for span in prompt.spans:
        if span.part == part:
            ids[span.start : span.stop] = [-1 - first - place % count for place in range(span.stop - span.start)]
    return replace(prompt, ids=tuple(ids), vectors=table)


def _joined(prompt: TextInput, rows: Array) -> tuple[Array, int, int]:
    """Returns the prompt's table with more rows, the index of the first one, and their number."""
    if prompt.vectors is None:
        return rows, 0, rows.shape[0]
    if prompt.vectors.shape[1] != rows.shape[1]:
        raise CheckpointError(
            "The learned vectors of one prompt must have the same width",
            code="wrong-vector-width",
            got=f"vectors of width {prompt.vectors.shape[1]} and of width {rows.shape[1]}",
            hint="Use learned prompts of the same model",
            width=rows.shape[1],
            model_width=prompt.vectors.shape[1],
        )
    table = as_array(np.concatenate([prompt.vectors.numpy(), rows.numpy()]))
    return table, prompt.vectors.shape[0], rows.shape[0]
