"""Servers that refuse fields or roles are queried in the form that they accept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import promptkit as pk
from promptkit.core.requests import Generate
from promptkit.evaluation.evaluate import evaluate
from promptkit.models.http.chat import CharacterTokenizer
from promptkit.models.http.client import Refused
from promptkit.models.http.forms import NEUTRAL, OPTIONAL, fit_form
from tests.support.servers import Answer, Body, Script, classify, load_http, noted, refusal, reply, right, serving, write


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
                load_http(url), pk.Prompt("sentiment/review", chat=True), {"negative": "negative", "positive": "positive"}
            )
            return evaluate(predictor, pk.task("sentiment"), limit=3, out=tmp_path, cache=False)

        first = run()
        second = run()
    assert first.results[0].predictions == ("positive",) * 3
    assert second.resumed == 3
    assert second.path == first.path
    assert any("temperature" in note for note in first.notes)


def test_of_two_fields_that_exclude_each_other_the_temperature_is_kept() -> None:
    def one_of_them(body: Body) -> Answer:
        both = "temperature" in body and "top_p" in body
        return refusal("`temperature` and `top_p` cannot both be specified. Use only one.") if both else reply(right(body))

    labels, script, _ = classify(one_of_them)
    assert labels == ["positive", "negative"]
    assert script.bodies[-1]["temperature"] == 0
    assert "top_p" not in script.bodies[-1]


class StrictServer:
    """A server that refuses some fields, and says which, or only the first of them, or none."""

    url = "http://server.invalid/v1"

    def __init__(self, refused_fields: set[str], names: str) -> None:
        self.refused_fields, self.names = refused_fields, names
        self.requests = 0

    def post(self, path: str, body: Body) -> Body:
        self.requests += 1
        found = sorted(self.refused_fields & {*body, *(["system"] if body["messages"][0]["role"] == "system" else [])})
        if not found:
            return {}
        shown = {"all": ", ".join(found), "first": found[0], "none": f"{self.requests} problems"}[self.names]
        raise Refused(f"The server refused a request: {shown}", code="request-refused", status=400)


@settings(deadline=None)
@given(st.sets(st.sampled_from([*OPTIONAL, "max_tokens", "system"])), st.sampled_from(["all", "first", "none"]))
def test_any_combination_of_refused_fields_is_found(refused_fields: set[str], names: str) -> None:
    server: Any = StrictServer(refused_fields, names)
    messages = [{"role": "user", "content": "Hello"}]
    body = {"model": "m", "messages": messages, "max_tokens": 5, "temperature": 0, **NEUTRAL, "seed": 1, "stop": ["x"]}
    form, _ = fit_form(server, "/chat/completions", body)
    body["messages"] = [{"role": "system", "content": "Be brief."}, *messages]
    form, _ = fit_form(server, "/chat/completions", body, form)
    assert set(form.omitted) >= refused_fields - {"max_tokens", "system"}
    assert form.folds_system or "system" not in refused_fields
    assert form.length == "max_completion_tokens" or "max_tokens" not in refused_fields
    if names != "none":  # nothing else is left out
        assert set(form.omitted) == refused_fields - {"max_tokens", "system"}
        assert server.requests <= 2 * len(refused_fields) + 4
