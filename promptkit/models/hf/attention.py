"""Packed attention: many prompts in one row of tokens, without padding, over one shared prefix.

Prompts of a batch have different lengths, begin alike, and each is scored with several labels. Padding them, and repeating
the common beginning and the prompt for every label, would waste most of the computation. A packed row computes every token
once. For two prompts that share the prefix `P` and are scored with the labels `a b x` and `a c x`:

    shared prefix     P P P P P P P P           keys and values computed once for the whole run, never copied
    packed row        q q q a b c | r r a b c   each prompt, followed by the tree of its labels

The tree holds the tokens that labels begin with: `a` is the parent of `b` and of `c`. The last token of a label is predicted,
but never computed.

All layers but attention treat the tokens of the row alike. Attention has to keep the prompts apart, and does so in four steps:

1. *Unpack*: queries, keys and values are gathered from the row (T tokens) into one padded line for each prompt (B, M).
2. *Collect* up to three kinds of `KeySource`s that the queries of a layer may attend to:
   the tokens of the query's prompt (causal; a tree node sees the prompt and its own ancestors),
   the shared prefix, and learned prefixes (prefix tuning).
3. *Attend* to all sources with one softmax. Each source s is scored apart, so that the keys of the shared prefix multiply the
   queries of all prompts in a single matrix product. With S_s the scaled scores, V_s the values and m the largest score of the
   query over all sources,

       output = sum_s exp(S_s - m) V_s / sum_s sum_keys exp(S_s - m),

   which equals the softmax over the concatenated keys (Juravsky et al. 2024, Hydragen, arXiv 2402.05099).
4. *Pack*: the outputs are gathered back into the row.

Shapes: B prompts, T tokens in the row, M tokens of the longest prompt with its tree, N keys of a source, K key-value heads,
G query heads for each of them (grouped-query attention), H = K G query heads, W the width of a head.

transformers calls `attend` through its attention interface; none of its cache classes is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from promptkit.models.hf.lm_head import capped
from promptkit.models.hf.packed_row import PackedRow

ATTENTION = "promptkit_packed"
"""The name under which `attend` is registered with transformers."""
MAX_SCORES = 2**26
"""The most attention scores in memory at once; longer batches are computed in blocks of queries."""


class AttentionModule(Protocol):
    """The attention module of a transformers layer."""

    layer_idx: int
    """The layer, counted from 0."""


def attend(
    module: AttentionModule,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    packed: PackedRow,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **_: object,
) -> tuple[Tensor, None]:
    """Computes the attention of a packed row, with the signature of transformers' attention interface.

    The softmax is computed in float32. Differentiable.

    Args:
        module: The attention module of the layer.
        query: Shape (1, H, T, W), with rotary embeddings applied.
        key: Shape (1, K, T, W), with rotary embeddings applied.
        value: Shape (1, K, T, W).
        attention_mask: Must be None: the row determines what is visible.
        packed: The row; the keyword that transformers passes through to every layer.
        scaling: Factor of the scores; 1 / sqrt(W) by default.
        sliding_window: The number of positions that a query sees, including its own; all of them by default.
        softcap: Soft cap of the scores; none by default.
        s_aux: Attention sinks, which are not supported.

    Returns:
        The outputs, of shape (1, T, H, W), and None in place of the attention weights.

    Raises:
        NotImplementedError: If the model passes a mask or attention sinks.
    """
    if s_aux is not None or attention_mask is not None:
        raise NotImplementedError("attention sinks and precomputed masks")
    layer = module.layer_idx
    packed.windows[layer] = sliding_window
    if packed.store:
        packed.stored[layer] = (key[0], value[0])
    scale = query.shape[3] ** -0.5 if scaling is None else scaling
    queries = _unpack_queries(query[0] * scale, packed.unpack_index, kv_heads=key.shape[1])
    sources = [
        _prompt_source(packed, layer, key[0], value[0], sliding_window),
        *_shared_prefix_source(packed, layer, sliding_window),
        *_learned_prefix_sources(packed, layer, sliding_window, key.dtype),
    ]
    outputs = _attend_in_blocks(queries, sources, softcap)
    return _pack_outputs(outputs, packed.pack_index)[None], None


# ---- sources of keys ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySource:
    """Keys and values that the queries of a row may attend to."""

    keys: Tensor
    """Shape (K, B, N, W), or (K, N, W) if all prompts share them."""
    values: Tensor
    """Shape as `keys`."""
    visible: Tensor | None
    """Whether a query may attend to a key, shape (B, M, N), bool; None if every query may attend to every key."""

    def for_queries(self, queries: slice) -> KeySource:
        """Returns the source for some of the M queries of each prompt."""
        visible = None if self.visible is None else self.visible[:, queries]
        return KeySource(keys=self.keys, values=self.values, visible=visible)


def _prompt_source(row: PackedRow, layer: int, key: Tensor, value: Tensor, window: int | None) -> KeySource:
    """Returns the tokens of each prompt; of a text that is being generated, the earlier and the new ones. key: (K, T, W)."""
    if row.generation is None:
        keys, values = _unpack(key, row.unpack_index), _unpack(value, row.unpack_index)
    else:
        keys, values = row.generation.append(layer, key, value)
    visible = row.visible
    if window is not None and row.reuse + keys.shape[-2] > window:
        visible = visible & (row.query_positions[:, :, None] - row.key_positions[:, None, :] < window)
    return KeySource(keys=keys, values=values, visible=visible)


def _shared_prefix_source(row: PackedRow, layer: int, window: int | None) -> list[KeySource]:
    """Returns the part of the shared prefix that some query can see; empty if there is none."""
    first = 0 if window is None else max(0, row.reuse - window + 1)
    if first >= row.reuse:
        return []
    keys, values = (tensor[:, first : row.reuse] for tensor in row.prefix[layer])
    visible = None
    if window is not None and row.reuse + row.visible.shape[-1] > window:
        key_positions = torch.arange(first, row.reuse, device=keys.device)
        visible = row.query_positions[:, :, None] - key_positions < window
    return [KeySource(keys=keys, values=values, visible=visible)]


def _learned_prefix_sources(row: PackedRow, layer: int, window: int | None, dtype: torch.dtype) -> list[KeySource]:
    """Returns the learned prefixes of a layer that some query can see.

    Their positions come before all others: the prompts' positions are shifted by `row.learned_tokens`.
    """
    sources = []
    end = 0
    for prefix in row.interventions.prefixes:
        begin, end = end, end + prefix.length
        first_query = row.learned_tokens + row.reuse
        outside_window = window is not None and first_query - end + 1 >= window
        if layer + 1 not in prefix.layers or outside_window:
            continue
        visible = None
        if window is not None:
            key_positions = torch.arange(begin, end, device=row.ids.device)
            visible = row.learned_tokens + row.query_positions[:, :, None] - key_positions < window
        index = prefix.layers.index(layer + 1)
        sources.append(KeySource(keys=prefix.keys[index].to(dtype), values=prefix.values[index].to(dtype), visible=visible))
    return sources


# ---- attention over several sources ------------------------------------------------------------------


def _attend_in_blocks(queries: Tensor, sources: Sequence[KeySource], softcap: float | None) -> Tensor:
    """Attends to all sources, a block of the M queries at a time to bound memory. queries: (K, B, G, M, W)."""
    kv_heads, prompts, group, widest, _ = queries.shape
    keys = sum(source.keys.shape[-2] for source in sources)
    block = max(1, MAX_SCORES // (kv_heads * group * prompts * keys))
    outputs = []
    for begin in range(0, widest, block):
        some = slice(begin, begin + block)
        outputs.append(_joint_softmax([source.for_queries(some) for source in sources], queries[:, :, :, some], softcap))
    return torch.cat(outputs, dim=3) if len(outputs) > 1 else outputs[0]


def _joint_softmax(sources: Sequence[KeySource], queries: Tensor, softcap: float | None) -> Tensor:
    """Attends to all sources with one softmax, step 3 of the module's description; the shape is that of `queries`."""
    scores = [_scores(source, queries, softcap) for source in sources]
    largest = torch.stack([score.detach().amax(-1, keepdim=True) for score in scores]).amax(0)
    weights = [score.sub_(largest).exp_() for score in scores]
    sums = [
        _multiply(weight.to(source.values.dtype), source.values).float()
        for weight, source in zip(weights, sources, strict=True)
    ]
    normalizer = torch.cat([weight.sum(-1, keepdim=True) for weight in weights], -1).sum(-1, keepdim=True)
    return (torch.stack(sums).sum(0) / normalizer).to(queries.dtype)


