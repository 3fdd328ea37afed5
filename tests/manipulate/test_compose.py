"""What a model is asked while a prompt is made it reads as it reads the prompt: with what was learned."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import promptkit as pk
from promptkit.core.errors import Unsupported
from promptkit.core.inputs import Span, TextInput
from promptkit.core.requests import Generate, Read
from promptkit.manipulate.cot import COT
from promptkit.manipulate.demos import SELECTORS
from promptkit.manipulate.order.fixed import ORDERS
from tests.support.errors import refused

TASK = """
description: made up
template: t.j2
labels: {"no": bad, "yes": good}
sources: [{files: {test: rows.jsonl}, inputs: {text: text}, label: label, rationale: {reasoning: why}, hold_out: 0.8}]
"""
TEXT = "{% block input %}{{ text }} ->{% endblock %}{% block target %} {{ label }}{% endblock %}"
SLOT = "{{ soft('task', 2) }}"
TEMPLATES = {
    "none": TEXT,
    "in the instruction": "{% block instruction %}" + SLOT + "{% endblock %}" + TEXT,
    "before the input": TEXT.replace("{{ text }}", SLOT + " Film: {{ text }}"),
    "behind the input": TEXT.replace("{{ text }}", "{{ text }}" + SLOT),
}
PARTS: list[dict[str, Any]] = [
    *({"cot": COT[name](max_tokens=4)} for name in COT),
    *({"order": ORDERS[name](), "demos": pk.demos.balanced(k=4)} for name in ("globale", "locale", "least-entropy")),
    *({"demos": SELECTORS[name](k=2)} for name in ("mdl", "influence", "rerank")),
    {"demos": SELECTORS["auto-cot"](k=2), "cot": COT["zero-shot"](max_tokens=4)},
]
every = pytest.mark.parametrize(
    "parts", PARTS, ids=lambda parts: " ".join(getattr(each, "name", "") for each in parts.values())
)


@pytest.fixture
def task(tmp_path: Path) -> pk.Task:
    rows = [{"text": f"film {i}?", "label": ("yes", "no")[i % 2], "why": "so"} for i in range(40)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "task.yaml").write_text(TASK)
    return pk.task(tmp_path / "task.yaml")


def listens(scripted: Any) -> Any:
    """A model that keeps every input that it reads but those that are read as texts of their own, for likeness."""

    class Listens(scripted):
        def answer(self, requests: Any, done: Any = frozenset()) -> Any:
            self.heard += [request.input for request in requests if not isinstance(request.verb, Read)]
            yield from super().answer(requests, done)

    def writes(prompt: str, verb: Generate) -> list[str]:
        return [f" film {len(prompt)}? -> good because 1. it is.\n2. Is it?" for _ in range(verb.n)]

    model = Listens(lambda prompt, word: float(len(prompt) % 7 - len(word)), writes)
    model.heard = []
    return model


class Marks:
    """A change that leaves its mark, and takes no room."""

    name, context_tokens = "marks", 0
    kind = pk.SoftPrompt.kind

    def __init__(self, slots: dict[str, int]) -> None:
        self.slots = slots
        self.base: dict[str, str | int] = {}

    def settings(self) -> dict[str, object]:
        return {"name": self.name}

    def bind(self, bind_context: Any) -> Any:
        return self._put

    def _put(self, prompt: TextInput) -> TextInput:
        ids = tuple(7 if token < 0 else token for token in prompt.ids)
        return replace(prompt, ids=ids, spans=(*prompt.spans, Span(part="mark", start=len(ids), stop=len(ids))))


@every
@pytest.mark.parametrize("slot", TEMPLATES)
def test_each_request_behind_the_prompt_has_the_changes_of_it(
    scripted: Any, task: pk.Task, tmp_path: Path, parts: dict[str, Any], slot: str
) -> None:
    model = listens(scripted)
    (tmp_path / "t.j2").write_text(TEMPLATES[slot])
    prompt = pk.Prompt(tmp_path / "t.j2", **parts)
    predictor = pk.Predictor(model, [prompt, Marks({} if slot == "none" else {"task": 2})], pk.Verbalizer(task.spec.labels))
    predictor.bind(task).requests(task.rows("test")[:3])
    assert model.heard
    assert all(prompt.spans[-1].part == "mark" and min(prompt.ids) >= 0 for prompt in model.heard)


@every
def test_no_training_takes_a_prompt_that_asks_the_model(
    scripted: Any, task: pk.Task, tmp_path: Path, parts: dict[str, Any]
) -> None:
    (tmp_path / "t.j2").write_text(TEXT)
    prompt = pk.Prompt(tmp_path / "t.j2", **parts)
    model = listens(scripted)
    predictor = pk.Predictor(model, [prompt, pk.SoftPrompt(2, init="random")], pk.Verbalizer(task.spec.labels))
    with refused(Unsupported, "prompt-depends-on-model"):
        pk.train(predictor, task, optimizer="spsa", steps=1, dev=4, batch_size=2, cache=False, out=tmp_path / "runs")
    assert not model.heard
    if not isinstance(parts.get("demos"), pk.demos.auto_cot):  # whose likeness is asked for first
        assert not (tmp_path / "runs").exists()
