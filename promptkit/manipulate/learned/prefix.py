"""Prefix tuning: learned keys and values before the prompt in a model's layers (Li and Liang 2021, 2101.00190).

(learnable, hidden, concatenative). At every layer and without reparameterization it is P-tuning v2 (Liu et al. 2021,
2110.07602). Prefix tuning's reparameterization is keys and values that a small network makes of a learned row a position,
W2 tanh(W1 e + b1) + b2; what is saved is what they come to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, ClassVar

import numpy as np

from promptkit.core.arrays import Array, as_array, check_parameters, parameters_digest
from promptkit.core.errors import InputError
from promptkit.core.inputs import Interventions, KVPrefix
from promptkit.core.manipulation import BindContext, InputTransform
from promptkit.core.registry import parameters_field
from promptkit.core.seeding import generator
from promptkit.core.taxonomy import Kind
from promptkit.manipulate.learned.layers import UNITS, layers_at, resolved, settle_layers, sizes
from promptkit.manipulate.learned.placement import check_beginning
from promptkit.manipulate.learned.vocabulary import common_text

INITS = ("random", "vocabulary")
KEYS, VALUES = "keys", "values"


@dataclass(frozen=True)
class Prefix:
    """Learned keys and values before the prompt, in every layer or in some."""

    length: int = 10
    """How many positions, before the prompt's first token."""
    _: KW_ONLY
    layers: tuple[int, ...] = ()
    """The layers that have them, counted from 1; all unless given."""
    init: str = "vocabulary"
    """What they begin as: `random` (at the scale of a layer's own), or the keys and values of common tokens (`vocabulary`) or
    of a text of several words, as the model reads them behind its BOS."""
    mlp: int = 0
    """The width of the network that makes them while they are trained, at least `length`; 0 for none."""
    seed: int = 0
    """Of what is drawn to begin with."""
    parameters: Mapping[str, Array] = parameters_field()
    """What was learned: `keys` and `values`, of shape (layers, kv heads, length, head width); nothing before that."""
    base: Mapping[str, str | int] = parameters_field()
    """The model that it was learned on."""

    name: ClassVar[str] = "prefix"
    kind: ClassVar[Kind] = Kind(format="learnable", location="hidden", operator="concatenative")
    slots: ClassVar[Mapping[str, int]] = {}
    fixed_parameters: ClassVar[frozenset[str]] = frozenset({UNITS})

    def __post_init__(self) -> None:
        """Refuse what no prefix can be."""
        settle_layers(self)
        check_beginning("a prefix", self.length, self.init, INITS)
        if self.mlp and self.mlp < self.length:
            raise InputError(
                "The width of a prefix's network must be at least the length of the prefix",
                code="network-too-narrow",
                got=f"mlp={self.mlp} for length={self.length}",
                hint=f"Use mlp={max(128, self.length)}, or leave it out",
                mlp=self.mlp,
                length=self.length,
            )
        shapes = dict.fromkeys((KEYS, VALUES), "layers kv_heads length head_width")
        check_parameters("a prefix", self.parameters, shapes, length=self.length, layers=len(self.layers))

    @property
    def context_tokens(self) -> int:
        """Tokens of the model's context that it takes: its positions."""
        return self.length

    @property
    def learning_rate(self) -> float:
        """In the units of a layer's keys and values; a network wants smaller steps."""
        return 0.002 if self.mlp and not self.parameters else 0.03

    def settings(self) -> Mapping[str, object]:
        """How many positions, where, and which: by content once they are learned, before that by how they begin."""
        told = {"sha256": parameters_digest(self.parameters)} if self.parameters else self._beginning
        return {"name": self.name, "length": self.length, "layers": list(self.layers), **told}

    @property
    def _beginning(self) -> dict[str, object]:
        return {"init": self.init, "seed": self.seed, "mlp": self.mlp}

    def bind(self, bind_context: BindContext) -> InputTransform:
        """What puts the prefix before a prompt, behind those that are there."""
        layers_at(self.layers, bind_context.ask.card)
        held = self.parameters or resolved(self.initial_parameters(bind_context), self._made)
        prefix = self._prefix(held[KEYS], held[VALUES], held[KEYS].shape[0])
        return lambda prompt: replace(prompt, prefixes=(*prompt.prefixes, prefix))

    def _prefix(self, keys: Any, values: Any, count: int) -> KVPrefix[Any]:
        layers = self.layers or tuple(range(1, count + 1))
        return KVPrefix(length=self.length, layers=layers, keys=keys, values=values)

    # ---- training ---------------------------------------------------------------------------------

    def interventions(self, trained: Mapping[str, Any]) -> Interventions[Any]:
        """The prefix."""
        made = self._made(trained)
        return Interventions(prefixes=(self._prefix(made[KEYS], made[VALUES], len(made[KEYS])),))

    def with_parameters(self, trained: Mapping[str, Array], base: Mapping[str, str | int]) -> Prefix:
        """The same prefix once it has been trained."""
        return replace(self, parameters=resolved(trained, self._made), base=dict(base))

    def _made(self, trained: Mapping[str, Any]) -> Mapping[str, Any]:
        """Keys and values in the model's own units, of tensors."""
        units = trained[UNITS][..., None, None, None]  # (2, layers, 1, 1, 1)
        if KEYS in trained:
            return {KEYS: trained[KEYS] * units[0], VALUES: trained[VALUES] * units[1]}
        hidden = (trained["rows"] @ trained["first"] + trained["first_bias"]).tanh()
        # second: (width, 2, layers, kv heads, head width) -> (2, layers, kv heads, length, head width)
        both = hidden @ trained["second"].flatten(1) + trained["second_bias"].flatten()
        pairs = both.unflatten(1, trained["second_bias"].shape).permute(1, 2, 3, 0, 4) * units
        return {KEYS: pairs[0], VALUES: pairs[1]}

    def initial_parameters(self, bind_context: BindContext) -> Mapping[str, Array]:
        """Keys and values in units of their layers, or the network that makes the very same."""
        pairs = self._held() if self.parameters else self._of_tokens(bind_context)
        units = np.stack([sizes(pairs[0]), sizes(pairs[1])])
        chance = generator("prefix", self.seed)
        pairs = pairs / units[..., None, None, None]
        if self.init == "random" and not self.parameters:
            pairs = chance.normal(size=pairs.shape)
        network = self.mlp and not self.parameters  # what it has made goes on without it
        trained = self._network(pairs, chance) if network else {KEYS: pairs[0], VALUES: pairs[1]}
        return {name: as_array(numbers) for name, numbers in {**trained, UNITS: units}.items()}

    def _held(self) -> Any:
        return np.stack([self.parameters[name].numpy() for name in (KEYS, VALUES)])

    def _of_tokens(self, bind_context: BindContext) -> Any:
        """What the chosen layers hold of the tokens that it begins as, (2, layers, kv heads, length, head width)."""
        card = bind_context.ask.card
        tokens = common_text(card, self.length, self.seed)
        if self.init not in INITS:
            told = [*card.tokenizer.encode(self.init).ids]
            tokens = [*card.tokenizer.bos, *told * self.length][: self.length]
        whole = bind_context.ask.keys_values(tokens)
        chosen = [whole.layers.index(layer) for layer in layers_at(self.layers, card)]
        return np.stack([each.numpy()[chosen] for each in (whole.keys, whole.values)])

    def _network(self, pairs: Any, chance: Any) -> dict[str, Any]:
        """A network drawn by chance whose last layer is such that it makes these pairs."""
        rows = chance.normal(size=(self.length, self.mlp))
        first = chance.normal(size=(self.mlp, self.mlp)) / np.sqrt(self.mlp)
        wanted = np.moveaxis(pairs, 3, 0)  # (length, 2, layers, kv heads, head width)
        second = np.linalg.pinv(np.tanh(rows @ first)) @ wanted.reshape(self.length, -1)
        shape = wanted.shape[1:]
        biases = {"first_bias": np.zeros(self.mlp), "second_bias": np.zeros(shape)}
        return {"rows": rows, "first": first, "second": second.reshape(self.mlp, *shape), **biases}
