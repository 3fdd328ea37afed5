"""Learned vectors: a model gives the same results for its embeddings as for the tokens."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import promptkit as pk
from promptkit.core.arrays import Array, zeros
from promptkit.core.errors import CheckpointError, InputError
from promptkit.core.inputs import TextInput
from promptkit.core.interventions import Interventions
from promptkit.core.requests import Generate, Read, Request, Score, Verb
from promptkit.models.cache import ScoreCache
from promptkit.models.client import CachedModel
from promptkit.models.hf.tensors import array_of, merge_vectors
from tests.support.errors import refused
from tests.support.hf_models import LoadModel, answer, numbers, random_prompts
from tests.support.tiny import CONFIGS, make_model


def random_requests(seed: int, count: int = 6, shared: int = 12) -> list[Request]:
    """`Score` and `Read` requests with prompts that start with the same tokens."""
    read, score = Read(token_ids=(4, 9), top_m=2, hidden_layer=1), Score(continuations=((5, 6), (5, 7, 8), (9,)))
    prompts = random_prompts(count, seed=seed, shared=shared)
    return [Request(input=TextInput(ids=ids), verb=read if i % 3 == 2 else score) for i, ids in enumerate(prompts)]


def with_vectors(ids: tuple[int, ...], vectors: Array, verb: Verb) -> Request:
    return Request(input=TextInput(ids=ids), verb=verb, interventions=Interventions(vectors=vectors))


def as_vectors(request: Request, embedding: Any, places: set[int]) -> Request:
    """The request with some of its tokens replaced by their embeddings, in a shuffled table."""
    ids = request.input.ids
    chosen = sorted((place for place in places if place < len(ids)), key=lambda place: (place * 7) % 5)
    rows = array_of(embedding(torch.tensor([ids[place] for place in chosen])))
    learned = {place: -1 - row for row, place in enumerate(chosen)}
    return with_vectors(tuple(learned.get(i, t) for i, t in enumerate(ids)), rows, request.verb)


@pytest.mark.parametrize("kind", CONFIGS)
def test_embeddings_as_vectors_give_the_results_of_the_tokens(kind: str, load_model: LoadModel) -> None:
    embedding, requests = make_model(kind).get_input_embeddings(), random_requests(1)
    learned = [as_vectors(request, embedding, {0, 1, 3, 4, 11, 14}) for request in requests]
    for expected, result in zip(answer(load_model(kind), requests), answer(load_model(kind), learned), strict=True):
        assert numbers(result) == pytest.approx(numbers(expected), abs=1e-4)
    texts = [replace(request, verb=Generate(max_tokens=6)) for request in requests[:2]]
    vectors = [replace(request, verb=Generate(max_tokens=6)) for request in learned[:2]]
    assert answer(load_model(kind), vectors) == answer(load_model(kind), texts)


@pytest.mark.parametrize("kind", CONFIGS)
def test_random_vectors_give_the_results_of_transformers(kind: str, load_model: LoadModel) -> None:
    model = make_model(kind)
    rows = torch.randn((4, 32), generator=torch.Generator().manual_seed(3))
    prompt, learned = TextInput(ids=(-1, -2, 5, 9, 30, -4, 77, -1)), Interventions(vectors=array_of(rows))
    request = Request(input=prompt, verb=Score(continuations=((8, 12), (40,))), interventions=learned)
    (result,) = answer(load_model(kind), [request])
    complete = torch.tensor([[*prompt.ids, 8]])
    embeds = model.get_input_embeddings()(complete.clamp(min=0))
    embeds[complete < 0] = rows[-1 - complete[complete < 0]]
    logprobs = model(inputs_embeds=embeds).logits[0].log_softmax(-1)
    expected = [logprobs[-2, 8].item(), logprobs[-1, 12].item(), logprobs[-2, 40].item()]
    assert numbers(result) == pytest.approx(expected, abs=1e-4)


def mixed(seed: int) -> list[Request]:
    """Requests with different vectors for equal ids, with equal vectors for different ids, and without vectors."""
    draw = torch.Generator().manual_seed(seed)
    one, other = torch.randn((10, 32), generator=draw), torch.randn((10, 32), generator=draw)
    first = tuple(range(-1, -11, -1))
    created = []
    for index, request in enumerate(random_requests(seed, count=9, shared=3)):
        rows = (one, other, one.flip(0), None)[index % 4]
        ids = first[::-1] if index % 4 == 2 else first
        if rows is None:
            created.append(request)
        else:
            created.append(with_vectors(ids + request.text.ids, array_of(rows), request.verb))
    return created


@settings(max_examples=10)
@given(st.integers(0, 10**6), st.permutations(range(9)), st.sampled_from([1, 40, 4096]))
def test_results_do_not_depend_on_batch_or_order(load_model: LoadModel, seed: int, order: list[int], batch_tokens: int) -> None:
    model, requests = load_model("gemma3", batch_tokens=batch_tokens), mixed(seed)
    together = answer(model, [requests[i] for i in order])
    for place, index in enumerate(order):
        assert numbers(together[place]) == pytest.approx(numbers(answer(model, [requests[index]])[0]), abs=1e-4)


def test_only_equal_rows_share_an_id() -> None:
    requests = merge_vectors(mixed(0), 32)
    learned = [request.input.ids[:10] for request in requests if request.interventions.vectors]
    assert learned[0] == learned[2]  # the same rows, in a reversed table
    assert not set(learned[0]) & set(learned[1])
    assert len({request.interventions.vectors for request in requests} - {None}) == 1
    assert merge_vectors(requests, 32) == requests


def test_only_equal_vectors_are_shared(load_model: LoadModel) -> None:
    model = load_model("llama")
    shared = [request for request in mixed(2) if request.interventions.vectors]
    ((_, plan),) = model._plans(merge_vectors(shared, 32))
    assert any(batch.reuse >= 10 for batch in plan.batches)
    assert any(batch.reuse == 0 for batch in plan.batches)


def test_the_score_cache_distinguishes_vectors(load_model: LoadModel, tmp_path: Path) -> None:
    cached = CachedModel(load_model("llama"), ScoreCache(tmp_path / "scores.sqlite"))
    one, other = (with_vectors((-1, 5), array_of(torch.full((1, 32), x)), Score(continuations=((7,),))) for x in (0.5, -0.5))
    first = cached([one])
    assert cached([other]) != first
    assert cached([one]) == first
    assert (cached.computed, cached.cached) == (2, 1)


def test_invalid_vectors_are_refused(load_model: LoadModel, monkeypatch: pytest.MonkeyPatch) -> None:
    model, verb = load_model("llama"), Read(top_m=1)
    narrow = zeros(1, 4)
    with refused(CheckpointError, "wrong-vector-width", width=4, model_width=32):
        answer(model, [with_vectors((-1, 3), narrow, verb)])
    with refused(InputError, "unknown-vector-id", id=-2, vectors=1):
        answer(model, [with_vectors((-2, 3), array_of(torch.ones(1, 32)), verb)])
    other_model = load_model("qwen3")
    other_model.load()
    monkeypatch.setattr(other_model._forward, "embed", lambda ids: array_of(torch.ones(len(ids), 32)))
    with refused(pk.Unsupported, "no-learned-vectors", model=other_model.name):
        answer(other_model, [with_vectors((-1, 3), array_of(torch.ones(1, 32)), verb)])
