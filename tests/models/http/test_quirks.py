"""Servers that refuse fields, roles or constraints, answer in parts, or return numbers that are not finite."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest

import promptkit as pk
from promptkit.core.errors import InputError, ModelError, ServerError
from promptkit.core.inputs import TextInput
from promptkit.core.requests import Generate, Read, Request, Score
from promptkit.evaluation.evaluate import evaluate
from promptkit.models.http.chat import CharacterTokenizer
from promptkit.models.http.forms import NEUTRAL
from tests.support.errors import refused
from tests.support.servers import Script, refusal, reply, serving
from tests.support.tiny import save

Body = dict[str, Any]
Answer = tuple[int, Any]


def load(url: str, **settings: Any) -> Any:
    return pk.load("http:m", base_url=url, **{"timeout": 5, "max_retries": 0, **settings})


def classify(chat: Callable[[Body], Answer], *words: str, settings: Any = None) -> tuple[list[str], Script, Any]:
    """Labels of two prompts, "fine" and "dull", with the server's script and the model."""
    words = words or ("negative", "positive")
    tokenizer, script = CharacterTokenizer(), Script(chat)
    verb = Score(continuations=tuple(tokenizer.encode(word).ids for word in words))
    requests = [Request(input=TextInput(ids=tokenizer.encode(text).ids), verb=verb) for text in ("fine", "dull")]
    with serving(script) as url:
        model = load(url, **(settings or {}))
        outputs = {index: output for (index,), (output,) in model.answer(requests)}
        model.notes()
    rows = [outputs[index].logprobs for index in (0, 1)]
    return [words[max(range(len(words)), key=lambda place: sum(row[place]))] for row in rows], script, model


def write(chat: Callable[[Body], Answer], verb: Generate, ids: tuple[int, ...] | None = None) -> tuple[Any, Script, Any]:
    script = Script(chat)
    ids = ids or CharacterTokenizer().encode("Where?").ids
    with serving(script) as url:
        model = load(url)
        ((_, (output,)),) = model.answer([Request(input=TextInput(ids=ids), verb=verb)])
        model.notes()
    return output.generations[0], script, model


def right(body: Body) -> str:
    return "positive" if "fine" in body["messages"][-1]["content"] else "negative"


def noted(model: Any, word: str) -> bool:
    return any(word in note for note in model.notes())


# ---- refused fields ----


def test_neutral_sampling_settings_are_sent_with_every_reply() -> None:
    _, script, model = classify(lambda body: reply(right(body)))
    assert NEUTRAL.items() <= script.bodies[-1].items()
    assert script.bodies[-1]["temperature"] == 0
    assert not noted(model, "refused")
    _, script, _ = write(lambda body: reply("Paris"), Generate(max_tokens=5, temperature=0.5))
    assert NEUTRAL.items() <= script.bodies[-1].items()
    assert script.bodies[-1]["temperature"] == 0.5


@pytest.mark.parametrize("status", [400, 422])
def test_max_completion_tokens_is_sent_where_max_tokens_is_refused(status: int) -> None:
    def reasoning_model(body: Body) -> Answer:
        if "max_tokens" in body:
            return refusal("'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.", status)
        if body.get("temperature", 1) != 1:
            return refusal("'temperature' does not support 0 with this model. Only the default (1) value is supported.")
        if "top_p" in body or "stop" in body:
            return refusal(f"Unsupported parameter: '{'stop' if 'stop' in body else 'top_p'}' is not supported.")
        unknown = [name for name in ("top_k", "min_p", "repetition_penalty", "repeat_penalty") if name in body]
        return refusal(f"Unrecognized request arguments supplied: {', '.join(unknown)}") if unknown else reply(right(body))

    labels, script, model = classify(reasoning_model)
    assert labels == ["positive", "negative"]
    assert set(script.bodies[-1]) == {"model", "messages", "max_completion_tokens", "frequency_penalty", "presence_penalty"}
    assert noted(model, "max_completion_tokens")
    assert noted(model, "temperature")


def test_fields_are_found_without_a_helpful_message() -> None:
    def strict(body: Body) -> Answer:
        allowed = {"model", "messages", "max_completion_tokens", "stop", "seed"}
        return reply(right(body)) if set(body) <= allowed else refusal("Bad request")

    labels, _, model = classify(strict)
    assert labels == ["positive", "negative"]
    assert noted(model, "temperature")


