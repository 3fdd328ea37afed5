"""A selector and an order that are defined in this file are used from the command line, YAML and Python."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
from typer.testing import CliRunner

import promptkit as pk
from promptkit.analysis.realign import align
from promptkit.cli.main import app
from promptkit.core.examples import Example
from promptkit.manipulate.demos import SELECTORS, Selector
from promptkit.manipulate.order.fixed import ORDERS
from promptkit.manipulate.order.order import Order
from promptkit.manipulate.prompting.context import SelectionContext
from promptkit.manipulate.prompting.rows import Arrange, Choose, Demonstrations


@dataclass(frozen=True)
class Longest(Selector):
    """Shows the k longest rows of the pool."""

    k: int = 2
    name: ClassVar[str] = "longest"

    def bind(self, context: SelectionContext) -> Choose:
        rows = sorted(context.pool, key=lambda row: (-len(str(row.inputs)), row.id))
        return lambda examples: [tuple(row for row in rows if row.id != example.id)[: self.k] for example in examples]


@dataclass(frozen=True)
class Backwards(Order):
    """Reverses the order of the selector."""

    name: ClassVar[str] = "backwards"

    def bind(self, context: SelectionContext) -> Arrange:
        def arrange(examples: Sequence[Example], chosen: Sequence[Demonstrations]) -> list[Demonstrations]:
            return [rows[::-1] for rows in chosen]

        return arrange


@pytest.fixture
def _registered() -> Iterator[None]:
    SELECTORS.register(Longest)
    ORDERS.register(Backwards)
    yield
    del SELECTORS._entries["longest"], ORDERS._entries["backwards"]


def demonstrations(run: Path) -> list[list[str]]:
    return [json.loads(line)["demos"] for line in (run / "samples.jsonl").read_text().splitlines()]


@pytest.mark.usefixtures("_registered")
def test_a_selector_and_an_order_in_one_file_are_used_from_everywhere(tmp_path: Path) -> None:
    options: dict[str, Any] = {"task": "sentiment", "model": "fake", "limit": 5}
    run = pk.EvalConfig(**options, demos=Longest(k=3), order=Backwards()).run(out=tmp_path, cache=False)
    kept = pk.EvalConfig(**options, demos="longest:k=3").run(out=tmp_path, cache=False)
    assert [rows[::-1] for rows in demonstrations(kept.path)] == demonstrations(run.path)
    assert {len(rows) for rows in demonstrations(run.path)} == {3}

    words = ["eval", "sentiment", "--model", "fake", "--limit", "5", "--demos", "longest:k=3", "--order", "backwards"]
    printed = CliRunner().invoke(app, [*words, "--out", str(tmp_path), "--json", "--no-cache"], catch_exceptions=False).stdout
    assert json.loads(printed)["run"] == str(run.path)
    file = tmp_path / "eval.yaml"
    file.write_text("{task: sentiment, model: fake, limit: 5, demos: {longest: {k: 3}}, order: backwards}")
    assert pk.EvalConfig.from_yaml(file).run(out=tmp_path, cache=False).path == run.path

    prompt = pk.Prompt("sentiment/review", demos=Longest(k=3), order=Backwards())
    task = pk.task("sentiment")
    predictor = pk.Predictor(pk.load("fake"), prompt, pk.Verbalizer(dict(task.spec.labels or {})))
    again = pk.evaluate(predictor, task, limit=5, out=tmp_path / "python", cache=False)
    assert demonstrations(again.path) == demonstrations(run.path)
    command = align(again.path).command  # inferred from the settings, because the run was made from objects
    assert command is not None
    assert "--demos longest:k=3 --order backwards" in command
