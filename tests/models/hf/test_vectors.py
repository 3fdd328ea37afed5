"""Learned vectors: a model that is given its own embeddings answers as if it were given the tokens."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import promptkit as pk
from promptkit.core.arrays import zeros
from promptkit.core.errors import CheckpointError, InputError
from promptkit.core.inputs import TextInput
from promptkit.core.requests import Generate, Output, Read, ReadOutput, Request, Score, ScoreOutput
from promptkit.models.cache import ScoreCache
from promptkit.models.client import CachedModel
from promptkit.models.hf.tensors import array_of, tabled
from tests.support.errors import refused
from tests.support.tiny import CONFIGS, VOCABULARY, make_model, save


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Any:
    made: dict[str, Path] = {}

    def loaded(kind: str, **options: object) -> Any:
        if kind not in made:
            made[kind] = save(tmp_path_factory.mktemp(kind), kind)
        return pk.load(str(made[kind]), **options)

    return loaded


def answers(model: Any, asked: list[Request]) -> list[Output]:
    found = {i: output for indices, outputs in model.answer(asked) for i, output in zip(indices, outputs, strict=True)}
    return [found[i] for i in range(len(asked))]


def numbers(output: Output) -> list[float]:
    if isinstance(output, ScoreOutput):
        return [x for row in output.logprobs for x in row]
    assert isinstance(output, ReadOutput)
    return [*output.logprobs, *(x for _, x in output.top), *([] if output.hidden is None else output.hidden.numpy().tolist())]


def drawn(seed: int, count: int = 6, shared: int = 12) -> list[Request]:
    """Requests of every verb behind common tokens."""
    draw = random.Random(seed)
    head = tuple(draw.randrange(3, VOCABULARY) for _ in range(shared))
    made = []
    for number in range(count):
        tail = tuple(draw.randrange(3, VOCABULARY) for _ in range(draw.randint(2, 9)))
        words = ((5, 6), (5, 7, 8), (9,))
        verb = Read(token_ids=(4, 9), top_m=2, hidden_layer=1) if number % 3 == 2 else Score(continuations=words)
        made.append(Request(input=TextInput(ids=head + tail), verb=verb))
    return made


def as_vectors(request: Request, embedding: Any, places: set[int]) -> Request:
    """The request with the embeddings of some of its tokens in their place, in a shuffled table of its own."""
    ids = request.input.ids
    chosen = sorted((place for place in places if place < len(ids)), key=lambda place: (place * 7) % 5)
    rows = array_of(embedding(torch.tensor([ids[place] for place in chosen])))
    learned = {place: -1 - row for row, place in enumerate(chosen)}
    return replace(request, input=TextInput(ids=tuple(learned.get(i, t) for i, t in enumerate(ids)), vectors=rows))


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_models_own_embeddings_are_the_tokens(kind: str, load: Any) -> None:
    embedding, asked = make_model(kind).get_input_embeddings(), drawn(1)
    learned = [as_vectors(request, embedding, {0, 1, 3, 4, 11, 14}) for request in asked]
    for expected, found in zip(answers(load(kind), asked), answers(load(kind), learned), strict=True):
        assert numbers(found) == pytest.approx(numbers(expected), abs=1e-4)
    texts = [replace(request, verb=Generate(max_tokens=6)) for request in asked[:2]]
    vectors = [replace(request, verb=Generate(max_tokens=6)) for request in learned[:2]]
    assert answers(load(kind), vectors) == answers(load(kind), texts)


@pytest.mark.parametrize("kind", CONFIGS)
def test_any_vectors_are_read_as_transformers_reads_them(kind: str, load: Any) -> None:
    model = make_model(kind)
    rows = torch.randn((4, 32), generator=torch.Generator().manual_seed(3))
    prompt = TextInput(ids=(-1, -2, 5, 9, 30, -4, 77, -1), vectors=array_of(rows))
    (found,) = answers(load(kind), [Request(input=prompt, verb=Score(continuations=((8, 12), (40,))))])
    whole = torch.tensor([[*prompt.ids, 8]])
    embeds = model.get_input_embeddings()(whole.clamp(min=0))
    embeds[whole < 0] = rows[-1 - whole[whole < 0]]
    logprobs = model(inputs_embeds=embeds).logits[0].log_softmax(-1)
    expected = [logprobs[-2, 8].item(), logprobs[-1, 12].item(), logprobs[-2, 40].item()]
    assert numbers(found) == pytest.approx(expected, abs=1e-4)


def mixed(seed: int) -> list[Request]:
    """Requests of different vectors under equal ids, of equal vectors under different ids, and of none."""
    draw = torch.Generator().manual_seed(seed)
    one, other = torch.randn((10, 32), generator=draw), torch.randn((10, 32), generator=draw)
    first = tuple(range(-1, -11, -1))
    made = []
    for index, request in enumerate(drawn(seed, count=9, shared=3)):
        rows = (one, other, one.flip(0), None)[index % 4]
        ids = first[::-1] if index % 4 == 2 else first
        learned = TextInput(ids=request.input.ids) if rows is None else None
        made.append(replace(request, input=learned or TextInput(ids=ids + request.input.ids, vectors=array_of(rows))))
    return made


@settings(max_examples=10)
@given(st.integers(0, 10**6), st.permutations(range(9)), st.sampled_from([1, 40, 4096]))
def test_a_batch_of_many_equals_one_by_one_in_any_order(load: Any, seed: int, order: list[int], batch_tokens: int) -> None:
    model, asked = load("gemma3", batch_tokens=batch_tokens), mixed(seed)
    together = answers(model, [asked[i] for i in order])
    for place, index in enumerate(order):
        assert numbers(together[place]) == pytest.approx(numbers(answers(model, [asked[index]])[0]), abs=1e-4)


def test_only_equal_rows_share_an_id() -> None:
    asked = tabled(mixed(0), 32)
    learned = [request.input.ids[:10] for request in asked if request.input.vectors]
    assert learned[0] == learned[2]  # the same rows, in a table turned round
    assert not set(learned[0]) & set(learned[1])
    assert len({request.input.vectors for request in asked} - {None}) == 1
    assert tabled(asked, 32) == asked


def test_equal_vectors_are_computed_once_and_different_ones_apart(load: Any) -> None:
    model = load("llama")
    shared = [request for request in mixed(2) if request.input.vectors]
    ((_, plan),) = model._plans(tabled(shared, 32))
    assert any(batch.reuse >= 10 for batch in plan.batches)
    assert any(batch.reuse == 0 for batch in plan.batches)


def test_the_score_cache_tells_vectors_apart(load: Any, tmp_path: Path) -> None:
    ask = CachedModel(load("llama"), ScoreCache(tmp_path / "scores.sqlite"))
    one, other = (
        Request(input=TextInput(ids=(-1, 5), vectors=array_of(torch.full((1, 32), x))), verb=Score(continuations=((7,),)))
        for x in (0.5, -0.5)
    )
    first = ask([one])
    assert ask([other]) != first
    assert ask([one]) == first
    assert (ask.computed, ask.cached) == (2, 1)


def test_what_cannot_be_read_is_told(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model, verb = load("llama"), Read(top_m=1)
    narrow = zeros(1, 4)
    with refused(CheckpointError, "wrong-vector-width", width=4, model_width=32):
        answers(model, [Request(input=TextInput(ids=(-1, 3), vectors=narrow), verb=verb)])
    with refused(InputError, "unknown-vector-id", id=-2, vectors=1):
        answers(model, [Request(input=TextInput(ids=(-2, 3), vectors=array_of(torch.ones(1, 32))), verb=verb)])
    own = load("qwen3")
    own.load()
    monkeypatch.setattr(own._forward, "embed", lambda ids: array_of(torch.ones(len(ids), 32)))
    with refused(pk.Unsupported, "no-learned-vectors", model=own.name):
        answers(own, [Request(input=TextInput(ids=(-1, 3), vectors=array_of(torch.ones(1, 32))), verb=verb)])