def test_a_temperature_of_zero_is_replaced_where_only_positive_ones_are_accepted() -> None:
    def positive_only(body: Body) -> Answer:
        return reply(right(body)) if body["temperature"] > 0 else refusal("`temperature` must be strictly positive")

    labels, script, model = classify(positive_only)
    assert labels == ["positive", "negative"]
    assert script.bodies[-1]["temperature"] == 0.01
    assert noted(model, "0.01")


def test_stop_strings_that_the_server_refuses_or_ignores_end_the_text() -> None:
    verb = Generate(max_tokens=9, stop=("\n", "e", ".", ";", "r"))

    def refuses(body: Body) -> Answer:
        return refusal("stop is not supported") if "stop" in body else reply("Paris\nor so")

    for chat in (refuses, lambda body: reply("Paris\nor so")):
        text, script, _ = write(chat, verb)
        assert (text.text, text.ended) == ("Pa", "stop")
    assert script.bodies[-1]["stop"] == ["\n", "e", ".", ";"]  # OpenAI's protocol allows four


def test_a_refused_system_message_is_sent_with_the_first_user_message() -> None:
    def no_system(body: Body) -> Answer:
        roles = [message["role"] for message in body["messages"]]
        return refusal("System role not supported") if "system" in roles else reply("Paris")

    control = CharacterTokenizer.control
    ids: list[int] = []
    for role, content in (("system", "Name it."), ("user", "Capital of France?")):
        ids += [control[f"<turn:{role}>"], *map(ord, content), control["<turn:end>"]]
    text, script, model = write(no_system, Generate(max_tokens=5), (*ids, control["<turn:assistant>"]))
    assert text.text == "Paris"
    assert script.bodies[-1]["messages"] == [{"role": "user", "content": "Name it.\n\nCapital of France?"}]
    assert noted(model, "system")


def test_a_run_with_an_adapted_form_is_finished_and_read_again(tmp_path: Path) -> None:
    def no_temperature(body: Body) -> Answer:
        return refusal("temperature is not supported") if "temperature" in body else reply("positive")

    script = Script(no_temperature)
    with serving(script) as url:

        def run() -> Any:
            predictor = pk.Predictor(
                load(url), pk.Prompt("sentiment/review", chat=True), {"negative": "negative", "positive": "positive"}
            )
            return evaluate(predictor, pk.task("sentiment"), limit=3, out=tmp_path, cache=False)

        first = run()
        second = run()
    assert first.results[0].predictions == ("positive",) * 3
    assert second.resumed == 3
    assert second.path == first.path
    assert any("temperature" in note for note in first.notes)


# ---- replies ----


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([{"type": "text", "text": "Pa"}, {"type": "text", "text": "ris"}], "Paris"),
        ([{"type": "thinking", "thinking": [{"type": "text", "text": "Rome?"}]}, {"type": "text", "text": "Paris"}], "Paris"),
        ([{"type": "output_text", "text": "Paris"}], "Paris"),
        (["Paris"], "Paris"),
        ([], ""),
        (None, ""),
    ],
)
def test_content_in_parts_is_read(content: Any, text: str) -> None:
    assert write(lambda body: reply(content), Generate(max_tokens=5))[0].text == text


@pytest.mark.parametrize("content", [7, {"text": "Paris"}, [{"type": "image"}], [{"type": "text", "text": 3}]])
def test_content_of_an_unknown_form_is_an_error(content: Any) -> None:
    with refused(ServerError, "unexpected-response"):
        write(lambda body: reply(content), Generate(max_tokens=5))


def test_withheld_replies_are_noted() -> None:
    _, _, model = classify(lambda body: reply(None, refusal="I cannot answer that."))
    assert noted(model, "2 replies are refusals")
    _, _, model = write(lambda body: reply("", finish="content_filter"), Generate(max_tokens=5))
    assert noted(model, "1 replies are refusals")


def test_a_reply_whose_reasoning_took_all_tokens_is_requested_with_more() -> None:
    def reasons(body: Body) -> Answer:
        if body["max_tokens"] < 1000:
            return reply("", finish="length", reasoning_content="Let me think")
        return reply(right(body))

    assert classify(reasons)[0] == ["positive", "negative"]


# ---- constraints ----

