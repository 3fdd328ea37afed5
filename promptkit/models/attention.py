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

from promptkit.models.head import capped
from promptkit.models.plan import ROOT, Tree

ATTENTION = "promptkit_packed"
"""The name under which `attend` is registered with transformers."""
SCORES_AT_ONCE = 2**26
"""Attention scores held at a time; queries beyond it are taken in blocks."""
KeyValues = dict[int, tuple[Tensor, Tensor]]
"""Layer -> keys and values, each of shape (kv heads, tokens, head width)."""


@dataclass(slots=True, kw_only=True)
class Layout:
    """Where each prompt of a packed row lies, and what it may attend to."""

    ids: Tensor
    """Shape (T,)."""
    positions: Tensor
    """Shape (T,): each token's position in its own prompt."""
    places: Tensor
    """Shape (B, M): the row's index of each prompt's tokens; T where a prompt is shorter than M."""
    back: Tensor
    """Shape (T,): the index into (B * M) of each token of the row."""
    visible: Tensor
    """Shape (B, M, M), bool: query token, key token."""
    padded_positions: Tensor
    """Shape (B, M)."""
    starts: tuple[int, ...]
    """The row's index of each prompt's first token."""
    lengths: tuple[int, ...]
    """Each prompt's own tokens, tree nodes not counted."""
    prefix: KeyValues
    """The shared prefix; empty where nothing is shared."""
    reuse: int
    """How many tokens of `prefix` are attended to."""
    keep: bool = False
    """Whether to keep this row's own keys and values in `kept`: how the prefix is made."""
    kept: KeyValues = field(default_factory=dict)
    windows: dict[int, int | None] = field(default_factory=dict)
    """The sliding window that each layer was seen to apply, for the check at load."""

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
    keep: bool = False,
) -> Layout:
    """Pack prompts (their tokens behind the first `reuse`) and their label trees into one row."""
    ids: list[int] = []
    positions: list[int] = []
    starts = []
    sizes = [len(prompt) + len(tree.tokens) for prompt, tree in zip(prompts, trees, strict=True)]
    widest = max(sizes)
    total = sum(sizes)
    places = torch.full((len(prompts), widest), total)
    back = torch.empty(total, dtype=torch.long)
    visible = torch.eye(widest, dtype=torch.bool).repeat(len(prompts), 1, 1)
    padded_positions = torch.zeros((len(prompts), widest), dtype=torch.long)
    for row, (prompt, tree) in enumerate(zip(prompts, trees, strict=True)):
        length, size, start = len(prompt), sizes[row], len(ids)
        own = [reuse + i for i in range(length)] + [reuse + length - 1 + depth for depth in tree.depths]
        ids += prompt + tree.tokens
        positions += own
        starts.append(start)
        places[row, :size] = torch.arange(start, start + size)
        back[start : start + size] = row * widest + torch.arange(size)
        padded_positions[row, :size] = torch.tensor(own)
        visible[row, :length, :length] = torch.ones(length, length, dtype=torch.bool).tril()
        visible[row, length:size, :length] = True
        visible[row, length:size, length:size] = _ancestors(tree.parents)
    return Layout(
        ids=torch.tensor(ids, device=device),
        positions=torch.tensor(positions, device=device),
        places=places.to(device),
        back=back.to(device),
        visible=visible.to(device),
        padded_positions=padded_positions.to(device),
        starts=tuple(starts),
        lengths=tuple(len(prompt) for prompt in prompts),
        prefix=prefix,
        reuse=reuse,
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
    heads, kv_heads, width = query.shape[1], key.shape[1], query.shape[3]
    group = heads // kv_heads
    packed.windows[module.layer_idx] = sliding_window
    if packed.keep:
        packed.kept[module.layer_idx] = (key[0], value[0])
    scale = width**-0.5 if scaling is None else scaling
    rows, widest = packed.places.shape
    # (kv heads, rows, group, widest, width)
    queries = _unpack(query[0] * scale, packed.places).view(kv_heads, group, rows, widest, -1).transpose(1, 2)
    keys, values = (_unpack(x[0], packed.places) for x in (key, value))
    far_keys, far_values, far_first = _visible_prefix(packed, module.layer_idx, sliding_window)
    visible = packed.visible
    if sliding_window is not None and widest + packed.reuse > sliding_window:
        distance = packed.padded_positions[:, :, None] - packed.padded_positions[:, None, :]
        visible = visible & (distance < sliding_window)
    block = max(1, SCORES_AT_ONCE // (heads * rows * (widest + (0 if far_keys is None else far_keys.shape[1]))))
    outputs = []
    for begin in range(0, widest, block):
        asked = slice(begin, begin + block)
        q = queries[:, :, :, asked]
        near = (q.flatten(2, 3) @ keys.transpose(-1, -2)).float().view(*q.shape[:4], -1)
        near = capped(near, softcap).masked_fill(~visible[None, :, None, asked], -torch.inf)
        peak = near.detach().amax(-1, keepdim=True)
        if far_keys is not None and far_values is not None:
            far = (q.flatten(1, 3) @ far_keys.transpose(-1, -2)).float().view(*q.shape[:4], -1)
            far = capped(far, softcap)
            if sliding_window is not None and widest + packed.reuse > sliding_window:
                places = far_first + torch.arange(far.shape[-1], device=far.device)
                hidden = packed.padded_positions[:, asked, None] - places >= sliding_window
                far.masked_fill_(hidden[None, :, None], -torch.inf)
            peak = torch.maximum(peak, far.detach().amax(-1, keepdim=True))
            far.sub_(peak).exp_()
        near = near.sub(peak).exp_()
        normaliser = near.sum(-1, keepdim=True)
        output = (near.to(value.dtype).flatten(2, 3) @ values).reshape(*q.shape[:4], -1).float()
        if far_keys is not None and far_values is not None:
            normaliser = normaliser + far.sum(-1, keepdim=True)
            output = output + (far.to(value.dtype).flatten(1, 3) @ far_values).view(*q.shape[:4], -1)
        outputs.append((output / normaliser).to(value.dtype))
    joined = torch.cat(outputs, dim=3) if len(outputs) > 1 else outputs[0]
    # (kv heads, rows, group, widest, width) -> (T, heads, width)
    flat = joined.permute(1, 3, 0, 2, 4).reshape(rows * widest, heads, -1)
    return flat[packed.back][None], None


def _unpack(x: Tensor, places: Tensor) -> Tensor:
    """(heads, T, width) -> (heads, B, M, width), zeros where a prompt is shorter than M."""
    return torch.cat([x, x.new_zeros(x.shape[0], 1, x.shape[2])], dim=1)[:, places]


def _visible_prefix(packed: Layout, layer: int, window: int | None) -> tuple[Tensor | None, Tensor | None, int]:
    """The prefix's keys and values that some query of the row can see, and the position of the first."""
    if not packed.reuse:
        return None, None, 0
    keys, values = packed.prefix[layer]
    first = 0 if window is None else max(0, packed.reuse - window + 1)
    if first >= packed.reuse:
        return None, None, 0
    return keys[:, first : packed.reuse], values[:, first : packed.reuse], first


def extend(prefix: KeyValues, kept: KeyValues) -> KeyValues:
    """A prefix with the keys and values of the tokens that follow it."""
    if not prefix:
        return dict(kept)
    return {layer: tuple(torch.cat(pair, 1) for pair in zip(prefix[layer], kept[layer], strict=True)) for layer in kept}  # type: ignore[misc]
