"""The matrix-multiply work that scoring cannot do without, and the rate at which this machine multiplies matrices.

What is counted is what the answer needs: the tokens that all prompts share once, each item's own tokens, and the output
head where a label is read. Padding and repeated work are not counted, so a scorer that does more reaches a lower share.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from statistics import median

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from promptkit.core.rendered import Rendered

SIDE = 2048
"""The peak is measured by products of two SIDE x SIDE matrices."""
PRODUCTS = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """The sizes of a decoder that its matrix products depend on."""

    linear_weights: int
    """Weights of all linear layers but the output head; the embedding is looked up, not multiplied."""
    head_weights: int
    """Vocabulary x d_model."""
    query_width: int
    """Query heads x width of a head."""
    windows: tuple[int | None, ...]
    """For each layer, how many tokens a query sees, itself included; None for all before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needed:
    """What must be computed to answer a list of prompts."""

    positions: Sequence[int]
    """The position, from 0, of every token that must go through the model."""
    scored: int
    """At how many of them the output head is needed."""


def architecture(folder: str) -> Architecture:
    """Read from the model's configuration; no weights are loaded."""
    config = AutoConfig.from_pretrained(folder).get_text_config()
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    linear = [module for module in model.get_decoder().modules() if isinstance(module, torch.nn.Linear)]
    return Architecture(
        linear_weights=sum(layer.weight.numel() for layer in linear),
        head_weights=config.vocab_size * config.hidden_size,
        query_width=config.num_attention_heads * config.head_dim,
        windows=tuple(config.sliding_window if kind == "sliding_attention" else None for kind in config.layer_types),
    )


def needed(rendered: Sequence[Rendered]) -> Needed:
    """The tokens that all prompts begin with once, then each prompt's own and those of its labels that others follow."""
    prompts = [row.input.ids for row in rendered]
    agreeing = takewhile(lambda pair: pair[0] == pair[1], zip(min(prompts), max(prompts), strict=False))
    shared = min(sum(1 for _ in agreeing), min(map(len, prompts)) - 1)
    positions = list(range(shared))
    scored = 0
    for row in rendered:
        length = len(row.input.ids)
        beginnings = {ids[:depth] for ids in row.continuations for depth in range(len(ids))}
        positions += range(shared, length)
        positions += [length - 1 + len(beginning) for beginning in beginnings if beginning]
        scored += len(beginnings)
    return Needed(positions=positions, scored=scored)


def useful_flop(model: Architecture, work: Needed) -> dict[str, float]:
    """Floating-point operations by part, a multiplication and an addition counted as two.

    linear:    2 x weights, for each token
    attention: 2 x query width for the scores and as much for the values, for each token and token it sees, each layer
    head:      2 x vocabulary x d_model, for each scored position
    """
    seen = sum(sum(min(position + 1, window or position + 1) for position in work.positions) for window in model.windows)
    return {
        "linear": 2.0 * model.linear_weights * len(work.positions),
        "attention": 4.0 * model.query_width * seen,
        "head": 2.0 * model.head_weights * work.scored,
    }


def peak_flop_per_second() -> float:
    """Of float32 matrix products in torch, with the threads that it is set to: the median of several."""
    left, right = torch.rand(SIDE, SIDE), torch.rand(SIDE, SIDE)
    left @ right  # the first one is slower
    seconds = []
    for _ in range(PRODUCTS):
        began = time.perf_counter()
        left @ right
        seconds.append(time.perf_counter() - began)
    return 2 * SIDE**3 / median(seconds)
