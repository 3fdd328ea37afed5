"""Chat replies: content in parts, failures, truncated prompts, and replies restricted to the labels."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from promptkit.core.errors import ServerError
from promptkit.core.inputs import TextInput
from promptkit.core.requests import Generate, Request
from promptkit.models.http.chat import CharacterTokenizer
from promptkit.models.http.replies import differing
from tests.support.errors import refused
from tests.support.servers import Answer, Body, Script, classify, load_http, noted, refusal, reply, right, serving, write


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


def test_the_choice_that_the_server_numbers_0_is_the_reply() -> None:
    choices = [{"index": number, "message": {"content": text}} for number, text in ((1, "Rome"), (0, "Paris"))]
    assert write(lambda body: (200, {"choices": choices}), Generate(max_tokens=5))[0].text == "Paris"


@pytest.mark.parametrize("usage", [None, "9", {"prompt_tokens": "many"}, {"prompt_tokens": None}])
def test_a_response_without_usable_numbers_of_tokens_is_read(usage: Any) -> None:
    response = {"choices": [{"message": {"content": "Paris"}}], "usage": usage}
    assert write(lambda body: (200, response), Generate(max_tokens=5))[0].text == "Paris"


def test_withheld_replies_are_noted() -> None:
    _, _, model = classify(lambda body: reply(None, refusal="I cannot answer that."))
    assert noted(model, "2 replies are refusals")
    _, _, model = write(lambda body: reply("", finish="content_filter"), Generate(max_tokens=5))
    assert noted(model, "1 replies are refusals")


def test_labels_are_not_read_from_the_reasoning_of_a_reply_without_content() -> None:
    _, _, model = classify(lambda body: reply(None, reasoning_content="positive"))
    assert noted(model, "2 replies named no label")


def test_a_reply_whose_reasoning_took_all_tokens_is_requested_with_more() -> None:
    def reasons(body: Body) -> Answer:
        if body["max_tokens"] < 1000:
            return reply("", finish="length", reasoning_content="Let me think")
        return reply(right(body))

    assert classify(reasons)[0] == ["positive", "negative"]


@pytest.mark.parametrize(
    "failed",
    [
        {"error": {"message": "upstream is down", "code": 502}},
        {"choices": [{"message": {"content": ""}, "finish_reason": "error"}]},
        {"choices": [{"message": {"content": "Pa"}, "finish_reason": "insufficient_system_resource"}]},
        {"choices": [{"message": {"content": ""}, "finish_reason": "stop", "native_finish_reason": "network_error"}]},
        {"choices": [{"message": {"content": ""}, "finish_reason": "stop", "error": {"message": "lost the provider"}}]},
    ],
)
def test_a_failed_generation_with_status_200_is_no_answer(failed: Any) -> None:
    failures = [0]

    def chat(body: Body) -> Answer:
        if failures[0]:
            failures[0] -= 1
            return 200, failed
        return reply("Paris")

    request = Request(input=TextInput(ids=CharacterTokenizer().encode("Where?").ids), verb=Generate(max_tokens=5))
    with serving(Script(chat)) as url:
        model = load_http(url)
        model.load()
        failures[0] = 2
        ((_, (output,)),) = model.answer([request])
        assert output.generations[0].text == "Paris"
        failures[0] = 3
        with refused(ServerError, "generation-failed", url=url):
            list(model.answer([request]))


def test_prompts_that_the_server_truncates_are_noted() -> None:
    def chat(body: Body) -> Answer:
        count = min(2050, sum(len(message["content"]) for message in body["messages"]) // 4)
        return 200, {"choices": [{"message": {"content": "Paris"}}], "usage": {"prompt_tokens": count, "completion_tokens": 1}}

    def notes(*lengths: int) -> list[str]:
        prompts = [TextInput(ids=CharacterTokenizer().encode("x" * length).ids) for length in lengths]
        with serving(Script(chat)) as url:
            model = load_http(url)
            list(model.answer([Request(input=prompt, verb=Generate(max_tokens=5)) for prompt in prompts]))
            return [note for note in model.notes() if "truncated" in note]

    assert notes(400, 8200, 8000) == []
    assert notes(2000, 2000, 2000, 2001) == []
    (note,) = notes(9000, 400, 12000)
    assert note.startswith("2 prompts")


@pytest.mark.parametrize(
    ("served", "expected"), [(["m"], 0), (["m-2026-08-06"], 0), (["other"], 1), (["m", "fallback"], 1), ([None], 0)]
)
def test_responses_of_another_model_are_noted(served: list[Any], expected: int) -> None:
    def chat(body: Body) -> Answer:
        status, response = reply("Paris")
        name = served["second" in body["messages"][-1]["content"] and len(served) - 1]
        return status, {**response, **({"model": name} if name else {})}

    prompts = [TextInput(ids=CharacterTokenizer().encode(text).ids) for text in ("first", "second")]
    with serving(Script(chat)) as url:
        model = load_http(url)
        list(model.answer([Request(input=prompt, verb=Generate(max_tokens=5)) for prompt in prompts]))
        notes = [note for note in model.notes() if "was requested" in note]
    assert len(notes) == expected
    assert all(str(served[-1]) in note for note in notes)


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


def test_a_reply_need_not_repeat_the_text_around_the_label() -> None:
    words = ("It was negative, overall.", "It was positive, overall.")
    assert classify(lambda body: reply(right(body)), *words)[0] == [words[1], words[0]]
    assert classify(lambda body: reply(f"It was {right(body)}, overall."), *words)[0] == [words[1], words[0]]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["It was good. Yes", "It was bad. Yes"], ["good", "bad"]),
        (["good", "not good"], ["good", "not good"]),
        (["class A", "class B"], ["class A", "class B"]),
        (["unhappy", "unlucky"], ["unhappy", "unlucky"]),
        (["good", "bad"], ["good", "bad"]),
    ],
)
def test_the_text_around_labels_is_removed(texts: list[str], expected: list[str]) -> None:
    assert differing(texts) == expected


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
