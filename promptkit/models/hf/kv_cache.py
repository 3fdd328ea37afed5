"""Keys and values of attention layers: of the shared prefix, and of texts while they are generated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

KeyValues = dict[int, tuple[Tensor, Tensor]]
"""Layer, counted from 0 -> its keys and its values, each of shape (kv heads, tokens, head width)."""


def extend(prefix: KeyValues, following: KeyValues) -> KeyValues:
    """Returns the keys and values of a prefix and of the tokens that follow it; an empty prefix has no layers."""
    if not prefix:
        return dict(following)
    return {
        layer: (torch.cat([prefix[layer][0], keys], 1), torch.cat([prefix[layer][1], values], 1))
        for layer, (keys, values) in following.items()
    }


@dataclass(slots=True, kw_only=True)
class GenerationCache:
    """The keys and values of texts that are being generated, without the shared prefix.

    Memory is allocated once, for the longest text possible.
    """

    layers: KeyValues
    """Layer -> keys and values, each of shape (kv heads, texts, capacity, head width)."""
    lengths: tuple[int, ...]
    """The number of tokens stored for each text, its prompt included."""

    @classmethod
    def from_prompts(cls, prompts: Sequence[KeyValues], capacity: int) -> GenerationCache:
        """Returns a cache with a copy of each text's prompt, and capacity for `capacity` tokens a text."""
        layers = {
            layer: (
                _stack([prompt[layer][0] for prompt in prompts], capacity),
                _stack([prompt[layer][1] for prompt in prompts], capacity),
            )
            for layer in prompts[0]
        }
        lengths = (next(iter(prompt.values()))[0].shape[1] for prompt in prompts)
        return cls(layers=layers, lengths=tuple(lengths))

    def append(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Stores the next token of every text at a layer, without advancing `lengths`.

        Args:
            layer: The layer, counted from 0.
            key: Shape (kv heads, texts, head width).
            value: Shape as `key`.

        Returns:
            The keys and values of all stored tokens, each of shape (kv heads, texts, N, head width), where N is the length
            of the longest text.
        """
        texts = torch.arange(len(self.lengths), device=key.device)
        places = torch.tensor(self.lengths, device=key.device)
        keys, values = self.layers[layer]
        keys[:, texts, places] = key
        values[:, texts, places] = value
        longest = max(self.lengths) + 1
        return keys[:, :, :longest], values[:, :, :longest]

    def advance(self) -> None:
        """Counts the token of every text that all layers have stored."""
        self.lengths = tuple(length + 1 for length in self.lengths)

    def select(self, texts: Sequence[int]) -> GenerationCache:
        """Returns a cache of some of the texts, by index."""
        layers = {layer: (keys[:, texts], values[:, texts]) for layer, (keys, values) in self.layers.items()}
        return GenerationCache(layers=layers, lengths=tuple(self.lengths[text] for text in texts))


def _stack(prompts: Sequence[Tensor], capacity: int) -> Tensor:
    """Stacks (kv heads, tokens, head width) of each prompt to (kv heads, prompts, capacity, head width), padded with zeros."""
    kv_heads, _, width = prompts[0].shape
    stacked = prompts[0].new_zeros(kv_heads, len(prompts), capacity, width)
    for number, prompt in enumerate(prompts):
        stacked[:, number, : prompt.shape[1]] = prompt
    return stacked
