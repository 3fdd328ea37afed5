"""The packed forward against the model's own, one prompt and one continuation at a time."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from promptkit.core.inputs import TextInput
from promptkit.core.requests import Output, Read, ReadOutput, Request, Score, ScoreOutput
from promptkit.models.hf import attention
from promptkit.models.hf.lm_head import Head
from promptkit.models.hf.packed import PackedForward
from promptkit.models.hf.padded import PaddedForward
from promptkit.models.hf.tensors import array_of
from promptkit.models.hf.verify import packed_forward
from tests.support.tiny import CONFIGS, PACKED, VOCABULARY, make_model

_made: dict[str, tuple[Any, Any]] = {}


def forwards(kind: str) -> tuple[PackedForward, Any]:
    """The packed forward of a tiny model, and an equal model with transformers' own attention."""
    if kind not in _made:
        packed, reason = packed_forward(make_model(kind), batch_tokens=16)
        assert packed is not None, reason
        _made[kind] = packed, make_model(kind)
    return _made[kind]


def naive(model: Any, request: Request) -> Output:
    """An independent computation: the whole text through the model, no batch, no cache, no padding."""
    prompt = request.input.ids
    if isinstance(request.verb, Read):
        output = model(torch.tensor([prompt]), output_hidden_states=True)
        row = output.logits[0, -1].log_softmax(-1)
        best = row.topk(request.verb.top_m)
        verb = request.verb
        hidden = output.hidden_states[verb.hidden_layer][0] if verb.hidden_layer is not None else None
        state = hidden if hidden is None else hidden[-1] if verb.mean_from is None else hidden[verb.mean_from :].mean(0)
        return ReadOutput(
            logprobs=tuple(row[t].item() for t in verb.token_ids),
            top=tuple(zip(best.indices.tolist(), best.values.tolist(), strict=True)),
            hidden=None if hidden is None else array_of(state),
        )
    rows = []
    for continuation in request.verb.continuations:
        logits = model(torch.tensor([prompt + continuation])).logits[0].log_softmax(-1)
        rows.append(tuple(logits[len(prompt) - 1 + i, token].item() for i, token in enumerate(continuation)))
    return ScoreOutput(logprobs=tuple(rows))


def numbers(output: Output) -> list[float]:
    if isinstance(output, ScoreOutput):
        return [x for row in output.logprobs for x in row]
    return [*output.logprobs, *(x for _, x in output.top), *([] if output.hidden is None else output.hidden.numpy().tolist())]


def requests_over(prefix: tuple[int, ...], seed: int, count: int = 5) -> list[Request]:
    draw = random.Random(seed)

    def ids(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw.randrange(3, VOCABULARY) for _ in range(draw.randint(low, high)))

    made = []
    for _ in range(count):
        stem = ids(1, 2)
        continuations = (ids(1, 1), stem + ids(1, 3), stem + ids(1, 2), ids(2, 4))
        made.append(Request(input=TextInput(ids=prefix + ids(1, 20)), verb=Score(continuations=continuations)))
    read = Read(token_ids=ids(3, 3), top_m=4, hidden_layer=1)
    return [*made, Request(input=TextInput(ids=prefix + ids(2, 9)), verb=read)]


@pytest.mark.parametrize("kind", PACKED)
@pytest.mark.parametrize("shared", [0, 9, 40])
def test_packed_rows_equal_one_prompt_at_a_time(kind: str, shared: int) -> None:
    packed, model = forwards(kind)
    prefix = tuple(3 + (i * 37) % 300 for i in range(shared))
    asked = requests_over(prefix, seed=shared)
    for request, got in zip(asked, packed.answer(asked, shared, packed.prefix(prefix)), strict=True):
        assert numbers(got) == pytest.approx(numbers(naive(model, request)), abs=1e-4)


