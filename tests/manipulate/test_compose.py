"""Tests that queries during the construction of a prompt have the modifiers of the prompt."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import promptkit as pk
from promptkit.core.errors import Unsupported
from promptkit.core.fingerprints import Fingerprint
from promptkit.core.inputs import Span, TextInput
from promptkit.core.requests import Generate, Prepared, Read
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
    *({"order": ORDERS[name](), "demos": pk.demos.Balanced(k=4)} for name in ("globale", "locale", "least-entropy")),
    *({"demos": SELECTORS[name](k=2)} for name in ("mdl", "influence", "rerank")),
    {"demos": SELECTORS["auto-cot"](k=2), "cot": COT["zero-shot"](max_tokens=4)},
]
every = pytest.mark.parametrize(
    "parts", PARTS, ids=lambda parts: " ".join(getattr(item, "name", "") for item in parts.values())
)


@pytest.fixture
def task(tmp_path: Path) -> pk.Task:
    rows = [{"text": f"film {i}?", "label": ("yes", "no")[i % 2], "why": "so"} for i in range(40)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "task.yaml").write_text(TASK)
    return pk.task(tmp_path / "task.yaml")


def recording_model(scripted: Any) -> Any:
    """Returns a model that records every input except texts that are embedded for similarity."""

    class Recording(scripted):
        def answer(self, requests: Any, done: Any = frozenset()) -> Any:
            self.recorded += [request.text for request in requests if not isinstance(request.verb, Read)]
            yield from super().answer(requests, done)

    def writes(prompt: str, verb: Generate) -> list[str]:
        return [f" film {len(prompt)}? -> good because 1. it is.\n2. Is it?" for _ in range(verb.n)]

    model = Recording(lambda prompt, word: float(len(prompt) % 7 - len(word)), writes)
    model.recorded = []
    return model


class AddsSpan:
    """A modifier that adds a span and reserves no context."""

    name, context_tokens = "marks", 0
    kind, requires = pk.SoftPrompt.kind, frozenset({"text"})

    def __init__(self, slots: dict[str, int]) -> None:
        self.slots = slots
        self.base: dict[str, str | int] = {}
        self.fitted_on: frozenset[Fingerprint] = frozenset()

    def settings(self) -> dict[str, object]:
        return {"name": self.name}

    def bind(self, bind_context: Any) -> Any:
        return self._put

    def _put(self, prepared: Prepared) -> Prepared:
        ids = tuple(7 if token < 0 else token for token in prepared.text.ids)
        spans = (*prepared.text.spans, Span(part="mark", start=len(ids), stop=len(ids)))
        return replace(prepared, input=TextInput(ids=ids, spans=spans))


@every
@pytest.mark.parametrize("slot", TEMPLATES)
def test_every_request_during_prompt_construction_has_the_modifiers(
    scripted: Any, task: pk.Task, tmp_path: Path, parts: dict[str, Any], slot: str
) -> None:
    model = recording_model(scripted)
    (tmp_path / "t.j2").write_text(TEMPLATES[slot])
    prompt = pk.Prompt(tmp_path / "t.j2", **parts)
    predictor = pk.Predictor(model, [prompt, AddsSpan({} if slot == "none" else {"task": 2})], pk.Verbalizer(task.spec.labels))
    predictor.bind(task).requests(task.rows("test")[:3])
    assert model.recorded
    assert all(prompt.spans[-1].part == "mark" and min(prompt.ids) >= 0 for prompt in model.recorded)


@every
def test_training_refuses_prompts_that_depend_on_the_model(
    scripted: Any, task: pk.Task, tmp_path: Path, parts: dict[str, Any]
) -> None:
    (tmp_path / "t.j2").write_text(TEXT)
    prompt = pk.Prompt(tmp_path / "t.j2", **parts)
    model = recording_model(scripted)
    predictor = pk.Predictor(model, [prompt, pk.SoftPrompt(2, init="random")], pk.Verbalizer(task.spec.labels))
    with refused(Unsupported, "prompt-depends-on-model"):
        pk.train(predictor, task, optimizer="spsa", steps=1, dev=4, batch_size=2, cache=False, out=tmp_path / "runs")
    assert not model.recorded
    if not isinstance(parts.get("demos"), pk.demos.AutoCot):  # which embeds rows before it queries the model
        assert not (tmp_path / "runs").exists()
