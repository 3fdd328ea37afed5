"""The layout of a packed row: where each prompt lies in it, and which tokens each token may attend to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from promptkit.core.interventions import Interventions
from promptkit.models.batching import ROOT, Tree
from promptkit.models.hf.kv_cache import GenerationCache, KeyValues

NOT_IN_PROMPT = -1
"""The value of `PackedRow.tokens_after` for a token of a continuation or of a generated text."""
UNKNOWN_TOKENS_AFTER = 2**31
"""The value of `PackedRow.tokens_after` for a token of a prompt that continues after the row."""


@dataclass(slots=True, kw_only=True)
class PackedRow:
    """A batch of prompts, each followed by its label tree, concatenated into one row of tokens without padding.

    `promptkit.models.hf.attention` shows an example. In the shapes below, B is the number of prompts, T the number of tokens
    in the row, M the number of tokens of the longest prompt with its tree, and N the number of keys of each prompt.
    """

    ids: Tensor
    """Token ids, shape (T,); a negative id refers to a learned vector."""
    positions: Tensor
    """Position of each token in its prompt, shape (T,). Counts the shared prefix, but not the learned ones."""
    tokens_after: Tensor
    """The number of prompt tokens after each token, shape (T,); see `NOT_IN_PROMPT` and `UNKNOWN_TOKENS_AFTER`."""
    unpack_index: Tensor
    """Row index of each prompt's tokens, shape (B, M); T where a prompt is shorter than M."""
    pack_index: Tensor
    """Index of each token of the row into the unpacked, flattened tokens (B * M), shape (T,): the inverse of `unpack_index`."""
    visible: Tensor
    """Whether a query may attend to a key of its own prompt, shape (B, M, N), bool; a sliding window is not considered."""
    query_positions: Tensor
    """Unpacked `positions`, shape (B, M)."""
    key_positions: Tensor
    """Positions of the prompts' keys, shape (B, N)."""
    starts: tuple[int, ...]
    """Row index of each prompt's first token."""
    lengths: tuple[int, ...]
    """Number of tokens of each prompt, without the shared prefix and the tree."""
    prefix: KeyValues
    """Keys and values of the shared prefix; empty if nothing is shared."""
    reuse: int
    """How many tokens of `prefix` all prompts of the row begin with."""
    interventions: Interventions[Tensor]
    """Learned vectors in the row, learned prefixes before it, and edits of its hidden states."""
    generation: GenerationCache | None = None
    """The earlier tokens of the texts if the row holds the next token of each; None if it holds whole prompts."""
    store: bool = False
    """Whether attention stores this row's keys and values in `stored`."""
    stored: KeyValues = field(default_factory=dict)
    """The keys and values of the row's tokens, if `store` is set."""
    windows: dict[int, int | None] = field(default_factory=dict)
    """The sliding window that each layer applied; read by the check at load."""

    @property
    def learned_tokens(self) -> int:
        """The number of positions that the learned prefixes take before every prompt."""
        return sum(prefix.length for prefix in self.interventions.prefixes)

    def index(self, prompt: int, node: int) -> int:
        """Returns the row index of a node of a prompt's tree, or of the prompt's last token for ROOT."""
        last = self.starts[prompt] + self.lengths[prompt] - 1
        return last if node == ROOT else last + 1 + node

    def prompt_slice(self, prompt: int) -> slice:
        """Returns the row indices of a prompt's tokens, without its tree."""
        return slice(self.starts[prompt], self.starts[prompt] + self.lengths[prompt])

    def stored_prompt(self, prompt: int) -> KeyValues:
        """Returns the stored keys and values of a prompt, without the shared prefix."""
        tokens = self.prompt_slice(prompt)
        return {layer: (keys[:, tokens], values[:, tokens]) for layer, (keys, values) in self.stored.items()}


