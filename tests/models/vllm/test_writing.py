"""Generation with vLLM, whose answers are scripted: vLLM need not be installed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from promptkit.core.inputs import TextInput
from promptkit.core.requests import Generate, Prepared, Request
from promptkit.models.files.tokenizer import TransformersTokenizer
from promptkit.models.vllm.engine import VllmModel
from tests.support.tiny import make_tokenizer


def test_a_text_that_vllm_stops_before_its_answer_is_written_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """vLLM stops at a newline wherever it is; promptkit ends a text at one only after text."""
    tokenizer = TransformersTokenizer(make_tokenizer())
    replies = {"one": "good\nbad", "two": "\n\ngood\nbad", "three": "<think>a\nb</think>good\nbad"}
    calls: list[list[bool]] = []

    def generate(_: object, prompts: list[Prepared], stops: list[bool]) -> list[Any]:
        calls.append(stops)
        texts = [replies[tokenizer.decode(prompt.text.ids)] for prompt in prompts]
        cut = [text[: text.index("\n") + 1] if stop else text for text, stop in zip(texts, stops, strict=True)]
        ids = [tokenizer.encode(text).ids for text in cut]
        return [SimpleNamespace(outputs=[SimpleNamespace(token_ids=text, finish_reason="stop")]) for text in ids]

    model = object.__new__(VllmModel)
    model._tokenizer = tokenizer
    monkeypatch.setattr(VllmModel, "_ends", frozenset())
    monkeypatch.setattr(VllmModel, "_generate", generate)
    monkeypatch.setattr(VllmModel, "_sampling_parameters", lambda _, text, stop: stop)
    verb = Generate(max_tokens=99, stop=("\n",))
    requests = [Request(input=TextInput(ids=tokenizer.encode(name).ids), verb=verb) for name in replies]
    texts = [output.generations[0].text for output in model._write(requests)]
    assert texts == ["good", "\n\ngood", "<think>a\nb</think>good"]
    assert calls == [[True] * 3, [False] * 2]
