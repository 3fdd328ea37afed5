"""Reasoning models behind a server: stop strings before the answer, thoughts in replies, and the switch for thinking."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import promptkit as pk
from promptkit.core.inputs import TextInput
from promptkit.core.requests import Generate, Request
from promptkit.evaluation.evaluate import evaluate
from tests.models.http.test_engine import FakeServer, load, serving
from tests.support.hf_models import answer


class ChatServer(FakeServer):
    """A server that offers chat only and cuts its reply at the first stop string, wherever it is."""

    def chat(self, body: dict[str, Any]) -> tuple[int, Any]:
        places = [self.reply.find(stop) for stop in body.get("stop", ()) if stop in self.reply]
        reply = self.reply[: min(places, default=len(self.reply))]
        return 200, {"choices": [{"message": {"content": reply}, "finish_reason": "stop"}]}


@pytest.mark.parametrize(
    ("reply", "text", "requests"),
    [
        ("Paris\nRome", "Paris", 1),
        ("\n\nParis\nRome", "\n\nParis", 2),
        ("<think>\nRome?\n</think>\n\nParis\nRome", "<think>\nRome?\n</think>\n\nParis", 2),
        ("<think>\nRome?", "<think>\nRome?", 2),
        ("", "", 2),
    ],
)
def test_a_server_that_stops_before_the_answer_is_asked_again(folder: Path, reply: str, text: str, requests: int) -> None:
    script = ChatServer(folder, completions=False)
    script.reply = reply
    with serving(script) as url:
        model = load(url, None)
        prompt = TextInput(ids=model.card.tokenizer.encode("The capital?").ids)
        model.load()
        script.bodies.clear()
        output: Any = answer(model, [Request(input=prompt, verb=Generate(max_tokens=9, stop=("\n",)))])[0]
    assert output.generations[0].text == text
    assert ["stop" in body for body in script.bodies] == [True, False][:requests]


@pytest.mark.parametrize(
    ("reply", "label"),
    [
        ("<think>It is not Negative.</think>\n\nNegative", "negative"),
        ("<think>Perhaps Negative", None),
        ("It is not Positive but Negative.", "negative"),
        ("Positive or Negative", None),
    ],
)
def test_labels_are_read_after_thoughts_and_negations(folder: Path, tmp_path: Path, reply: str, label: str | None) -> None:
    script = FakeServer(folder, completions=False)
    script.reply = reply
    words = pk.Verbalizer({"positive": "Positive", "negative": "Negative"})
    with serving(script) as url:
        predictor = pk.Predictor(load(url, None), pk.Prompt("sentiment/review", chat=True), words)
        run = evaluate(predictor, pk.task("sentiment"), limit=3, out=tmp_path, cache=False)
    assert run.results[0].predictions == (label,) * 3
    assert any(note.startswith("3 replies named no label") for note in run.notes) == (label is None)


@pytest.mark.parametrize("thinking", [None, True, False])
def test_the_switch_for_thinking_is_sent_to_the_server(folder: Path, tmp_path: Path, thinking: bool | None) -> None:
    script = FakeServer(folder, completions=False)
    script.reply = "Positive"
    words = pk.Verbalizer({"negative": "Negative", "positive": "Positive"})
    with serving(script) as url:
        predictor = pk.Predictor(load(url, None), pk.Prompt("sentiment/review", chat=True, thinking=thinking), words)
        evaluate(predictor, pk.task("sentiment"), limit=2, out=tmp_path, cache=False)
    expected = None if thinking is None else {"enable_thinking": thinking, "thinking": thinking}
    bodies = [body for body in script.bodies if body["messages"][-1]["content"].startswith("Review")]
    assert bodies
    assert [body.get("chat_template_kwargs") for body in bodies] == [expected] * len(bodies)
    assert all(message["role"] in ("system", "user") for body in bodies for message in body["messages"])