def _scores(source: KeySource, queries: Tensor, softcap: float | None) -> Tensor:
    """Returns the scores of each query and key in float32, -inf where the key is not visible; shape (K, B, G, M, N)."""
    scores = capped(_multiply(queries, source.keys.transpose(-1, -2)).float(), softcap)
    return scores if source.visible is None else scores.masked_fill(~source.visible[None, :, None], -torch.inf)


def _multiply(x: Tensor, y: Tensor) -> Tensor:
    """Multiplies (K, B, G, M, a) by (K, B, a, b), or by (K, a, b) for all prompts in one product, to (K, B, G, M, b)."""
    flat = x.flatten(2, 3) if y.dim() == 4 else x.flatten(1, 3)
    return (flat @ y).view(*x.shape[:4], -1)


# ---- between the row and one line a prompt -----------------------------------------------------------


def _unpack(x: Tensor, unpack_index: Tensor) -> Tensor:
    """Unpacks (heads, T, W) to (heads, B, M, W), with zeros where a prompt is shorter than M."""
    return torch.cat([x, x.new_zeros(x.shape[0], 1, x.shape[2])], dim=1)[:, unpack_index]


def _unpack_queries(query: Tensor, unpack_index: Tensor, *, kv_heads: int) -> Tensor:
    """Unpacks queries, (H, T, W) to (K, B, G, M, W)."""
    prompts, widest = unpack_index.shape
    return _unpack(query, unpack_index).view(kv_heads, -1, prompts, widest, query.shape[-1]).transpose(1, 2)


def _pack_outputs(outputs: Tensor, pack_index: Tensor) -> Tensor:
    """Packs outputs, (K, B, G, M, W) to (T, H, W)."""
    kv_heads, prompts, group, widest, _ = outputs.shape
    flat = outputs.permute(1, 3, 0, 2, 4).reshape(prompts * widest, kv_heads * group, -1)
    return flat[pack_index]
