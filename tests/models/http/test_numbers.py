"""Log-probabilities of servers: not finite, missing, of another tokenizer, or mixed up in a batch."""

from __future__ import annotations

import threading
import time
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest

import promptkit as pk
from promptkit.core.errors import ModelError, ServerError
from promptkit.core.inputs import TextInput
from promptkit.core.requests import Read, Request, Score
from promptkit.evaluation.evaluate import evaluate
from tests.support.errors import refused
from tests.support.servers import Answer, Body, Script, load_http, refusal, serving
from tests.support.tiny import save


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("tiny"), "llama")


def completion(body: Body, logprob: Any, *, count: int | None = None) -> Answer:
    """A response of vLLM's server with one log-probability for every token."""
    prompt = body["prompt"]
    named = body.get("logprob_token_ids") or list(range(20, 20 + (body.get("logprobs") or 0)))
    logprobs = {"top_logprobs": [{f"token_id:{token}": logprob for token in named}]}
    tokens = count if count is not None and isinstance(prompt, str) else len(prompt)
    usage = {"prompt_tokens": tokens, "completion_tokens": 1}
    return 200, {"choices": [{"text": "a", "logprobs": logprobs, "finish_reason": "length"}], "usage": usage}


@pytest.mark.parametrize("value", [nan, inf, -inf, None, "NaN"])
@pytest.mark.parametrize("named", [True, False])
def test_a_number_that_is_not_finite_stops_the_run_and_names_the_row(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: Any, named: bool
) -> None:
    monkeypatch.setenv("PROMPTKIT_SCORES", str(tmp_path / "scores.sqlite"))
    broken = [True]

    def completions(body: Body) -> Answer:
        if "logprob_token_ids" in body and not named:
            return refusal("unknown field")
        if isinstance(body["prompt"], str):
            return refusal("prompt must be token ids")
        return completion(body, value if broken[0] and len(body["prompt"]) > 60 else -5.0)

    script = Script(completions=completions)
    with serving(script) as url:

        def run() -> Any:
            model = load_http(url, tokenizer=str(folder))
            words = {"negative": "bad", "positive": "good"}
            predictor = pk.Predictor(model, pk.Prompt("sentiment/review"), words)
            return evaluate(predictor, pk.task("sentiment"), limit=2, out=tmp_path)

        with refused(ModelError, "not-finite") as error:
            run()
        broken[0] = False
        run_after = run()  # nothing that is not finite was kept
    assert error.value.fields["row"] in run_after.ids
    assert run_after.results[0].predictions


@pytest.mark.parametrize("value", [0.4, "half", [-1.0]])
def test_a_number_that_is_not_a_log_probability_is_an_error(folder: Path, value: Any) -> None:
    script = Script(completions=lambda body: completion(body, value))
    with serving(script) as url, refused(ServerError, "unexpected-response", url=url):
        load_http(url, tokenizer=str(folder)).load()


def test_tokens_of_probability_zero_do_not_affect_the_others(folder: Path) -> None:
    def completions(body: Body) -> Answer:
        if "logprob_token_ids" in body:
            return refusal("unknown field")
        status, response = completion(body, -inf)
        response["choices"][0]["logprobs"]["top_logprobs"][0]["token_id:20"] = -1.0
        return status, response

    request = Request(input=TextInput(ids=(0, 30, 31)), verb=Score(continuations=((20,), (300,))))
    with serving(Script(completions=completions)) as url:
        ((_, (output,)),) = load_http(url, tokenizer=str(folder)).answer([request])
    assert output.logprobs[0] == (-1.0,)
    assert output.logprobs[1] == (-1.0,)  # an upper bound: the lowest of the returned ones


def test_a_response_without_the_requested_numbers_is_an_error(folder: Path) -> None:
    def completions(body: Body) -> Answer:
        if "logprob_token_ids" in body:
            return refusal("unknown field")
        status, response = completion(body, -1.0)
        if len(body["prompt"]) == 3:
            response["choices"][0]["logprobs"] = None
        return status, response

    request = Request(input=TextInput(ids=(0, 30, 31)), verb=Score(continuations=((20,), (300,))))
    with serving(Script(completions=completions)) as url, refused(ServerError, "unexpected-response", url=url):
        list(load_http(url, tokenizer=str(folder)).answer([request]))


def test_requests_for_named_and_for_the_most_likely_tokens_are_never_in_one_batch(folder: Path) -> None:
    """vLLM answers a batch of both as if all requests named tokens, which loses the most likely ones."""
    lock, running = threading.Lock(), {"named": 0, "top": 0}

    def completions(body: Body) -> Answer:
        if not body.get("logprobs"):
            return completion(body, -1.0)
        kind = "named" if "logprob_token_ids" in body else "top"
        with lock:
            running[kind] += 1
        time.sleep(0.02)
        with lock:
            mixed = min(running.values()) > 0
            running[kind] -= 1
        return completion({**body, "logprobs": 2} if mixed and kind == "top" else body, -1.0)

    prompts = [TextInput(ids=(0, 30, number)) for number in range(40, 52)]
    requests = [Request(input=prompt, verb=Read(token_ids=(20, 300), top_m=7)) for prompt in prompts]
    script = Script(completions=completions)
    with serving(script) as url:
        model = load_http(url, tokenizer=str(folder))
        outputs = [output for _, (output,) in model.answer(requests)]
        sent = len(script.bodies)
        broken = [3]

        def other_client(body: Body) -> Answer:  # its requests name tokens
            if body.get("logprobs") == 20 and broken[0]:
                broken[0] -= 1
                return completion({**body, "logprobs": 2}, -1.0)
            return completion(body, -1.0)

        script.completions = other_client
        with refused(ServerError, "unexpected-response"):
            list(model.answer(requests[:1]))
        assert len(list(model.answer(requests[:1]))) == 1
    assert [len(output.top) for output in outputs] == [7] * len(prompts)
    assert sent < 2 * len(prompts) + 8  # none was sent twice


def test_another_tokenizer_than_the_servers_is_refused(folder: Path) -> None:
    script = Script(completions=lambda body: completion(body, -1.0, count=11))
    with serving(script) as url, refused(ServerError, "tokenizer-mismatch", tokens=11):
        load_http(url, tokenizer=str(folder)).load()
