"""Whether a model may be run by the packed forward: decided by comparing it with the plain forward, not by its name."""

from __future__ import annotations

from dataclasses import replace
from math import inf, isfinite
from typing import Any

import torch
from torch import nn

from promptkit.core.errors import Unsupported
from promptkit.core.inputs import HiddenEdit, TextInput
from promptkit.core.requests import Output, Read, ReadOutput, Request, Score, ScoreOutput
from promptkit.models.hf.attention import ATTENTION, attend
from promptkit.models.hf.lm_head import Head
from promptkit.models.hf.packed import PackedForward
from promptkit.models.hf.padded import PaddedForward
from promptkit.models.hf.tensors import array_of, prefix_of, tensor_of

TOLERANCE = 1e-3
LOW_PRECISION_WORST, LOW_PRECISION_MEAN = 1.0, 0.3
"""For 16-bit weights: rounding alone moves an unlikely token's log-probability by up to 0.4 and all by 0.13 on average
(Gemma 3 270M in bfloat16, where the plain forward, whose head is rounded too, is the farther one from float32)."""
KNOWN_LAYERS = frozenset({"full_attention", "sliding_attention"})
LENGTH_DEPENDENT_ROPE = frozenset({"dynamic", "longrope"})
"""Rotary embeddings that change with the length of the batch, so that a prefix computed alone would differ."""


def packed_forward(model: Any, *, batch_tokens: int) -> tuple[PackedForward | None, str]:
    """The model's packed forward, or None and the reason why it has none. Sets the model's attention."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    reason = _structure(model)
    if reason:
        return None, reason
    plain = PaddedForward(model, batch_tokens=batch_tokens)
    probe = _probe(model.config.get_text_config().vocab_size)
    expected = _logprobs(plain, probe, 0)
    before = model.config._attn_implementation
    ALL_ATTENTION_FUNCTIONS.register(ATTENTION, attend)
    try:
        model.set_attn_implementation(ATTENTION)
        packed = PackedForward(model, _head(model), batch_tokens=batch_tokens)
        shared = 6
        found = _logprobs(packed, probe, shared)
        reason = _windows(model, packed) or _difference(expected, found, exact=model.dtype == torch.float32)
    except Exception as error:  # whatever a model's own code does with an attention that is not its own
        reason = f"its code does not take another attention ({type(error).__name__})"
    if reason:
        model.set_attn_implementation(before)
        return None, reason
    return packed, ""


def reads_vectors(forward: PackedForward | PaddedForward, vocabulary: int) -> bool:
    """Whether the model answers the same when the tokens' own embeddings stand in their place as learned vectors."""
    tokens, _ = _probe(vocabulary)
    ids = tokens.input.ids
    vectors = TextInput(ids=tuple(-1 - i for i in range(len(ids))), vectors=forward.embed(ids))
    exact = forward.dtype == torch.float32
    return not _difference(
        _logprobs(forward, [tokens], 0), _logprobs(forward, [replace(tokens, input=vectors)], 0), exact=exact
    )


def takes_prefixes(forward: PackedForward | PaddedForward, vocabulary: int) -> bool:
    """Whether the model answers the same when a prompt's first tokens stand before it as keys and values."""
    whole, _ = _probe(vocabulary)
    ids = whole.input.ids
    try:
        prefix = prefix_of(forward.keys_values(ids[:4]))
        held = replace(whole, input=TextInput(ids=ids[4:], prefixes=(prefix,)))
        expected, found = _logprobs(forward, [whole], 0), _logprobs(forward, [held], 0)
    except (Unsupported, TypeError, AttributeError, IndexError):  # one that holds no keys and values, such as a recurrent one
        return False
    return not _difference(expected, found, exact=forward.dtype == torch.float32)


def takes_edits(forward: PackedForward | PaddedForward, vocabulary: int, layers: int) -> bool:
    """Whether what is added behind a layer is seen to be added to the state that it makes."""
    told, _ = _probe(vocabulary)
    layer = max(1, layers // 2)
    if layer == layers:
        return True
    asked = Request(input=told.input, verb=Read(hidden_layer=layer, top_m=1))
    before = _read(forward.answer([asked], 0, {}))
    added = 0.5 * before.abs().mean() * torch.ones_like(before)
    edit = HiddenEdit(layer=layer, operation="add", last=1, arrays=(array_of(added),))
    try:
        after = _read(forward.answer([replace(asked, input=replace(told.input, edits=(edit,)))], 0, {}))
    except Unsupported:
        return False
    return torch.allclose(after, before + added, rtol=0.02, atol=0.02 * float(added.abs().max()))


def _read(outputs: list[Output]) -> torch.Tensor:
    (output,) = outputs
    assert isinstance(output, ReadOutput)
    assert output.hidden is not None
    return tensor_of(output.hidden)


def _difference(expected: list[float], found: list[float], *, exact: bool) -> str:
    apart = [abs(a - b) if isfinite(a) and isfinite(b) else inf for a, b in zip(expected, found, strict=True)]
    worst, mean = max(apart), sum(apart) / len(apart)
    if worst <= TOLERANCE or (not exact and worst <= LOW_PRECISION_WORST and mean <= LOW_PRECISION_MEAN):
        return ""
    return f"its packed forward differs from its own by {worst:.2g} in log-probability"


def _structure(model: Any) -> str:
    config = model.config.get_text_config()
    layers = set(getattr(config, "layer_types", None) or ())
    if not layers <= KNOWN_LAYERS:
        return f"it has layers of the kind {', '.join(sorted(layers - KNOWN_LAYERS))}"
    rope = str(getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or "")
    if any(f"'{kind}'" in rope for kind in LENGTH_DEPENDENT_ROPE):
        return "its rotary embedding depends on the length of the batch"
    if not isinstance(model.get_output_embeddings(), nn.Linear):
        return "its output head is not a linear layer"
    return ""


def _head(model: Any) -> Head:
    config = model.config.get_text_config()
    linear = model.get_output_embeddings()
    divisor = getattr(config, "logits_scaling", None)
    return Head(
        weight=linear.weight,
        bias=linear.bias,
        scale=1 / divisor if divisor else getattr(config, "logit_scale", None) or 1.0,
        softcap=getattr(config, "final_logit_softcapping", None),
    )


def _windows(model: Any, packed: PackedForward) -> str:
    """The probe is shorter than a sliding window, so that the windows are checked by what the layers said."""
    config = model.config.get_text_config()
    layer_types = getattr(config, "layer_types", None)
    if set(packed.windows) != set(range(config.num_hidden_layers)):
        return "not every layer has attention that can be replaced"
    if layer_types is None:
        return ""
    told = [packed.windows[layer] is not None for layer in range(config.num_hidden_layers)]
    return (
        "" if told == [kind == "sliding_attention" for kind in layer_types] else "its layers do not tell their sliding window"
    )


def _probe(vocabulary: int) -> list[Request]:
    """Two prompts that share six tokens, each with continuations that branch."""
    token = [(7 * index * index + 3 * index + 5) % vocabulary for index in range(24)]
    verb = Score(continuations=((token[12], token[13], token[14]), (token[12], token[15]), (token[16],)))
    prompts = (tuple(token[:11]), (*token[:6], token[18], token[19]))
    return [Request(input=TextInput(ids=ids), verb=verb) for ids in prompts]


def _logprobs(forward: PackedForward | PaddedForward, requests: list[Request], reuse: int) -> list[float]:
    outputs = forward.answer(requests, reuse, forward.prefix(requests[0].input.ids[:reuse]))
    return [x for output in outputs if isinstance(output, ScoreOutput) for row in output.logprobs for x in row]
