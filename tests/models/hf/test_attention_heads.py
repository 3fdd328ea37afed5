"""Attention heads compared with hooks on transformers modules, and the sum of the contributions of all heads of a layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch

import promptkit as pk
from tests.support.errors import refused
from tests.support.hf_models import LoadModel
from tests.support.tiny import make_model

ATTENTION: dict[str, Callable[[Any, int], Any]] = {
    "llama": lambda model, layer: model.model.layers[layer].self_attn,
    "gemma3": lambda model, layer: model.model.layers[layer].self_attn,
    "granite": lambda model, layer: model.model.layers[layer].self_attn,
    "gpt2": lambda model, layer: model.transformer.h[layer].attn,
}
"""Model types with grouped queries, a post-attention norm, sliding windows, a residual multiplier, a transposed projection."""
IDS = (0, *range(20, 37), 9)
HEADS = 4


def projection(attention: Any) -> Any:
    return getattr(attention, "o_proj", None) or attention.c_proj


@contextmanager
def hooked(module: Any, hook: Any) -> Iterator[None]:
    handle = module.register_forward_pre_hook(hook)
    yield
    handle.remove()


def hooked_outputs(model: Any, kind: str) -> np.ndarray:
    """The input of each output projection at the last token, (layers, heads, width), as hooks on transformers record it."""
    result = []
    for layer in range(model.config.num_hidden_layers):
        with hooked(projection(ATTENTION[kind](model, layer)), lambda _, given: result.append(given[0][0, -1])):
            model(torch.tensor([IDS]))
    return torch.stack(result).reshape(len(result), HEADS, -1).numpy()


def greedy(model: Any, count: int) -> tuple[int, ...]:
    """Returns the most likely continuation of the prompt, which has a probability large enough to change."""
    ids = [*IDS]
    for _ in range(count):
        ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    return tuple(ids[len(IDS) :])


def probability(model: Any, answer: tuple[int, ...]) -> float:
    logprobs = model(torch.tensor([(*IDS, *answer[:-1])])).logits[0].log_softmax(-1)
    return float(sum(logprobs[len(IDS) - 1 + place, token] for place, token in enumerate(answer)).exp())


def hooked_effects(model: Any, kind: str, answer: tuple[int, ...], outputs: np.ndarray) -> np.ndarray:
    """The effect of each head by one forward pass each, with the head's slice replaced at the prompt's last token."""
    width, plain = outputs.shape[2], probability(model, answer)
    effects = np.zeros(outputs.shape[:2])
    for layer, head in np.ndindex(*effects.shape):

        def replace(_: Any, given: Any, layer: int = layer, head: int = head) -> Any:
            states = given[0].clone()
            states[0, len(IDS) - 1, head * width : (head + 1) * width] = torch.from_numpy(outputs[layer, head])
            return (states, *given[1:])

        with hooked(projection(ATTENTION[kind](model, layer)), replace):
            effects[layer, head] = probability(model, answer) - plain
    return effects


def noise(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype("f4")


@pytest.mark.parametrize("kind", ATTENTION)
@pytest.mark.parametrize("attention", ["packed", "eager"])
def test_outputs_and_effects_equal_forward_hooks(kind: str, attention: str, load_model: LoadModel) -> None:
    model, heads = make_model(kind), load_model(kind, attention=attention).heads()
    outputs = hooked_outputs(model, kind)
    assert heads.outputs(IDS) == pytest.approx(outputs, abs=1e-5)
    other = noise(outputs.shape)
    for answer in (greedy(model, 1), greedy(model, 3)):
        expected = hooked_effects(model, kind, answer, other)
        size = np.abs(expected).max()
        assert size > 1e-3 or len(answer) > 1
        assert heads.effects(IDS, answer, other) == pytest.approx(expected, abs=min(1e-5, 1e-3 * size))


@pytest.mark.parametrize("kind", ATTENTION)
def test_effects_do_not_depend_on_the_batch_size(kind: str, load_model: LoadModel) -> None:
    full, small = (load_model(kind, batch_tokens=tokens).heads() for tokens in (4096, 10))
    other, answer = noise(full.outputs(IDS).shape), greedy(make_model(kind), 2)
    assert small.effects(IDS, answer, other) == pytest.approx(full.effects(IDS, answer, other), abs=1e-6)


@pytest.mark.parametrize("kind", ATTENTION)
def test_replacing_a_head_with_its_unchanged_output_has_no_effect(kind: str, load_model: LoadModel) -> None:
    heads, answer = load_model(kind).heads(), greedy(make_model(kind), 1)
    assert heads.effects(IDS, answer, heads.outputs(IDS)) == pytest.approx(np.zeros((3, HEADS)), abs=1e-5)


def added(model: Any, kind: str) -> list[torch.Tensor]:
    """The attention output added to the residual stream at the last token of each layer, (layers, d_model)."""
    result: list[torch.Tensor] = []
    for layer in range(model.config.num_hidden_layers):
        attention = ATTENTION[kind](model, layer)
        module = model.model.layers[layer].post_attention_layernorm if kind == "gemma3" else attention
        handle = module.register_forward_hook(
            lambda _, __, out: result.append((out if torch.is_tensor(out) else out[0])[0, -1])
        )
        model(torch.tensor([IDS]))
        handle.remove()
    return result


@pytest.mark.parametrize("kind", ATTENTION)
def test_heads_sum_to_the_output_of_attention(kind: str, load_model: LoadModel) -> None:
    model, heads = make_model(kind), load_model(kind).heads()
    item = heads.projected(heads.outputs(IDS))
    assert item.shape == (3, HEADS, 32)
    multiplier = getattr(model.config, "residual_multiplier", 1.0)
    for layer, full in enumerate(added(model, kind)):
        bias = getattr(projection(ATTENTION[kind](model, layer)), "bias", None)
        rest = 0 if bias is None else bias.numpy()
        assert item[layer].sum(0) + rest == pytest.approx(multiplier * full.numpy(), abs=1e-5)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_head_adds_its_slice_of_the_projection(kind: str, load_model: LoadModel) -> None:
    model, heads = make_model(kind), load_model(kind).heads()
    outputs = heads.outputs(IDS)
    for layer in range(3):
        module = projection(ATTENTION[kind](model, layer))
        weight = module.weight if kind == "gpt2" else module.weight.T
        slices = weight.reshape(HEADS, -1, 32).numpy()
        assert heads.projected(outputs)[layer] == pytest.approx(np.einsum("hw,hwd->hd", outputs[layer], slices), abs=1e-5)


def test_hooks_are_removed(load_model: LoadModel) -> None:
    model = load_model("gemma3")
    heads = model.heads()
    heads.effects(IDS, (5,), heads.outputs(IDS))
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in model._forward.model.modules())


def test_a_model_without_attention_is_refused(load_model: LoadModel) -> None:
    with refused(pk.Unsupported, "unidentified-heads", model_type="mamba"):
        load_model("mamba").heads()
