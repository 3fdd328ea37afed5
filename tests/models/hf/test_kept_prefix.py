"""The keys and values of the beginning of a prompt are kept from one call to the next, and change no output beyond rounding."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import promptkit as pk
from promptkit.core.examples import LabeledExample
from promptkit.core.interventions import Interventions
from promptkit.core.requests import Generate, Read, Request
from promptkit.core.sequences import common_prefix_length
from tests.support.hf_models import TEXTS, LoadModel, answer, numbers, rendered_rows, requests_of

WORDS = {"negative": "bad and dull", "positive": "good"}
POOL = [
    LabeledExample(id=f"r{i}", inputs={"text": f"the film was {word} and long"}, label=label)
    for i, (word, label) in enumerate([("good", "positive"), ("bad", "negative"), ("dull", "negative"), ("fine", "positive")])
]
KINDS = ["gemma3", "llama"]


def rows_of(model: Any) -> list[Any]:
    return rendered_rows(model, TEXTS, WORDS, pool=POOL, demos=pk.demos.Balanced(k=4, seed=1))


def shared(requests: list[Request]) -> tuple[int, ...]:
    """The beginning of all prompts."""
    first, *others = (request.text.ids for request in requests)
    return first[: min(common_prefix_length(first, ids) for ids in others) - 2]


def computed(model: Any, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The lengths of the prefixes that the model computes from now on."""
    model.load()
    lengths: list[int] = []
    original = model._forward.prefill

    def prefill(ids: Any, *arguments: Any) -> Any:
        lengths.append(len(ids))
        return original(ids, *arguments)

    monkeypatch.setattr(model._forward, "prefill", prefill)
    return lengths


@pytest.mark.parametrize("kind", KINDS)
def test_single_rows_reuse_the_beginning_of_their_prompts(
    load_model: LoadModel, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    model = load_model(kind)
    requests = requests_of(rows_of(model))
    expected = [numbers(output) for request in requests for output in answer(model, [request])]
    lengths = computed(model, monkeypatch)
    prefix = shared(requests)
    with model.reusing(prefix):
        outputs = [numbers(output) for request in requests for output in answer(model, [request])]
    assert lengths == [len(prefix)]
    for output, without in zip(outputs, expected, strict=True):
        assert output == pytest.approx(without, abs=1e-4)


@pytest.mark.parametrize("verb", [Read(hidden_layer=-1, top_m=3), Generate(max_tokens=4)])
def test_other_requests_reuse_it_too(load_model: LoadModel, monkeypatch: pytest.MonkeyPatch, verb: Any) -> None:
    model = load_model("gemma3")
    requests = [row.request(verb) for row in rows_of(model)]
    expected = [output for request in requests for output in answer(model, [request])]
    lengths = computed(model, monkeypatch)
    with model.reusing(shared(requests)):
        outputs = [output for request in requests for output in answer(model, [request])]
    assert len(lengths) == 1
    if isinstance(verb, Generate):
        assert outputs == expected
    else:
        assert np.array([*map(numbers, outputs)]) == pytest.approx(np.array([*map(numbers, expected)]), abs=1e-4)


def test_outputs_outside_of_the_context_do_not_depend_on_earlier_calls(load_model: LoadModel) -> None:
    model, fresh = load_model("gemma3"), load_model("gemma3")
    requests = requests_of(rows_of(model))
    with model.reusing(shared(requests)):
        answer(model, requests[:1])
    assert answer(model, requests) == answer(fresh, requests)
    assert answer(model, requests[:1]) == answer(fresh, requests[:1])


def test_requests_with_another_beginning_are_computed_as_usual(load_model: LoadModel, monkeypatch: pytest.MonkeyPatch) -> None:
    model, fresh = load_model("gemma3"), load_model("gemma3")
    requests = requests_of(rows_of(model))
    others = requests_of(rendered_rows(model, TEXTS, WORDS))
    lengths = computed(model, monkeypatch)
    with model.reusing(shared(requests)):
        assert answer(model, others[:1]) == answer(fresh, others[:1])
    assert shared(requests) not in lengths


def test_learned_keys_and_values_reuse_nothing(load_model: LoadModel) -> None:
    model, fresh = load_model("gemma3"), load_model("gemma3")
    requests = requests_of(rows_of(model))
    learned = model.keys_values(requests[0].text.ids[:5])
    changed = [replace(request, interventions=Interventions(prefixes=(learned,))) for request in requests[:2]]
    with model.reusing(shared(requests)):
        answer(model, requests[:1])
        outputs = [answer(model, [request]) for request in changed]
    assert outputs == [answer(fresh, [request]) for request in changed]


def test_learned_values_of_prompts_that_share_the_reused_tokens_are_not_kept(load_model: LoadModel) -> None:
    """The tokens that several prompts with interventions share can be exactly those that are reused."""
    model, fresh = load_model("gemma3"), load_model("gemma3")
    requests = requests_of(rows_of(model))
    learned = [Interventions(prefixes=(model.keys_values(requests[0].text.ids[begin : begin + 5]),)) for begin in (0, 9)]
    first, *others = (request.text.ids for request in requests)
    prefix = first[: min(common_prefix_length(first, ids) for ids in others)]
    groups = [requests, *([replace(request, interventions=each) for request in requests] for each in learned)]
    expected = [answer(fresh, group) for group in groups]
    assert not np.allclose(numbers(expected[1][0]), numbers(expected[2][0]), atol=1e-4)
    for order in ((0, 1, 2), (2, 1, 0)):
        with model.reusing(prefix):
            for number in order:
                for output, without in zip(answer(model, groups[number]), expected[number], strict=True):
                    assert numbers(output) == pytest.approx(numbers(without), abs=1e-5)


def test_memory_is_bounded(load_model: LoadModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("promptkit.models.hf.engine.KEPT_TOKENS", 60)
    model = load_model("gemma3")
    requests = requests_of(rows_of(model))
    ids = shared(requests)
    for length in range(20, len(ids)):
        with model.reusing(ids[:length]):
            answer(model, requests[:1])
    kept = [*model._kept_prefixes]
    assert kept[-1] == ids[: len(ids) - 1]
    assert sum(map(len, kept)) <= max(60, len(kept[-1]))


def test_a_predictor_answers_single_rows_without_reading_demonstrations_again(
    load_model: LoadModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_model("gemma3")
    prompt = pk.Prompt("sentiment/review", demos=pk.demos.First(k=4), rows={"pool": POOL})
    whole = pk.Predictor(model, prompt, pk.Verbalizer(WORDS)).session()
    predictor = pk.Predictor(model, prompt, pk.Verbalizer(WORDS))
    expected = whole.predict(predictor.read_rows([{"text": text} for text in TEXTS]))
    lengths = computed(model, monkeypatch)
    probabilities = [predictor.predict([text]).probabilities[0] for text in TEXTS]
    assert len(lengths) <= 2
    assert np.array(probabilities) == pytest.approx(expected.probabilities, abs=1e-4)
