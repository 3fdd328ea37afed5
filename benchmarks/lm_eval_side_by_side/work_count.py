"""Counts the matrix products that scoring requires, and measures the rate of matrix products of this machine.

The count includes the tokens that all prompts share once, the other tokens of each item, and the output head where a label is
scored. Padding and repeated work are not counted, so a scorer that computes more has a lower share of the peak.
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
"""Rows and columns of the matrices for measuring the peak."""
PRODUCTS = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """The sizes of a decoder that determine its matrix products."""

    linear_weights: int
    """Weights of all linear layers except the output head; the embedding is a lookup, not a product."""
    head_weights: int
    """Vocabulary x d_model."""
    query_width: int
    """Query heads x width of a head."""
    windows: tuple[int | None, ...]
    """For each layer, the number of tokens that a query attends to, including itself; None for all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequiredWork:
    """The computation that a list of prompts requires."""

    positions: Sequence[int]
    """The position, from 0, of every token that is computed."""
    scored: int
    """Number of positions that need the output head."""


def architecture(folder: str) -> Architecture:
    """Reads the sizes from the model's configuration without loading weights."""
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


def required_work(rendered: Sequence[Rendered]) -> RequiredWork:
    """Returns the shared tokens once, then the other tokens of each prompt and the distinct prefixes of its labels."""
    prompts = [row.input.ids for row in rendered]
    common = takewhile(lambda pair: pair[0] == pair[1], zip(min(prompts), max(prompts), strict=False))
    shared = min(sum(1 for _ in common), min(map(len, prompts)) - 1)
    positions = list(range(shared))
    scored = 0
    for row in rendered:
        length = len(row.input.ids)
        prefixes = {ids[:depth] for ids in row.continuations for depth in range(len(ids))}
        positions += range(shared, length)
        positions += [length - 1 + len(prefix) for prefix in prefixes if prefix]
        scored += len(prefixes)
    return RequiredWork(positions=positions, scored=scored)


def useful_flop(model: Architecture, work: RequiredWork) -> dict[str, float]:
    """Returns the floating-point operations by part; a multiplication and an addition count as two.

    linear:    2 x weights, for each token
    attention: 2 x query width for the scores and the same for the values, for each token, attended token and layer
    head:      2 x vocabulary x d_model, for each scored position
    """
    attended = sum(sum(min(position + 1, window or position + 1) for position in work.positions) for window in model.windows)
    return {
        "linear": 2.0 * model.linear_weights * len(work.positions),
        "attention": 4.0 * model.query_width * attended,
        "head": 2.0 * model.head_weights * work.scored,
    }


def peak_flop_per_second() -> float:
    """Returns the median rate of float32 matrix products in torch with its number of threads."""
    left, right = torch.rand(SIDE, SIDE), torch.rand(SIDE, SIDE)
    left @ right  # the first product is slower
    seconds = []
    for _ in range(PRODUCTS):
        start = time.perf_counter()
        left @ right
        seconds.append(time.perf_counter() - start)
    return 2 * SIDE**3 / median(seconds)
