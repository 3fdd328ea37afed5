"""Text generation, compared with `generate` of transformers and with the distribution of samples."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch

import promptkit as pk
from promptkit.core.inputs import TextInput
from promptkit.core.json_schema import read_schema
from promptkit.core.requests import Generate, Request
from promptkit.models.files.tokenizer import TransformersTokenizer
from promptkit.models.generation import Text, Writing
from tests.support.hf_models import LoadModel, answer, random_prompts
from tests.support.tiny import PACKED, make_model, make_tokenizer

ENDS = (1,)


def prompts(count: int, *, shared: int = 20) -> list[tuple[int, ...]]:
    return random_prompts(count, seed=0, shared=shared, shortest=1, longest=15)


def generate_requests(ids: list[tuple[int, ...]], **verb: Any) -> list[Request]:
    return [Request(input=TextInput(ids=prompt), verb=Generate(**verb)) for prompt in ids]


@pytest.mark.parametrize("kind", [*PACKED, "bloom", "mamba"])
def test_greedy_texts_equal_transformers(kind: str, load_model: LoadModel) -> None:
    model = make_model(kind)
    ids = prompts(4)
    for prompt, output in zip(ids, answer(load_model(kind), generate_requests(ids, max_tokens=18)), strict=True):
        expected = model.generate(
            torch.tensor([prompt]), max_new_tokens=18, do_sample=False, eos_token_id=list(ENDS), pad_token_id=2
        )
        assert output.generations[0].ids == tuple(expected[0, len(prompt) :].tolist())


def test_texts_do_not_depend_on_other_requests_or_batch_settings(load_model: LoadModel) -> None:
    unseeded = generate_requests(prompts(9), max_tokens=12, n=3, temperature=1)
    requests = [replace(request, verb=replace(request.verb, seed=seed)) for seed, request in enumerate(unseeded)]
    together = answer(load_model("gemma3"), requests)
    assert answer(load_model("gemma3", batch_tokens=8), requests) == together
    assert answer(load_model("gemma3"), requests[::-1]) == together[::-1]
    assert [answer(load_model("gemma3"), [request])[0] for request in requests] == together
    assert answer(load_model("gemma3", attention="eager"), requests) == together


def test_texts_that_are_restricted_to_a_schema_are_valid(load_model: LoadModel) -> None:
    schema = read_schema({"film": ["good", "bad"], "stars": {"type": "integer", "minimum": 1, "maximum": 5}})
    requests = generate_requests(prompts(5), max_tokens=60, n=2, temperature=2.0, json_schema=schema.text)
    requests += generate_requests(prompts(2), max_tokens=9, stop=("a",))
    model = load_model("llama")
    together = answer(model, requests)
    for output in together[:5]:
        for text in output.generations:
            assert text.ended == "end"
            assert schema.problems(json.loads(text.text)) == {}
            assert text.text == schema.written(json.loads(text.text))
    assert len({text.text for output in together[:5] for text in output.generations}) > 1
    assert [answer(model, [request])[0] for request in requests] == together
    assert answer(load_model("llama", attention="eager"), requests) == together


def test_samples_are_a_function_of_number_and_seed(load_model: LoadModel) -> None:
    model = load_model("llama")
    one = answer(model, generate_requests(prompts(1), max_tokens=12, n=6, temperature=1.5, seed=3))[0].generations
    assert len({text.ids for text in one}) == 6
    assert answer(model, generate_requests(prompts(1), max_tokens=12, n=2, temperature=1.5, seed=3))[0].generations == one[:2]
    assert answer(model, generate_requests(prompts(1), max_tokens=12, n=6, temperature=1.5, seed=4))[0].generations != one
    rest = answer(model, generate_requests(prompts(1), max_tokens=12, n=6, known=4, temperature=1.5, seed=3))[0].generations
    assert rest == one[4:]


def test_tokens_are_sampled_from_the_models_distribution(load_model: LoadModel) -> None:
    prompt = prompts(1)[0]
    count, temperature = 3000, 0.8
    requests = generate_requests([prompt], max_tokens=1, n=count, temperature=temperature)
    samples = answer(load_model("llama"), requests)[0].generations
    expected = (make_model("llama")(torch.tensor([prompt])).logits[0, -1] / temperature).softmax(-1)
    counts = Counter(text.ids[0] for text in samples)
    for token in expected.topk(8).indices.tolist():
        share = float(expected[token])
        assert counts[token] / count == pytest.approx(share, abs=4 * (share * (1 - share) / count) ** 0.5)


def test_the_random_number_of_a_step_is_uniform() -> None:
    verb = Generate(max_tokens=1)
    marks = sorted(Text(request=0, sample=sample, verb=verb, tail=()).uniform for sample in range(2000))
    assert max(abs(mark - index / 2000) for index, mark in enumerate(marks)) < 0.04  # Kolmogorov-Smirnov, far in the tail


@pytest.mark.parametrize("engine", ["packed", "eager", "fake"])
def test_a_text_ends_at_stop_string_end_token_or_maximum_length(engine: str, load_model: LoadModel) -> None:
    model = pk.load("fake") if engine == "fake" else load_model("llama", attention=engine)
    requests = generate_requests(
        [(0, *prompt) for prompt in prompts(6, shared=0)] if engine != "fake" else [(97, i) for i in range(6)], max_tokens=30
    )
    full = answer(model, requests)
    for request, output in zip(requests, full, strict=True):
        long = output.generations[0]
        assert long.ended == ("end" if long.ids[-1] in model.card.tokenizer.ends else "length")
        stop = long.text[5:7]
        if not stop:
            continue
        cut = answer(model, [replace(request, verb=replace(request.verb, stop=("never there", stop)))])[0].generations[0]
        assert cut.ended == "stop"
        assert cut.text == long.text[: long.text.index(stop)]
        assert cut.ids == long.ids[: len(cut.ids)]


def test_a_text_keeps_its_leading_space(load_model: LoadModel) -> None:
    tokenizer = TransformersTokenizer(make_tokenizer())
    prompt, ids = (tokenizer.encode(text).ids for text in ("Sentiment:", " positive"))
    text = Text(request=0, sample=0, verb=Generate(max_tokens=len(ids)), tail=prompt[-8:])
    for token in ids:
        text.add(token, Writing(tokenizer=tokenizer, ends=frozenset(tokenizer.ends)))
    assert text.generation is not None
    assert text.generation.text == " positive"
