"""Prefix tuning: learned keys and values before the prompt in a model's layers (Li and Liang 2021, arXiv:2101.00190).

In every layer and without a network it is P-tuning v2 (Liu et al. 2021, arXiv:2110.07602). With a network, the paper's
reparameterization, keys and values are computed from a learned row for each position,

    W2 tanh(W1 e + b1) + b2

and only the keys and values are saved.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from promptkit.core.arrays import Array, as_array
from promptkit.core.capabilities import Feature
from promptkit.core.errors import InputError
from promptkit.core.interventions import Interventions, KVPrefix, T
from promptkit.core.manipulation import BindContext, Embed, Transform
from promptkit.core.model import ModelCard, text_card
from promptkit.core.seeding import generator
from promptkit.core.taxonomy import Kind
from promptkit.manipulate.learned.layers import UNITS, LayerManipulation, layers_at, typical_sizes
from promptkit.manipulate.learned.placement import check_initialization
from promptkit.manipulate.learned.vocabulary import common_text, repeated

if TYPE_CHECKING:
    from numpy.random import Generator
    from torch import Tensor

    from promptkit.core.arrays import Floats

INITS = ("random", "vocabulary")
KEYS, VALUES = "keys", "values"


@dataclass(frozen=True, slots=True)
class Prefix(LayerManipulation):
    """Prepends learned keys and values to the prompt in a model's layers (Li and Liang 2021, arXiv:2101.00190).

    Its parameters are `keys` and `values`, of shape (layers, kv heads, length, head width).
    """

    length: int = 10
    """The number of positions before the prompt's first token."""
    _: KW_ONLY
    init: str = "vocabulary"
    """The initial keys and values: `random` at the scale of each layer, or what the model computes after its BOS token for
    common tokens (`vocabulary`) or for a text of several words."""
    mlp: int = 0
    """The width of the network that computes keys and values during training, at least `length`; 0 for no network."""
    seed: int = 0
    """The seed of the initial parameters."""

    name: ClassVar[str] = "prefix"
    kind: ClassVar[Kind] = Kind(format="learnable", location="hidden", operator="concatenative")
    requires: ClassVar[frozenset[Feature]] = frozenset({"text", "prefixes"})
    title: ClassVar[str] = "a prefix"
    shapes: ClassVar[Mapping[str, str]] = dict.fromkeys((KEYS, VALUES), "layers kv_heads length head_width")

    @property
    def context_tokens(self) -> int:
        """The number of tokens that it takes from the model's context: its length."""
        return self.length

    @property
    def learning_rate(self) -> float:
        """The default peak learning rate, in units of a layer's keys and values; lower for a network."""
        return 0.002 if self._has_network else 0.03

    @property
    def _has_network(self) -> bool:
        """Whether training uses a network; trained keys and values are trained further without one."""
        return bool(self.mlp) and not self.parameters

    def _check_options(self) -> None:
        check_initialization("a prefix", self.length, self.init, INITS)
        if self.mlp and self.mlp < self.length:
            raise InputError(
                "The width of a prefix's network must be at least the length of the prefix",
                code="network-too-narrow",
                got=f"mlp={self.mlp} for length={self.length}",
                hint=f"Use mlp={max(128, self.length)}, or leave it out",
                mlp=self.mlp,
                length=self.length,
            )

    def _sizes(self) -> Mapping[str, int]:
        return {**LayerManipulation._sizes(self), "length": self.length}

    def _placement_settings(self) -> Mapping[str, object]:
        return {"length": self.length, "layers": list(self.layers)}

    def _initial_settings(self) -> Mapping[str, object]:
        return {"init": self.init, "seed": self.seed, "mlp": self.mlp}

    def canonical(self, card: ModelCard) -> Self:
        """Returns the prefix without a list of layers, if these are all layers of the model."""
        return replace(self, layers=()) if self.layers == tuple(range(1, text_card(card).layers + 1)) else self

    def bind(self, bind_context: BindContext) -> Transform:
        """Returns the transform that adds the prefix to encoded prompts, after the prefixes that they already have."""
        layers_at(self.layers, text_card(bind_context.ask.card))
        values = self.parameters or self._saved_parameters(self.initial_parameters(bind_context))
        prefix = self._prefix(values[KEYS], values[VALUES], values[KEYS].shape[0])
        return lambda prepared: prepared.adding(prefixes=(prefix,))

    def _prefix(self, keys: T, values: T, count: int) -> KVPrefix[T]:
        return KVPrefix(length=self.length, layers=self._layer_numbers(count), keys=keys, values=values)

    # ---- training ---------------------------------------------------------------------------------

    def interventions(self, trained: Mapping[str, Tensor], embed: Embed) -> Interventions[Tensor]:
        """Returns the prefix as a differentiable function of the parameters."""
        pairs = self._in_model_units(trained)
        return Interventions(prefixes=(self._prefix(pairs[KEYS], pairs[VALUES], len(pairs[KEYS])),))

    def _in_model_units(self, trained: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        units = trained[UNITS][..., None, None, None]  # (2, layers, 1, 1, 1)
        if KEYS in trained:
            return {KEYS: trained[KEYS] * units[0], VALUES: trained[VALUES] * units[1]}
        hidden = (trained["rows"] @ trained["first"] + trained["first_bias"]).tanh()
        # second: (width, 2, layers, kv heads, head width) -> (2, layers, kv heads, length, head width)
        both = hidden @ trained["second"].flatten(1) + trained["second_bias"].flatten()
        pairs = both.reshape(len(both), *trained["second_bias"].shape).permute(1, 2, 3, 0, 4) * units
        return {KEYS: pairs[0], VALUES: pairs[1]}

    def initial_parameters(self, bind_context: BindContext) -> Mapping[str, Array]:
        """Returns keys and values in units of their layers, or a network that computes them, and the units."""
        pairs = self._trained_pairs() if self.parameters else self._pairs_of_tokens(bind_context)
        units = np.stack([typical_sizes(pairs[0]), typical_sizes(pairs[1])])
        draw = generator("prefix", self.seed)
        pairs = pairs / units[..., None, None, None]
        if self.init == "random" and not self.parameters:
            pairs = draw.normal(size=pairs.shape)
        trained = self._network(pairs, draw) if self._has_network else {KEYS: pairs[0], VALUES: pairs[1]}
        return {name: as_array(numbers) for name, numbers in {**trained, UNITS: units}.items()}

    def _trained_pairs(self) -> Floats:
        return np.stack([self.parameters[name].numpy() for name in (KEYS, VALUES)])

    def _pairs_of_tokens(self, bind_context: BindContext) -> Floats:
        """Returns the selected layers' keys and values of the initial tokens: (2, layers, kv heads, length, head width)."""
        card = text_card(bind_context.ask.card)
        tokens = common_text(card, self.length, self.seed)
        if self.init not in INITS:
            text = [*card.tokenizer.encode(self.init).ids]
            tokens = [*card.tokenizer.bos, *repeated(text, self.length)][: self.length]
        prefix = bind_context.ask.keys_values(tokens)
        selected = [prefix.layers.index(layer) for layer in layers_at(self.layers, card)]
        return np.stack([array.numpy()[selected] for array in (prefix.keys, prefix.values)])

    def _network(self, pairs: Floats, draw: Generator) -> dict[str, Floats]:
        """Returns a random network whose last layer is fitted to compute these keys and values."""
        rows = draw.normal(size=(self.length, self.mlp))
        first = draw.normal(size=(self.mlp, self.mlp)) / np.sqrt(self.mlp)
        target = np.moveaxis(pairs, 3, 0)  # (length, 2, layers, kv heads, head width)
        second = np.linalg.pinv(np.tanh(rows @ first)) @ target.reshape(self.length, -1)
        shape = target.shape[1:]
        biases = {"first_bias": np.zeros(self.mlp), "second_bias": np.zeros(shape)}
        return {"rows": rows, "first": first, "second": second.reshape(self.mlp, *shape), **biases}
