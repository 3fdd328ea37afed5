"""Learned prefixes and edits, compared with caches and hooks of transformers, in any batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import DynamicCache

import promptkit as pk
from promptkit.core.arrays import Array
from promptkit.core.inputs import TextInput
from promptkit.core.interventions import HiddenEdit, Interventions, KVPrefix
from promptkit.core.requests import Generate, Read, Request, Score
from promptkit.models.cache import ScoreCache
from promptkit.models.client import CachedModel
from promptkit.models.hf.tensors import array_of
from tests.support.errors import refused
from tests.support.hf_models import LoadModel, answer, numbers, random_prompts
from tests.support.tiny import CONFIGS, make_model

WORDS = ((5, 6), (5, 7, 8), (9,))
SUPPORTED = [kind for kind in CONFIGS if kind != "mamba"]
REPRESENTATIVE = ("llama", "gemma3", "gpt2")
"""Model types with grouped queries, sliding windows, and learned positions."""


def noise(seed: int, *shape: int) -> Array:
    return array_of(torch.randn(shape, generator=torch.Generator().manual_seed(seed)))


def tensor(array: Array) -> torch.Tensor:
    return torch.tensor(array.numpy())


def prefix_for(config: Any, length: int = 5, *, layers: tuple[int, ...] = (), seed: int = 0) -> KVPrefix[Array]:
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    at = layers or tuple(range(1, config.num_hidden_layers + 1))
    shape = (len(at), heads, length, width)
    return KVPrefix(length=length, layers=at, keys=noise(seed, *shape), values=noise(seed + 1, *shape))


def edits_for(layers: int) -> dict[str, tuple[HiddenEdit[Array], ...]]:
    rows = torch.linalg.qr(tensor(noise(1, 32, 3))).Q.T
    low = (array_of(rows), noise(2, 3, 32), noise(3, 3))
    return {
        "add to the last": (HiddenEdit(layer=1, operation="add", last=1, arrays=(noise(4, 32),)),),
        "add everywhere": (HiddenEdit(layer=2, operation="add", all_positions=True, arrays=(noise(5, 32),)),),
        "replace some of the last": (HiddenEdit(layer=2, operation="replace", last=3, arrays=(noise(6, 32),)),),
        "low rank first and last": (HiddenEdit(layer=1, operation="low_rank", first=2, last=2, arrays=low),),
        "two of one layer, and the last layer": (
            HiddenEdit(layer=1, operation="low_rank", first=15, arrays=low),
            HiddenEdit(layer=1, operation="add", last=30, arrays=(noise(7, 32),)),
            HiddenEdit(layer=layers, operation="add", last=1, arrays=(noise(8, 32),)),
        ),
    }


def apply_by_position(edit: HiddenEdit[Array], states: torch.Tensor, prompt: int) -> torch.Tensor:
    """The edit applied position by position to hidden states, (1, T, d_model)."""
    arrays = [tensor(entry) for entry in edit.arrays]
    new = states.clone()
    for place in range(states.shape[1]):
        among = place < prompt and (place < edit.first or place >= prompt - edit.last)
        if not (among or edit.all_positions):
            continue
        h = states[0, place]
        if edit.operation == "low_rank":
            rotation, source, bias = arrays
            new[0, place] = h + rotation.T @ (source @ h + bias - rotation @ h)
        else:
            new[0, place] = h + arrays[0] if edit.operation == "add" else arrays[0]
    return new


@contextmanager
def edit_hooks(model: Any, edits: Sequence[HiddenEdit[Array]], prompt: int) -> Iterator[None]:
    decoder = model.get_decoder()
    layers = getattr(decoder, "layers", None) or decoder.h
    with ExitStack() as stack:
        for edit in edits:

            def hook(_: Any, __: Any, output: Any, edit: HiddenEdit[Array] = edit) -> Any:
                full = isinstance(output, tuple)
                states = apply_by_position(edit, output[0] if full else output, prompt)
                return (states, *output[1:]) if full else states

            stack.callback(layers[edit.layer - 1].register_forward_hook(hook).remove)
        yield


def past_of(model: Any, prefixes: Sequence[KVPrefix[Array]]) -> dict[str, Any]:
    if not prefixes:
        return {}
    cache = DynamicCache(config=model.config)
    for layer in range(model.config.num_hidden_layers):
        keys, values = (torch.cat([tensor(getattr(p, name))[layer] for p in prefixes], 1) for name in ("keys", "values"))
        cache.update(keys[None], values[None], layer)
    return {"cache" if "cache" in signature(model.forward).parameters else "past_key_values": cache}


def expected(model: Any, request: Request) -> list[float]:
    """The log-probabilities of transformers, computed one continuation at a time."""
    prompt, result, learned = request.text, [], request.interventions
    for word in request.verb.continuations:
        with torch.no_grad(), edit_hooks(model, learned.edits, len(prompt.ids)):
            logits = model(torch.tensor([(*prompt.ids, *word)]), **past_of(model, learned.prefixes)).logits[0]
        logprobs = logits.log_softmax(-1)
        result += [logprobs[len(prompt.ids) - 1 + depth, token].item() for depth, token in enumerate(word)]
    return result


def prompts_of(seed: int, count: int = 5, shared: int = 12) -> list[TextInput]:
    return [TextInput(ids=ids) for ids in random_prompts(count, seed=seed, shared=shared)]


def scoring(prompts: Sequence[TextInput], **interventions: Any) -> list[Request]:
    learned = Interventions(**interventions)
    return [Request(input=prompt, verb=Score(continuations=WORDS), interventions=learned) for prompt in prompts]


# ---- compared with transformers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SUPPORTED)
@pytest.mark.parametrize("length", [4, 15])
def test_a_prefix_equals_past_keys_and_values_of_transformers(kind: str, length: int, load_model: LoadModel) -> None:
    """The longer prefix exceeds the sliding window, which is 12."""
    model = make_model(kind)
    requests = scoring(prompts_of(length), prefixes=(prefix_for(model.config, length),))
    for request, result in zip(requests, answer(load_model(kind, batch_tokens=60), requests), strict=True):
        assert numbers(result) == pytest.approx(expected(model, request), abs=1e-4)


@pytest.mark.parametrize("kind", REPRESENTATIVE)
def test_two_prefixes_are_concatenated(kind: str, load_model: LoadModel) -> None:
    model = make_model(kind)
    requests = scoring(prompts_of(2), prefixes=(prefix_for(model.config, 3), prefix_for(model.config, 4, seed=9)))
    for request, result in zip(requests, answer(load_model(kind), requests), strict=True):
        assert numbers(result) == pytest.approx(expected(model, request), abs=1e-4)


@pytest.mark.parametrize("kind", ["llama", "gemma3"])
def test_a_prefix_at_chosen_layers_is_invisible_to_the_others(kind: str, load_model: LoadModel) -> None:
    """Compared with transformers with the prefix at every layer, masked in the layers that are not chosen."""
    model = make_model(kind)
    model.set_attn_implementation("eager")
    full = prefix_for(model.config, 5)
    keys, values = (array_of(tensor(entry)[[1]]) for entry in (full.keys, full.values))
    requests = scoring(prompts_of(3), prefixes=(replace(full, layers=(2,), keys=keys, values=values),))

    def blind(_: Any, given: Any, keywords: dict[str, Any]) -> Any:
        mask = keywords["attention_mask"].clone()
        mask[..., :5] = torch.finfo(mask.dtype).min
        return given, {**keywords, "attention_mask": mask}

    for index in (0, 2):
        model.model.layers[index].self_attn.register_forward_pre_hook(blind, with_kwargs=True)
    for request, result in zip(requests, answer(load_model(kind), requests), strict=True):
        with_prefix = replace(request, interventions=Interventions(prefixes=(full,)))
        assert numbers(result) == pytest.approx(expected(model, with_prefix), abs=1e-4)


@pytest.mark.parametrize("kind", SUPPORTED)
def test_edits_equal_hooks_on_hidden_states(kind: str, load_model: LoadModel) -> None:
    model = make_model(kind)
    for name, edits in edits_for(model.config.num_hidden_layers).items():
        requests = scoring(prompts_of(4, count=3), edits=edits)
        for request, result in zip(requests, answer(load_model(kind), requests), strict=True):
            assert numbers(result) == pytest.approx(expected(model, request), abs=2e-4), name


@pytest.mark.parametrize("kind", REPRESENTATIVE)
@pytest.mark.parametrize("attention", ["packed", "eager"])
def test_hidden_states_are_read_after_edits(kind: str, attention: str, load_model: LoadModel) -> None:
    model, (prompt,) = load_model(kind, attention=attention), prompts_of(5, count=1)
    add = HiddenEdit(layer=1, operation="add", last=1, arrays=(noise(1, 32),))
    before, after = (
        answer(model, [Request(input=prompt, verb=Read(hidden_layer=1), interventions=Interventions(edits=edits))])[0]
        for edits in ((), (add,))
    )
    assert numbers(after) == pytest.approx(
        [x + y for x, y in zip(numbers(before), tensor(add.arrays[0]).tolist(), strict=True)], abs=1e-4
    )


@pytest.mark.parametrize("kind", SUPPORTED)
@pytest.mark.parametrize("attention", ["packed", "eager"])
def test_keys_and_values_of_a_text_give_the_results_of_the_text(kind: str, attention: str, load_model: LoadModel) -> None:
    model, prompts = load_model(kind, attention=attention), prompts_of(6, shared=16)
    prefix = model.keys_values(prompts[0].ids[:14])
    shortened = scoring([replace(prompt, ids=prompt.ids[14:]) for prompt in prompts], prefixes=(prefix,))
    for result, plain in zip(answer(model, shortened), answer(model, scoring(prompts)), strict=True):
        assert numbers(result) == pytest.approx(numbers(plain), abs=1e-4)


# ---- batches, shared prefixes, generation --------------------------------------------------------


def mixed(config: Any, seed: int) -> list[Request]:
    """Requests with and without different prefixes and edits; all prompts start with the same tokens."""
    edits = [*edits_for(config.num_hidden_layers).values(), ()]
    prefixes = ((prefix_for(config, 3),), (), (prefix_for(config, 13, seed=5, layers=(1, 3)),))
    verbs = (Score(continuations=WORDS), Read(token_ids=(4, 9), top_m=2, hidden_layer=1), Read(hidden_layer=2, mean_from=1))
    created = []
    for index, prompt in enumerate(prompts_of(seed, count=12)):
        learned = Interventions(edits=edits[(seed + index) % len(edits)], prefixes=prefixes[index % 3])
        created.append(Request(input=prompt, verb=verbs[(index + seed) % 7 % 3], interventions=learned))
    return created


@settings(max_examples=6)
@given(st.integers(0, 10**6), st.permutations(range(12)), st.sampled_from([1, 40, 4096]), st.sampled_from(REPRESENTATIVE))
def test_results_do_not_depend_on_batch_or_order(
    load_model: LoadModel, seed: int, order: list[int], batch_tokens: int, kind: str
) -> None:
    model = load_model(kind, batch_tokens=batch_tokens)
    requests = mixed(model._config, seed)
    together = answer(model, [requests[i] for i in order])
    for place, index in enumerate(order):
        assert numbers(together[place]) == pytest.approx(numbers(answer(model, [requests[index]])[0]), abs=1e-4)


@pytest.mark.parametrize("kind", REPRESENTATIVE)
def test_sharing_prompts_with_learned_values_does_not_change_results(kind: str, load_model: LoadModel) -> None:
    packed, plain = load_model(kind), load_model(kind, attention="eager")
    for edits in (*edits_for(packed._config.num_hidden_layers).values(), ()):
        interventions = {"edits": edits, "prefixes": (prefix_for(packed._config),)}
        requests = scoring(prompts_of(7, shared=20), **interventions)
        ((_, plan),) = packed._plans(requests)
        last = max([1, *(edit.last for edit in edits)])
        assert max(batch.reuse for batch in plan.batches) == (0 if last == 30 else 20)
        for result, other in zip(answer(packed, requests), answer(plain, requests), strict=True):
            assert numbers(result) == pytest.approx(numbers(other), abs=1e-4)


@pytest.mark.parametrize("kind", REPRESENTATIVE)
@pytest.mark.parametrize("attention", ["packed", "eager"])
def test_texts_equal_recomputing_every_step(kind: str, attention: str, load_model: LoadModel) -> None:
    model, reference = load_model(kind, attention=attention), make_model(kind)
    prefixes = (prefix_for(reference.config, 4),)
    for edits in edits_for(reference.config.num_hidden_layers).values():
        prompts, learned = prompts_of(8, count=3), Interventions(edits=edits, prefixes=prefixes)
        requests = [Request(input=prompt, verb=Generate(max_tokens=5), interventions=learned) for prompt in prompts]
        outputs: list[Any] = answer(model, requests)
        for prompt, output in zip(prompts, outputs, strict=True):
            (text,) = output.generations
            for step, token in enumerate(text.ids):
                full = torch.tensor([(*prompt.ids, *text.ids[:step])])
                with torch.no_grad(), edit_hooks(reference, edits, len(prompt.ids)):
                    logits = reference(full, **past_of(reference, prefixes)).logits[0, -1]
                assert logits[token] >= logits.max() - 1e-4


# ---- caching and refusals ---------------------------------------------------------


def test_the_score_cache_distinguishes_prefixes_and_edits(load_model: LoadModel, tmp_path: Path) -> None:
    cached = CachedModel(load_model("llama"), ScoreCache(tmp_path / "scores.sqlite"))
    config, (prompt,) = make_model("llama").config, prompts_of(9, count=1)
    edits = edits_for(3)
    variants: list[dict[str, Any]] = [
        {},
        {"prefixes": (prefix_for(config),)},
        {"prefixes": (prefix_for(config, seed=3),)},
        *({"edits": entry} for entry in edits.values()),
        {"edits": (replace(edits["add to the last"][0], last=2),)},
    ]
    requests = [request for learned in variants for request in scoring([prompt], **learned)]
    first = [cached([request])[0] for request in requests]
    assert cached.computed == len(requests)
    assert cached(requests) == first
    assert cached.computed == len(requests)
    assert len(set(first)) == len(first)


def unsupported() -> list[tuple[str, dict[str, Any], str]]:
    config = make_model("llama").config
    edit = edits_for(3)["add to the last"]
    return [
        ("mamba", {"prefixes": (prefix_for(config),)}, "no-prefixes"),
        ("fake", {"edits": edit}, "no-prefixes-or-edits"),
        ("fake", {"prefixes": (prefix_for(config),)}, "no-prefixes-or-edits"),
    ]


@pytest.mark.parametrize(("kind", "learned", "code"), unsupported())
def test_unsupported_learned_values_are_refused(kind: str, learned: Any, code: str, load_model: LoadModel) -> None:
    model = pk.load(kind) if kind == "fake" else load_model(kind)
    with refused(pk.Unsupported, code, model=model.name):
        answer(model, scoring(prompts_of(1, count=1), **learned))


def test_attention_of_transformers_refuses_a_prefix_at_some_layers(load_model: LoadModel) -> None:
    model, (prompt,) = load_model("llama", attention="eager"), prompts_of(1, count=1)
    with refused(pk.Unsupported, "prefix-at-some-layers", model=model.name):
        answer(model, scoring([prompt], prefixes=(prefix_for(model._config, layers=(1,)),)))
