"""Texts that the engines write, against transformers' own `generate` and against the law of what is drawn."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import promptkit as pk
from promptkit.core.inputs import TextInput
from promptkit.core.requests import Generate, GenerateOutput, Request
from promptkit.models.files.tokenizer import TransformersTokenizer
from promptkit.models.generation import Text
from tests.support.tiny import PACKED, VOCABULARY, make_model, make_tokenizer, save

ENDS = (1,)


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Any:
    made: dict[str, Path] = {}

    def loaded(kind: str, **settings: object) -> Any:
        if kind not in made:
            made[kind] = save(tmp_path_factory.mktemp(kind), kind)
        return pk.load(str(made[kind]), **settings)

    return loaded


def prompts(count: int, *, shared: int = 20, seed: int = 0) -> list[tuple[int, ...]]:
    draw = random.Random(seed)
    head = tuple(draw.randrange(3, VOCABULARY) for _ in range(shared))
    return [head + tuple(draw.randrange(3, VOCABULARY) for _ in range(draw.randint(1, 15))) for _ in range(count)]


def written(model: Any, asked: list[Request]) -> list[GenerateOutput]:
    outputs = {i: output for indices, group in model.answer(asked) for i, output in zip(indices, group, strict=True)}
    return [outputs[i] for i in range(len(asked))]


def requests(ids: list[tuple[int, ...]], **verb: Any) -> list[Request]:
    return [Request(input=TextInput(ids=prompt), verb=Generate(**verb)) for prompt in ids]


@pytest.mark.parametrize("kind", [*PACKED, "bloom", "mamba"])
def test_greedy_texts_are_those_of_transformers_one_at_a_time(kind: str, load: Any) -> None:
    model = make_model(kind)
    ids = prompts(4)
    for prompt, output in zip(ids, written(load(kind), requests(ids, max_tokens=18)), strict=True):
        own = model.generate(
            torch.tensor([prompt]), max_new_tokens=18, do_sample=False, eos_token_id=list(ENDS), pad_token_id=2
        )
        assert output.generations[0].ids == tuple(own[0, len(prompt) :].tolist())


def test_what_is_written_depends_on_no_other_request_and_on_no_batch_setting(load: Any) -> None:
    asked = [
        replace(r, verb=replace(r.verb, seed=i)) for i, r in enumerate(requests(prompts(9), max_tokens=12, n=3, temperature=1))
    ]
    together = written(load("gemma3"), asked)
    assert written(load("gemma3", batch_tokens=8), asked) == together
    assert written(load("gemma3"), asked[::-1]) == together[::-1]
    assert [written(load("gemma3"), [request])[0] for request in asked] == together
    assert written(load("gemma3", attention="eager"), asked) == together


def test_samples_differ_by_number_and_by_seed_and_repeat_by_both(load: Any) -> None:
    model = load("llama")
    one = written(model, requests(prompts(1), max_tokens=12, n=6, temperature=1.5, seed=3))[0].generations
    assert len({text.ids for text in one}) == 6
    assert written(model, requests(prompts(1), max_tokens=12, n=2, temperature=1.5, seed=3))[0].generations == one[:2]
    assert written(model, requests(prompts(1), max_tokens=12, n=6, temperature=1.5, seed=4))[0].generations != one
    rest = written(model, requests(prompts(1), max_tokens=12, n=6, known=4, temperature=1.5, seed=3))[0].generations
    assert rest == one[4:]


def test_tokens_are_drawn_in_proportion_to_the_models_probabilities(load: Any) -> None:
    prompt = prompts(1)[0]
    count, temperature = 3000, 0.8
    drawn = written(load("llama"), requests([prompt], max_tokens=1, n=count, temperature=temperature))[0].generations
    expected = (make_model("llama")(torch.tensor([prompt])).logits[0, -1] / temperature).softmax(-1)
    counted = Counter(text.ids[0] for text in drawn)
    for token in expected.topk(8).indices.tolist():
        share = float(expected[token])
        assert counted[token] / count == pytest.approx(share, abs=4 * (share * (1 - share) / count) ** 0.5)


def test_the_chance_of_a_step_is_uniform() -> None:
    verb = Generate(max_tokens=1)
    marks = sorted(Text(request=0, sample=sample, verb=verb, tail=()).uniform for sample in range(2000))
    assert max(abs(mark - index / 2000) for index, mark in enumerate(marks)) < 0.04  # Kolmogorov-Smirnov, far in the tail


def text_of(generations: Any) -> str:
    return str(generations[0].text)


@pytest.mark.parametrize("engine", ["packed", "eager", "fake"])
def test_a_text_ends_before_its_stop_string_at_the_end_token_or_at_its_length(engine: str, load: Any) -> None:
    model = pk.load("fake") if engine == "fake" else load("llama", attention=engine)
    asked = requests(
        [(0, *prompt) for prompt in prompts(6, shared=0)] if engine != "fake" else [(97, i) for i in range(6)], max_tokens=30
    )
    whole = written(model, asked)
    for request, output in zip(asked, whole, strict=True):
        long = output.generations[0]
        assert long.ended == ("end" if long.ids[-1] in model.card.tokenizer.ends else "length")
        stop = long.text[5:7]
        if not stop:
            continue
        cut = written(model, [replace(request, verb=replace(request.verb, stop=("never there", stop)))])[0].generations[0]
        assert cut.ended == "stop"
        assert cut.text == long.text[: long.text.index(stop)]
        assert cut.ids == long.ids[: len(cut.ids)]


def test_a_text_keeps_the_space_that_it_begins_with(load: Any) -> None:
    tokenizer = TransformersTokenizer(make_tokenizer())
    prompt, ids = (tokenizer.encode(text).ids for text in ("Sentiment:", " positive"))
    text = Text(request=0, sample=0, verb=Generate(max_tokens=len(ids)), tail=prompt[-8:])
    for token in ids:
        text.add(token, tokenizer, frozenset(tokenizer.ends))
    assert text.generation is not None
    assert text.generation.text == " positive"
