"""Soft prompts: learned vectors among the prompt's tokens (prompt tuning, Lester et al. 2021, arXiv:2104.08691).

The vectors replace the output of the model's embedding module, so that a model's embedding scale, such as Gemma's
sqrt(d_model), is part of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from promptkit.core.arrays import Array, as_array
from promptkit.core.capabilities import Feature
from promptkit.core.errors import CheckpointError, InputError
from promptkit.core.interventions import Interventions
from promptkit.core.manipulation import Ask, BindContext, Embed, Transform
from promptkit.core.model import ModelCard, text_card
from promptkit.core.requests import Prepared
from promptkit.core.seeding import generator
from promptkit.core.taxonomy import Kind
from promptkit.inputs.text.encoding import SLOT_PART
from promptkit.manipulate.learned.placement import TokenManipulation
from promptkit.manipulate.learned.reparameterization import (
    Reparameterization,
    differentiable_output,
    initial_network,
    network_output,
)
from promptkit.manipulate.learned.vocabulary import common_tokens, shuffled_ids

if TYPE_CHECKING:
    from torch import Tensor

    from promptkit.core.arrays import Floats

SAMPLED = 1024
"""The number of embedding rows that the embedding's scale is estimated from."""
VECTORS = "vectors"


@dataclass(frozen=True, slots=True)
class SoftPrompt(TokenManipulation):
    """Inserts learned vectors into the prompt (prompt tuning, Lester et al. 2021, arXiv:2104.08691).

    Its parameter is `vectors`, of shape (length, d_model).
    """

    length: int = 20
    """The number of vectors."""
    _: KW_ONLY
    init: str = "vocabulary"
    """The initial vectors: `random` at the scale of the embedding, or the embeddings of common tokens (`vocabulary`), of the
    label words (`labels`), or of the tokens of a text of several words."""
    reparameterize: Reparameterization | None = None
    """Compute the vectors during training by a network, `mlp`, `lstm` or `residual`; only the vectors are saved. The default
    learning rate of `mlp` and `lstm` is 0.01 instead of 0.1."""
    width: int | None = None
    """The width of the network's hidden layers; d_model by default."""

    name: ClassVar[str] = "soft"
    kind: ClassVar[Kind] = Kind(format="learnable", location="embedding", operator="concatenative")
    requires: ClassVar[frozenset[Feature]] = frozenset({"text", "vectors"})
    title: ClassVar[str] = "a soft prompt"
    shapes: ClassVar[Mapping[str, str]] = {VECTORS: "length d_model"}
    inits: ClassVar[Sequence[str]] = ("random", "vocabulary", "labels")
    part: ClassVar[str] = SLOT_PART

    @property
    def learning_rate(self) -> float:
        """The default peak learning rate, in units of the embedding; lower for a network that computes all of the vectors."""
        return 0.01 if self.reparameterize in ("mlp", "lstm") and not self.parameters else 0.1

    def _check_settings(self) -> None:
        TokenManipulation._check_settings(self)
        if self.width is not None and (not self.reparameterize or self.width < 1):
            raise InputError(
                "The width of a reparameterization must be at least 1, and needs a reparameterization",
                code="out-of-range" if self.reparameterize else "width-without-network",
                got=f"width={self.width!r}",
                hint="Write reparameterize=mlp:width=64",
                width=self.width,
            )

    def _initial_settings(self) -> Mapping[str, object]:
        network = {"reparameterize": self.reparameterize, "width": self.width} if self.reparameterize else {}
        return {**TokenManipulation._initial_settings(self), **network}

    def canonical(self, card: ModelCard) -> Self:
        """Returns the soft prompt at the start, if the model has no BOS token."""
        return self if self.slot or text_card(card).tokenizer.bos else replace(self, place="start")

    def bind(self, bind_context: BindContext) -> Transform:
        """Returns the transform that inserts the vectors into encoded prompts."""
        rows = self._vectors(self.initial_parameters(bind_context))
        bos = text_card(bind_context.ask.card).tokenizer.bos
        return lambda prepared: self.insert(prepared, rows, bos)

    def insert(self, prepared: Prepared, rows: Array, bos: tuple[int, ...]) -> Prepared:
        """Returns a copy with the vectors in the prompt's slot or at their place, after vectors that it already has."""
        table, first, count = _joined(prepared.interventions.vectors, rows)
        changed = self._with_ids(prepared, range(-1 - first, -1 - first - count, -1), bos)
        return replace(changed, interventions=replace(prepared.interventions, vectors=table))

    def interventions(self, trained: Mapping[str, Tensor], embed: Embed) -> Interventions[Tensor]:
        """Returns the vectors, or those that the network computes, as a differentiable function of the parameters."""
        if self.reparameterize is None or VECTORS in trained:
            return Interventions(vectors=trained[VECTORS])
        return Interventions(vectors=differentiable_output(self.reparameterize, trained))

    def _saved_parameters(self, trained: Mapping[str, Array]) -> Mapping[str, Array]:
        return {VECTORS: self._vectors(trained)}

    def _vectors(self, parameters: Mapping[str, Array]) -> Array:
        if self.reparameterize is None or VECTORS in parameters:
            return parameters[VECTORS]
        return network_output(self.reparameterize, parameters)

    # ---- initialization ---------------------------------------------------------------------------

    def initial_parameters(self, bind_context: BindContext) -> Mapping[str, Array]:
        """Returns the trained vectors, or else the initial vectors or network."""
        if self.parameters:
            return self.parameters
        vectors = self._random(bind_context.ask) if self.init == "random" else self._of_tokens(bind_context)
        if self.reparameterize is None:
            return {VECTORS: as_array(vectors)}
        return initial_network(self.reparameterize, vectors, width=self.width or vectors.shape[1], seed=self.seed)

    def _random(self, ask: Ask) -> Floats:
        """Returns normal vectors with the root mean square of the embedding's rows."""
        ids = shuffled_ids(text_card(ask.card).vocabulary, self.seed)[:SAMPLED]
        scale = np.sqrt(np.mean(ask.embed(ids).numpy() ** 2))
        vectors: Floats = scale * generator("soft", self.seed).normal(size=(self.length, text_card(ask.card).embedding_width))
        return vectors

    def _of_tokens(self, bind_context: BindContext) -> Floats:
        """Returns the mean embedding of each group of tokens, starting over where there are too few groups."""
        ask = bind_context.ask
        groups = self._token_groups(bind_context)
        rows = ask.embed([token for group in groups for token in group]).numpy()
        ends = np.cumsum([len(group) for group in groups])
        means = np.stack([part.mean(0) for part in np.split(rows, ends[:-1])])
        repeated: Floats = means[np.arange(self.length) % len(means)]
        return repeated

    def _token_groups(self, bind_context: BindContext) -> Sequence[Sequence[int]]:
        """Returns single tokens, or the tokens of each label word."""
        card = text_card(bind_context.ask.card)
        if self.init == "vocabulary":
            return [[token] for token in common_tokens(card, self.seed)[: self.length]]
        if self.init != "labels":
            return [[token] for token in card.tokenizer.encode(self.init).ids]
        words = [*bind_context.reader.label_words().values()]
        if not words:
            raise InputError(
                "A soft prompt cannot be initialized from label words in a task without labels",
                code="no-label-words",
                got="init=labels",
                hint="Use init=vocabulary",
                init=self.init,
            )
        return [card.tokenizer.encode(f" {word}").ids for word in words]


def _joined(present: Array | None, rows: Array) -> tuple[Array, int, int]:
    """Returns a table of vectors with more rows, the index of the first new row, and the number of new rows."""
    if present is None:
        return rows, 0, rows.shape[0]
    if present.shape[1] != rows.shape[1]:
        raise CheckpointError(
            "The learned vectors of one prompt must have the same width",
            code="wrong-vector-width",
            got=f"vectors of width {present.shape[1]} and of width {rows.shape[1]}",
            hint="Use learned prompts of the same model",
            width=rows.shape[1],
            model_width=present.shape[1],
        )
    table = as_array(np.concatenate([present.numpy(), rows.numpy()]))
    return table, present.shape[0], rows.shape[0]