LONG = tuple(f"{'a very long label ' * 12}{number}" for number in (1, 2))


def constrained_by(kind: str) -> Callable[[Body], Answer]:
    """A server that enforces one constraint and ignores others; without any, it replies with an unrelated sentence."""

    def chat(body: Body) -> Answer:
        dull = "dull" in body["messages"][-1]["content"]
        if kind == "structured_outputs" and kind in body:
            words = body[kind]["choice"]
        elif kind == "guided_choice" and kind in body:
            words = body[kind]
        elif kind == "grammar" and kind in body:
            words = json.loads(f"[{body[kind].removeprefix('root ::= ').replace(' | ', ', ')}]")
        elif kind == "response_format" and kind in body:
            words = body[kind]["json_schema"]["schema"]["properties"]["answer"]["enum"]
            words = [json.dumps({"answer": word}) for word in words]
        else:
            words = ["That is hard to say."]
        text = words[0] if dull else words[-1]
        cut = text[: body["max_tokens"]]
        return reply(cut, finish="length" if cut != text else "stop")

    return chat


@pytest.mark.parametrize("kind", ["structured_outputs", "guided_choice", "response_format", "grammar"])
@pytest.mark.parametrize("words", [("negative", "positive"), ('say "no"', "sì"), LONG])
def test_replies_are_restricted_to_the_labels(kind: str, words: tuple[str, ...]) -> None:
    labels, _, model = classify(constrained_by(kind), *words)
    assert labels == [words[1], words[0]]
    assert noted(model, kind)


def test_without_a_constraint_replies_are_read_as_they_are() -> None:
    labels, _, model = classify(lambda body: reply(right(body)))
    assert labels == ["positive", "negative"]
    assert not noted(model, "restricted to the labels")


def test_labels_that_the_server_cannot_enforce_are_read_from_free_replies() -> None:
    def few_words(body: Body) -> Answer:
        if "structured_outputs" not in body:
            return reply(right(body))
        words = body["structured_outputs"]["choice"]
        return reply(words[0]) if max(map(len, words)) < 5 else refusal("the choices are too long")

    labels, _, model = classify(few_words)
    assert labels == ["positive", "negative"]
    assert noted(model, "2 replies could not be restricted")


# ---- tokenizers and numbers ----


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
            model = load(url, tokenizer=str(folder))
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
        load(url, tokenizer=str(folder)).load()


def test_tokens_of_probability_zero_do_not_affect_the_others(folder: Path) -> None:
    def completions(body: Body) -> Answer:
        if "logprob_token_ids" in body:
            return refusal("unknown field")
        status, response = completion(body, -inf)
        response["choices"][0]["logprobs"]["top_logprobs"][0]["token_id:20"] = -1.0
        return status, response

    request = Request(input=TextInput(ids=(0, 30, 31)), verb=Score(continuations=((20,), (300,))))
    with serving(Script(completions=completions)) as url:
        ((_, (output,)),) = load(url, tokenizer=str(folder)).answer([request])
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
        list(load(url, tokenizer=str(folder)).answer([request]))


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
        model = load(url, tokenizer=str(folder))
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
        load(url, tokenizer=str(folder)).load()


# ---- proxies ----


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_connection_error_names_the_proxy_without_its_password(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "http://user:secret@127.0.0.1:9")
    fields = {"url": "http://server.invalid/v1", "proxy": "http://127.0.0.1:9", "variable": variable}
    with refused(ServerError, "server-unreachable", **fields) as error:
        load("http://server.invalid/v1").load()
    assert "http://127.0.0.1:9" in str(error.value)
    assert "secret" not in f"{error.value} {error.value.fields}"


def test_a_failure_of_a_proxy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script(lambda body: (502, {"error": {"message": "Bad Gateway"}}))
    with serving(script) as url:
        monkeypatch.setenv("HTTP_PROXY", url.removesuffix("/v1"))
        with refused(ServerError, "server-failure", status=502, variable="HTTP_PROXY"):
            load("http://server.invalid/v1").load()


def test_a_bypassed_proxy_is_not_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with refused(ServerError, "server-unreachable", proxy=None):
        load("http://127.0.0.1:9/v1").load()


def test_an_address_is_needed() -> None:
    with refused(InputError, "missing-base-url"):
        pk.load("http:m")
