"""Attention over a packed row: many prompts in one row of tokens, without padding, over one shared prefix.

Every token of a batch stands in a single row, so that the linear layers see no padding. Only attention knows where one
prompt ends and the next begins: each query attends to the shared prefix (keys and values computed once and never
copied) and to its own prompt's tokens, a tree of which the labels are the branches; the two parts are joined by their
softmax normalisers, as in cascade inference (Juravsky et al. 2024, Hydragen, 2402.05099). All key/value code of
promptkit is here. It asks of transformers only its attention interface, and no cache class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from promptkit.core.inputs import Interventions
from promptkit.models.batching import ROOT, Tree
from promptkit.models.hf.lm_head import capped

ATTENTION = "promptkit_packed"
"""The name under which `attend` is registered with transformers."""
SCORES_AT_ONCE = 2**26
"""Attention scores held at a time; queries beyond it are taken in blocks."""
NO_PROMPT, NO_END = -1, 2**31
"""What stands for how many tokens of its prompt are behind a token: it is none of a prompt, or the end is not known."""
KeyValues = dict[int, tuple[Tensor, Tensor]]
"""Layer -> keys and values, each of shape (kv heads, tokens, head width)."""


@dataclass(slots=True, kw_only=True)
class Past:
    """The keys and values of texts as they are written, beyond the shared prefix; each text's own, from its first token."""

    layers: KeyValues
    """Layer -> keys and values, each of shape (kv heads, texts, room, head width)."""
    lengths: tuple[int, ...]
    """Tokens held of each text."""

    @classmethod
    def copied(cls, texts: Sequence[tuple[Layout, int]], room: int) -> Past:
        """The past of texts that go on from prompts of packed rows: (the row, which prompt); with room for more tokens."""
        layers = {}
        for layer, pair in texts[0][0].kept.items():
            layers[layer] = tuple(x.new_zeros(x.shape[0], len(texts), room, x.shape[2]) for x in pair)
            for number, (row, prompt) in enumerate(texts):
                start, length = row.starts[prompt], row.lengths[prompt]
                for held, x in zip(layers[layer], row.kept[layer], strict=True):
                    held[:, number, :length] = x[:, start : start + length]
        return cls(layers=layers, lengths=tuple(row.lengths[prompt] for row, prompt in texts))  # type: ignore[arg-type]

    def add(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Put in the next token of every text, (kv heads, texts, width); all that is held, (kv heads, texts, N, width)."""
        texts = torch.arange(len(self.lengths), device=key.device)
        places = torch.tensor(self.lengths, device=key.device)
        for held, x in zip(self.layers[layer], (key, value), strict=True):
            held[:, texts, places] = x
        longest = max(self.lengths) + 1
        keys, values = self.layers[layer]
        return keys[:, :, :longest], values[:, :, :longest]

    def only(self, texts: Sequence[int]) -> Past:
        """Some of the texts."""
        layers = {layer: (keys[:, texts], values[:, texts]) for layer, (keys, values) in self.layers.items()}
        return Past(layers=layers, lengths=tuple(self.lengths[text] for text in texts))


@dataclass(slots=True, kw_only=True)
class Layout:
    """Where each prompt of a packed row lies, and what it may attend to."""

    ids: Tensor
    """Shape (T,)."""
    positions: Tensor
    """Shape (T,): each token's position in its own prompt, learned prefixes not counted."""
    places: Tensor
    """Shape (B, M): the row's index of each prompt's tokens; T where a prompt is shorter than M."""
    back: Tensor
    """Shape (T,): the index into (B * M) of each token of the row."""
    visible: Tensor
    """Shape (B, M, N), bool: query token, key token."""
    query_positions: Tensor
    """Shape (B, M)."""
    key_positions: Tensor
    """Shape (B, N): N is M, but where texts are written, N their longest so far."""
    starts: tuple[int, ...]
    """The row's index of each prompt's first token."""
    lengths: tuple[int, ...]
    """Each prompt's own tokens, tree nodes not counted."""
    prefix: KeyValues
    """The shared prefix; empty where nothing is shared."""
    reuse: int
    """How many tokens of `prefix` are attended to."""
    behind: Tensor
    """Shape (T,): how many tokens of its prompt stand behind each one; less than 0 where it is none of a prompt."""
    interventions: Interventions[Tensor]
    """What is learned and stands in the row, before it, or changes its hidden states."""
    past: Past | None = None
    """The keys and values of the texts whose next tokens the row holds; None where the row holds whole prompts."""
    keep: bool = False
    """Whether to keep this row's own keys and values in `kept`: how the prefix is made."""
    kept: KeyValues = field(default_factory=dict)
    windows: dict[int, int | None] = field(default_factory=dict)
    """The sliding window that each layer was seen to apply, for the check at load."""

    @property
    def before(self) -> int:
        """The positions before the prompts' own, which learned prefixes take."""
        return sum(prefix.length for prefix in self.interventions.prefixes)

    def index(self, prompt: int, node: int) -> int:
        """The row's index of a tree node, or of the prompt's last token for ROOT."""
        last = self.starts[prompt] + self.lengths[prompt] - 1
        return last if node == ROOT else last + 1 + node


def lay_out(
    prompts: Sequence[tuple[int, ...]],
    trees: Sequence[Tree],
    *,
    prefix: KeyValues,
    reuse: int,
    device: torch.device,
    interventions: Interventions[Tensor],
    keep: bool = False,
    unfinished: bool = False,
) -> Layout:
    """Pack prompts (their tokens behind the first `reuse`) and their label trees into one row.

    Where a prompt is `unfinished`, there is no saying how many tokens stand behind its last one.
    """
    ids: list[int] = []
    positions: list[int] = []
    behind: list[int] = []
    starts = []
    sizes = [len(prompt) + len(tree.tokens) for prompt, tree in zip(prompts, trees, strict=True)]
    widest = max(sizes)
    total = sum(sizes)
    places = torch.full((len(prompts), widest), total)
    back = torch.empty(total, dtype=torch.long)
    visible = torch.eye(widest, dtype=torch.bool).repeat(len(prompts), 1, 1)
    padded = torch.zeros((len(prompts), widest), dtype=torch.long)
    for row, (prompt, tree) in enumerate(zip(prompts, trees, strict=True)):
        length, size, start = len(prompt), sizes[row], len(ids)
        own = [reuse + i for i in range(length)] + [reuse + length - 1 + depth for depth in tree.depths]
        ids += prompt + tree.tokens
        positions += own
        behind += [NO_END if unfinished else length - 1 - i for i in range(length)] + [NO_PROMPT] * len(tree.depths)
        starts.append(start)
        places[row, :size] = torch.arange(start, start + size)
        back[start : start + size] = row * widest + torch.arange(size)
        padded[row, :size] = torch.tensor(own)
        visible[row, :length, :length] = torch.ones(length, length, dtype=torch.bool).tril()
        visible[row, length:size, :length] = True
        visible[row, length:size, length:size] = _ancestors(tree.parents)
    return Layout(
        ids=torch.tensor(ids, device=device),
        positions=torch.tensor(positions, device=device),
        places=places.to(device),
        back=back.to(device),
        visible=visible.to(device),
        query_positions=padded.to(device),
        key_positions=padded.to(device),
        starts=tuple(starts),
        lengths=tuple(len(prompt) for prompt in prompts),
        prefix=prefix,
        reuse=reuse,
        behind=torch.tensor(behind, device=device),
        interventions=interventions,
        keep=keep,
    )


@lru_cache(maxsize=256)
def _ancestors(parents: tuple[int, ...]) -> Tensor:
    """Shape (nodes, nodes), bool: whether the second is the first or one of its ancestors."""
    seen = torch.eye(len(parents), dtype=torch.bool)
    for node, parent in enumerate(parents):
        if parent != ROOT:
            seen[node] |= seen[parent]
    return seen


def lay_out_step(
    tokens: Sequence[int],
    past: Past,
    *,
    prefix: KeyValues,
    reuse: int,
    device: torch.device,
    interventions: Interventions[Tensor],
) -> Layout:
    """The next token of each text as one row."""
    count = len(tokens)
    row = torch.arange(count, device=device)
    lengths = torch.tensor(past.lengths, device=device)
    places = torch.arange(max(past.lengths) + 1, device=device)
    return Layout(
        ids=torch.tensor(tokens, device=device),
        positions=reuse + lengths,
        places=row[:, None],
        back=row,
        visible=places <= lengths[:, None, None],
        query_positions=reuse + lengths[:, None],
        key_positions=(reuse + places).expand(count, -1),
        starts=tuple(range(count)),
        lengths=(1,) * count,
        prefix=prefix,
        reuse=reuse,
        behind=torch.full((count,), NO_PROMPT, device=device),
        interventions=interventions,
        past=past,
    )


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    packed: Layout,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **_: object,
) -> tuple[Tensor, None]:
    """Attention of a packed row, in the form that transformers' attention interface asks for.

    query has shape (1, heads, T, width), key and value (1, kv heads, T, width); the result is (1, T, heads, width).
    Softmax is taken in float32. Differentiable.
    """
    if s_aux is not None or attention_mask is not None:
        raise NotImplementedError("attention sinks and ready-made masks")
    layer, heads, kv_heads, width = module.layer_idx, query.shape[1], key.shape[1], query.shape[3]
    packed.windows[layer] = sliding_window
    if packed.keep:
        packed.kept[layer] = (key[0], value[0])
    scale = width**-0.5 if scaling is None else scaling
    rows, widest = packed.places.shape
    # (kv heads, rows, group, widest, width)
    queries = _unpack(query[0] * scale, packed.places).view(kv_heads, heads // kv_heads, rows, widest, -1).transpose(1, 2)
    sources = [_own(packed, layer, key[0], value[0], sliding_window), *_shared(packed, layer, sliding_window)]
    sources += _learned(packed, layer, sliding_window, key.dtype)
    held = sum(source.keys.shape[-2] for source in sources)
    block = max(1, SCORES_AT_ONCE // (heads * rows * held))
    outputs = [
        _weighted(
            [source.at(slice(begin, begin + block)) for source in sources], queries[:, :, :, begin : begin + block], softcap
        )
        for begin in range(0, widest, block)
    ]
    joined = torch.cat(outputs, dim=3) if len(outputs) > 1 else outputs[0]
    # (kv heads, rows, group, widest, width) -> (T, heads, width)
    flat = joined.permute(1, 3, 0, 2, 4).reshape(rows * widest, heads, -1)
    return flat[packed.back][None], None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Keys:
    """Keys that queries attend to: each prompt's own, or those that all prompts share."""

    keys: Tensor
    """Shape (kv heads, rows, N, width), or (kv heads, N, width) where they are shared."""
    values: Tensor
    """Shape as `keys`."""
    visible: Tensor | None
    """Shape (rows, M, N), bool; None where every query sees every key."""

    def at(self, queries: slice) -> _Keys:
        """What some of the queries see."""
        visible = None if self.visible is None else self.visible[:, queries]
        return _Keys(keys=self.keys, values=self.values, visible=visible)


def _own(packed: Layout, layer: int, key: Tensor, value: Tensor, window: int | None) -> _Keys:
    """Each prompt's own tokens; of a text that is being written, those of its past and the one that is new."""
    if packed.past is None:
        keys, values = _unpack(key, packed.places), _unpack(value, packed.places)
    else:
        keys, values = packed.past.add(layer, key, value)
    visible = packed.visible
    if window is not None and packed.reuse + keys.shape[-2] > window:
        visible = visible & (packed.query_positions[:, :, None] - packed.key_positions[:, None, :] < window)
    return _Keys(keys=keys, values=values, visible=visible)


def _shared(packed: Layout, layer: int, window: int | None) -> list[_Keys]:
    """The part of the shared prefix that some query of the row can see, if there is any."""
    first = 0 if window is None else max(0, packed.reuse - window + 1)
    if first >= packed.reuse:
        return []
    keys, values = (x[:, first : packed.reuse] for x in packed.prefix[layer])
    visible = None
    if window is not None and packed.reuse + packed.visible.shape[-1] > window:
        places = torch.arange(first, packed.reuse, device=keys.device)
        visible = packed.query_positions[:, :, None] - places < window
    return [_Keys(keys=keys, values=values, visible=visible)]


def _learned(packed: Layout, layer: int, window: int | None, dtype: torch.dtype) -> list[_Keys]:
    """The learned prefixes that the layer has and some query of the row can see."""
    found = []
    end = 0
    for prefix in packed.interventions.prefixes:
        begin, end = end, end + prefix.length
        if layer + 1 not in prefix.layers or (window is not None and packed.before + packed.reuse - end + 1 >= window):
            continue
        visible = None
        if window is not None:
            places = torch.arange(begin, end, device=packed.ids.device)
            visible = packed.before + packed.query_positions[:, :, None] - places < window
        keys, values = (x[prefix.layers.index(layer + 1)].to(dtype) for x in (prefix.keys, prefix.values))
        found.append(_Keys(keys=keys, values=values, visible=visible))
    return found


def _weighted(sources: Sequence[_Keys], queries: Tensor, softcap: float | None) -> Tensor:
    """Softmax attention over all sources together, joined by their normalisers; shape as `queries`."""
    scores = []
    for source in sources:
        score = capped(_product(queries, source.keys.transpose(-1, -2)).float(), softcap)
        scores.append(score if source.visible is None else score.masked_fill(~source.visible[None, :, None], -torch.inf))
    peak = torch.stack([score.detach().amax(-1, keepdim=True) for score in scores]).amax(0)
    weights = [score.sub_(peak).exp_() for score in scores]
    outputs = [
        _product(weight.to(source.values.dtype), source.values).float() for weight, source in zip(weights, sources, strict=True)
    ]
    normaliser = torch.cat([weight.sum(-1, keepdim=True) for weight in weights], -1).sum(-1, keepdim=True)
    return (torch.stack(outputs).sum(0) / normaliser).to(queries.dtype)


def _product(x: Tensor, y: Tensor) -> Tensor:
    """x: (kv heads, rows, group, M, a). y: (kv heads, rows, a, b), or (kv heads, a, b) for all rows in one product."""
    flat = x.flatten(2, 3) if y.dim() == 4 else x.flatten(1, 3)
    return (flat @ y).view(*x.shape[:4], -1)


def _unpack(x: Tensor, places: Tensor) -> Tensor:
    """(heads, T, width) -> (heads, B, M, width), zeros where a prompt is shorter than M."""
    return torch.cat([x, x.new_zeros(x.shape[0], 1, x.shape[2])], dim=1)[:, places]


def extend(prefix: KeyValues, kept: KeyValues) -> KeyValues:
    """A prefix with the keys and values of the tokens that follow it."""
    if not prefix:
        return dict(kept)
    return {layer: tuple(torch.cat(pair, 1) for pair in zip(prefix[layer], kept[layer], strict=True)) for layer in kept}  # type: ignore[misc]
