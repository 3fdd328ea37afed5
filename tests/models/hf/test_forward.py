"""The packed and the padded forward, compared with the model run on one prompt and one continuation at a time."""

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
from promptkit.models.hf.causal_lm import CausalLM
from promptkit.models.hf.lm_head import LMHead
from promptkit.models.hf.packed import PackedForward
from promptkit.models.hf.padded import PaddedForward
from promptkit.models.hf.tensors import array_of
from promptkit.models.hf.verify import packed_forward
from tests.support.hf_models import layer_states, numbers
from tests.support.tiny import CONFIGS, PACKED, VOCABULARY, make_model

_forwards: dict[str, tuple[Any, Any]] = {}


def forwards(kind: str) -> tuple[PackedForward, Any]:
    """The packed forward of a tiny model, and an equal model with the attention of transformers."""
    if kind not in _forwards:
        packed, reason = packed_forward(CausalLM(make_model(kind)), batch_tokens=16)
        assert packed is not None, reason
        _forwards[kind] = packed, make_model(kind)
    return _forwards[kind]


def naive(model: Any, request: Request) -> Output:
    """Computes reference values from the complete text, without batch, cache or padding."""
    prompt = request.input.ids
    if isinstance(request.verb, Read):
        output = model(torch.tensor([prompt]))
        row = output.logits[0, -1].log_softmax(-1)
        best = row.topk(request.verb.top_m)
        verb = request.verb
        hidden = layer_states(model, prompt, verb.hidden_layer) if verb.hidden_layer is not None else None
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


def requests_over(prefix: tuple[int, ...], seed: int, count: int = 5) -> list[Request]:
    draw = random.Random(seed)

    def ids(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw.randrange(3, VOCABULARY) for _ in range(draw.randint(low, high)))

    created = []
    for _ in range(count):
        stem = ids(1, 2)
        continuations = (ids(1, 1), stem + ids(1, 3), stem + ids(1, 2), ids(2, 4))
        created.append(Request(input=TextInput(ids=prefix + ids(1, 20)), verb=Score(continuations=continuations)))
    read = Read(token_ids=ids(3, 3), top_m=4, hidden_layer=1)
    return [*created, Request(input=TextInput(ids=prefix + ids(2, 9)), verb=read)]


@pytest.mark.parametrize("kind", PACKED)
@pytest.mark.parametrize("shared", [0, 9, 40])
def test_packed_rows_equal_one_prompt_at_a_time(kind: str, shared: int) -> None:
    packed, model = forwards(kind)
    prefix = tuple(3 + (i * 37) % 300 for i in range(shared))
    requests = requests_over(prefix, seed=shared)
    for request, output in zip(requests, packed.answer(requests, shared, packed.prefill(prefix)), strict=True):
        assert numbers(output) == pytest.approx(numbers(naive(model, request)), abs=1e-4)