def means(seed: int, count: int = 6) -> list[Request]:
    """Requests for the mean hidden state of texts behind one token that all begin with; of one the log-probabilities too."""
    draw = random.Random(seed)
    made = []
    for number in range(count):
        ids = (0, *(draw.randrange(3, VOCABULARY) for _ in range(draw.randint(12, 30))))
        told = {"token_ids": ids[2:4], "top_m": 2} if number == 1 else {}
        verb = Read(hidden_layer=draw.choice([0, 1, -1]), mean_from=draw.randrange(len(ids)), **told)
        made.append(Request(input=TextInput(ids=ids), verb=verb))
    return made


@pytest.mark.parametrize("kind", CONFIGS)
def test_mean_hidden_states_equal_transformers_own(kind: str) -> None:
    forward = forwards(kind)[0] if kind in PACKED else PaddedForward(make_model(kind), batch_tokens=64)
    asked = means(seed=5)
    for request, got in zip(asked, forward.answer(asked, 0, {}), strict=True):
        assert numbers(got) == pytest.approx(numbers(naive(make_model(kind), request)), abs=1e-4)


def test_a_hidden_state_alone_runs_no_output_head(monkeypatch: pytest.MonkeyPatch) -> None:
    packed, _ = forwards("llama")
    monkeypatch.setattr(Head, "_logits", None)
    (answer,) = packed.answer(means(seed=7, count=1), 0, {})
    assert len(numbers(answer)) == 32


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 60), st.integers(0, 10**6), st.integers(1, 7))
def test_any_prefix_length_equals_the_unreused_computation(shared: int, seed: int, count: int) -> None:
    packed, _ = forwards("gemma3")
    prefix = tuple(random.Random(seed).randrange(3, VOCABULARY) for _ in range(shared))
    asked = requests_over(prefix, seed, count)
    reused = [numbers(output) for output in packed.answer(asked, shared, packed.prefix(prefix))]
    for got, request in zip(reused, asked, strict=True):
        assert got == pytest.approx(numbers(packed.answer([request], 0, {})[0]), abs=1e-4)


def test_queries_in_blocks_equal_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    packed, _ = forwards("gemma3")
    asked = requests_over(tuple(range(10, 30)), seed=3)
    prefix = packed.prefix(tuple(range(10, 30)))
    whole = [numbers(output) for output in packed.answer(asked, 20, prefix)]
    monkeypatch.setattr(attention, "SCORES_AT_ONCE", 3000)
    for got, output in zip(whole, packed.answer(asked, 20, prefix), strict=True):
        assert got == pytest.approx(numbers(output), abs=1e-5)


@pytest.mark.parametrize("kind", CONFIGS)
def test_padded_rows_equal_one_prompt_at_a_time(kind: str) -> None:
    model = make_model(kind)
    plain = PaddedForward(model, batch_tokens=200)
    asked = requests_over((5, 6, 7), seed=1, count=3)
    for request, got in zip(asked, plain.answer(asked, 0, {}), strict=True):
        assert numbers(got) == pytest.approx(numbers(naive(model, request)), abs=1e-4)


@pytest.mark.parametrize("kind", sorted(set(CONFIGS) - set(PACKED)))
def test_models_that_cannot_be_packed_are_found_out_and_keep_their_own_attention(kind: str) -> None:
    model = make_model(kind)
    packed, reason = packed_forward(model, batch_tokens=64)
    assert packed is None
    assert reason
    request = requests_over((4, 5, 6), seed=2, count=1)[0]
    got = PaddedForward(model, batch_tokens=64).answer([request], 0, {})[0]
    assert numbers(got) == pytest.approx(numbers(naive(make_model(kind), request)), abs=1e-4)


def test_a_wrong_packed_forward_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(module: Any, query: Any, *rest: Any, **options: Any) -> Any:
        return attention.attend(module, 2 * query, *rest, **options)

    monkeypatch.setattr("promptkit.models.hf.verify.attend", wrong)
    packed, reason = packed_forward(make_model("llama"), batch_tokens=64)
    assert packed is None
    assert "differs" in reason


def test_answering_leaves_the_weights_as_they_were() -> None:
    model = make_model("gemma3")
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    packed, _ = packed_forward(model, batch_tokens=64)
    assert packed is not None
    packed.answer(requests_over((), seed=4), 0, {})
    assert all(torch.equal(before[name], parameter) for name, parameter in model.named_parameters())
