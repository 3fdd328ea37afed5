"""Tests that what all rows share is computed once, with the same result."""

from __future__ import annotations

import pytest

import promptkit as pk
from promptkit.core.examples import Example, LabeledExample
from promptkit.inputs.text.template import Template
from promptkit.manipulate import prompt as prompt_module
from promptkit.manipulate.prompting.rows import choose_shared, draw_excluding_self


def row(number: int) -> LabeledExample:
    return LabeledExample(id=str(number), inputs={"text": f"text {number % 5}"}, label="yes")


def test_shared_demonstrations_are_those_drawn_for_each_row() -> None:
    queues = [[row(n) for n in range(start, 12)] for start in (0, 0, 2, 11)]
    examples = [
        *map(row, range(12)),
        Example(id="other", inputs={"text": "other"}),
        Example(id="x", inputs={"title": "text 0"}),
    ]
    assert choose_shared(queues)(examples) == [draw_excluding_self(queues, example) for example in examples]


@pytest.mark.parametrize("chat", [False, True])
def test_demonstrations_are_rendered_once(chat: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    task = pk.task("sentiment")
    prompt = pk.Prompt(task.spec.template or "", demos=pk.demos.random(k=4), chat=chat)
    predictor = pk.Predictor(pk.load("fake"), prompt, pk.Verbalizer(dict(task.spec.labels or {}))).fit(task)
    rows = [predictor.read_rows([{"text": f"new {number}"}]) for number in range(3)]
    session = predictor.session()
    expected = [predictor.session().predict(each).probabilities.tolist() for each in rows]
    session.predict(rows[0])
    rendered: list[object] = []
    render = Template.render
    monkeypatch.setattr(Template, "render", lambda self, block, values: rendered.append(values) or render(self, block, values))
    assert [session.predict(each).probabilities.tolist() for each in rows] == expected
    shown = [values["text"] for values in rendered if isinstance(values, dict) and "text" in values]
    assert set(shown) <= {"new 0", "new 1", "new 2"}


def test_the_oldest_demonstrations_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompt_module, "KEPT_ROWS", 3)
    task = pk.task("sentiment")
    predictor = pk.Predictor(
        pk.load("fake"),
        pk.Prompt(task.spec.template or "", demos=pk.demos.bm25(k=2)),
        pk.Verbalizer(dict(task.spec.labels or {})),
    )
    encode = predictor.bind(task).encode
    rows = [each.unlabeled() for each in task.rows("test")[:6]]
    first = encode(rows[:2])
    assert encode(rows) == [*first, *encode(rows[2:])]
    assert encode(rows[:2]) == first