@pytest.mark.parametrize("kind", PACKED)
@pytest.mark.parametrize("shared", [0, 9])
def test_requests_with_one_prompt_are_computed_once_and_equal_one_at_a_time(
    kind: str, shared: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed, model = forwards(kind)
    prefix = tuple(3 + (i * 37) % 300 for i in range(shared))
    first, second, *_, read = requests_over(prefix, seed=shared)
    other = Read(token_ids=(5, 5, read.verb.token_ids[0], 9), top_m=2)
    requests = [
        Request(input=prompt.input, verb=verb)
        for prompt in (first, second, read)
        for verb in (first.verb, read.verb, second.verb, other, first.verb)
    ]
    computed: list[int] = []
    compute = packed.causal_lm.hidden_states
    monkeypatch.setattr(
        packed.causal_lm, "hidden_states", lambda row, **options: computed.append(len(row.starts)) or compute(row, **options)
    )
    outputs = packed.answer(requests, shared, packed.prefill(prefix))
    assert computed[-1] == 3
    for request, output in zip(requests, outputs, strict=True):
        assert numbers(output) == pytest.approx(numbers(naive(model, request)), abs=1e-4)


def means(seed: int, count: int = 6) -> list[Request]:
    """Requests for mean hidden states of texts after a shared first token; one also reads log-probabilities."""
    draw = random.Random(seed)
    created = []
    for number in range(count):
        ids = (0, *(draw.randrange(3, VOCABULARY) for _ in range(draw.randint(12, 30))))
        extra = {"token_ids": ids[2:4], "top_m": 2} if number == 1 else {}
        verb = Read(hidden_layer=draw.choice([0, 1, -1]), mean_from=draw.randrange(len(ids)), **extra)
        created.append(Request(input=TextInput(ids=ids), verb=verb))
    return created


@pytest.mark.parametrize("kind", CONFIGS)
def test_mean_hidden_states_equal_transformers(kind: str) -> None:
    forward = forwards(kind)[0] if kind in PACKED else PaddedForward(CausalLM(make_model(kind)), batch_tokens=64)
    requests = means(seed=5)
    for request, output in zip(requests, forward.answer(requests, 0, {}), strict=True):
        assert numbers(output) == pytest.approx(numbers(naive(make_model(kind), request)), abs=1e-4)


def test_reading_a_hidden_state_does_not_run_the_output_head(monkeypatch: pytest.MonkeyPatch) -> None:
    packed, _ = forwards("llama")
    monkeypatch.setattr(LMHead, "_block_logits", None)
    (answer,) = packed.answer(means(seed=7, count=1), 0, {})
    assert len(numbers(answer)) == 32


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 60), st.integers(0, 10**6), st.integers(1, 7))
def test_any_shared_prefix_equals_no_shared_prefix(shared: int, seed: int, count: int) -> None:
    packed, _ = forwards("gemma3")
    prefix = tuple(random.Random(seed).randrange(3, VOCABULARY) for _ in range(shared))
    requests = requests_over(prefix, seed, count)
    reused = [numbers(output) for output in packed.answer(requests, shared, packed.prefill(prefix))]
    for output, request in zip(reused, requests, strict=True):
        assert output == pytest.approx(numbers(packed.answer([request], 0, {})[0]), abs=1e-4)


def test_queries_in_blocks_equal_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    packed, _ = forwards("gemma3")
    requests = requests_over(tuple(range(10, 30)), seed=3)
    prefix = packed.prefill(tuple(range(10, 30)))
    full = [numbers(output) for output in packed.answer(requests, 20, prefix)]
    monkeypatch.setattr(attention, "MAX_SCORES", 3000)
    for expected, output in zip(full, packed.answer(requests, 20, prefix), strict=True):
        assert expected == pytest.approx(numbers(output), abs=1e-5)


@pytest.mark.parametrize("kind", CONFIGS)
def test_padded_rows_equal_one_prompt_at_a_time(kind: str) -> None:
    model = make_model(kind)
    plain = PaddedForward(CausalLM(model), batch_tokens=200)
    requests = requests_over((5, 6, 7), seed=1, count=3)
    for request, output in zip(requests, plain.answer(requests, 0, {}), strict=True):
        assert numbers(output) == pytest.approx(numbers(naive(model, request)), abs=1e-4)


@pytest.mark.parametrize("kind", sorted(set(CONFIGS) - set(PACKED)))
def test_unsupported_models_keep_their_attention(kind: str) -> None:
    model = make_model(kind)
    packed, reason = packed_forward(CausalLM(model), batch_tokens=64)
    assert packed is None
    assert reason
    request = requests_over((4, 5, 6), seed=2, count=1)[0]
    output = PaddedForward(CausalLM(model), batch_tokens=64).answer([request], 0, {})[0]
    assert numbers(output) == pytest.approx(numbers(naive(make_model(kind), request)), abs=1e-4)


def test_a_wrong_packed_forward_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(module: Any, query: Any, *rest: Any, **options: Any) -> Any:
        return attention.attend(module, 2 * query, *rest, **options)

    monkeypatch.setattr("promptkit.models.hf.verify.attend", wrong)
    packed, reason = packed_forward(CausalLM(make_model("llama")), batch_tokens=64)
    assert packed is None
    assert "differs" in reason


def test_answering_does_not_change_the_weights() -> None:
    model = make_model("gemma3")
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    packed, _ = packed_forward(CausalLM(model), batch_tokens=64)
    assert packed is not None
    packed.answer(requests_over((), seed=4), 0, {})
    assert all(torch.equal(before[name], parameter) for name, parameter in model.named_parameters())