def pack(
    prompts: Sequence[tuple[int, ...]],
    trees: Sequence[Tree],
    *,
    prefix: KeyValues,
    reuse: int,
    device: torch.device,
    interventions: Interventions[Tensor],
    store: bool = False,
    unfinished: bool = False,
) -> PackedRow:
    """Packs prompts and their label trees into one row.

    Args:
        prompts: Token ids of each prompt after its first `reuse` ones.
        trees: The continuations of each prompt.
        prefix: Keys and values that the prompts share.
        reuse: How many tokens of `prefix` they begin with.
        device: Where the tensors are created.
        interventions: What the prompts contain that is learned.
        store: Whether to store the row's keys and values.
        unfinished: Whether the prompts continue after the row, so that the distance to their ends is unknown.
    """
    lengths = [len(prompt) for prompt in prompts]
    lengths_and_trees = list(zip(lengths, trees, strict=True))
    ids = [token for prompt, tree in zip(prompts, trees, strict=True) for token in prompt + tree.tokens]
    sizes = [length + len(tree.tokens) for length, tree in lengths_and_trees]
    starts = [0, *accumulate(sizes)][:-1]
    total, widest = sum(sizes), max(sizes)
    positions = [_positions(length, tree, reuse) for length, tree in lengths_and_trees]
    after = [_tokens_after(length, tree, unfinished) for length, tree in lengths_and_trees]
    indices = [torch.arange(start, start + size) for start, size in zip(starts, sizes, strict=True)]
    padded_positions = pad_sequence(positions, batch_first=True).to(device)
    return PackedRow(
        ids=torch.tensor(ids, device=device),
        positions=torch.cat(positions).to(device),
        tokens_after=torch.cat(after).to(device),
        unpack_index=pad_sequence(indices, batch_first=True, padding_value=total).to(device),
        pack_index=torch.cat([number * widest + torch.arange(size) for number, size in enumerate(sizes)]).to(device),
        visible=torch.stack([_visible(length, tree, widest) for length, tree in lengths_and_trees]).to(device),
        query_positions=padded_positions,
        key_positions=padded_positions,
        starts=tuple(starts),
        lengths=tuple(lengths),
        prefix=prefix,
        reuse=reuse,
        interventions=interventions,
        store=store,
    )


def pack_next_tokens(
    tokens: Sequence[int],
    generation: GenerationCache,
    *,
    prefix: KeyValues,
    reuse: int,
    device: torch.device,
    interventions: Interventions[Tensor],
) -> PackedRow:
    """Packs the next token of each text into one row; a prompt of the row is then a single token, so that M is 1."""
    count = len(tokens)
    row = torch.arange(count, device=device)
    lengths = torch.tensor(generation.lengths, device=device)
    key_index = torch.arange(max(generation.lengths) + 1, device=device)
    return PackedRow(
        ids=torch.tensor(tokens, device=device),
        positions=reuse + lengths,
        tokens_after=torch.full((count,), NOT_IN_PROMPT, device=device),
        unpack_index=row[:, None],
        pack_index=row,
        visible=key_index <= lengths[:, None, None],
        query_positions=reuse + lengths[:, None],
        key_positions=(reuse + key_index).expand(count, -1),
        starts=tuple(range(count)),
        lengths=(1,) * count,
        prefix=prefix,
        reuse=reuse,
        interventions=interventions,
        generation=generation,
    )


def _positions(length: int, tree: Tree, reuse: int) -> Tensor:
    """Positions of a prompt's tokens, then of its tree's nodes; nodes of the same depth have the same position."""
    last = reuse + length - 1
    return torch.tensor([*range(reuse, reuse + length), *(last + depth for depth in tree.depths)], dtype=torch.long)


def _tokens_after(length: int, tree: Tree, unfinished: bool) -> Tensor:
    after = [UNKNOWN_TOKENS_AFTER] * length if unfinished else list(range(length - 1, -1, -1))
    return torch.tensor(after + [NOT_IN_PROMPT] * len(tree.depths), dtype=torch.long)


def _visible(length: int, tree: Tree, widest: int) -> Tensor:
    """Returns the causal mask of one prompt and its tree, shape (M, M), bool; padding sees itself, so that no row is empty."""
    size = length + len(tree.tokens)
    visible = torch.eye(widest, dtype=torch.bool)
    visible[:length, :length] = torch.ones(length, length, dtype=torch.bool).tril()
    visible[length:size, :length] = True
    visible[length:size, length:size] = _ancestors(tree.parents)
    return visible


@lru_cache(maxsize=256)
def _ancestors(parents: tuple[int, ...]) -> Tensor:
    """Returns whether the second node is the first one itself or one of its ancestors, shape (nodes, nodes), bool."""
    ancestors = torch.eye(len(parents), dtype=torch.bool)
    for node, parent in enumerate(parents):
        if parent != ROOT:
            ancestors[node] |= ancestors[parent]
    return ancestors
