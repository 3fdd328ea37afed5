"""A fixed manipulation that is defined in this file is used from the command line, YAML, Python and a study."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest
from typer.testing import CliRunner

import promptkit as pk
from promptkit.cli.main import app
from promptkit.core.capabilities import Feature
from promptkit.core.class_table import ClassTable
from promptkit.core.errors import InputError
from promptkit.core.manipulation import BindContext, Modifier, Transform
from promptkit.core.registry import settings_of
from promptkit.core.requests import Prepared
from promptkit.core.taxonomy import Kind
from promptkit.manipulate.modifiers import MODIFIERS
from tests.support.errors import refused


@dataclass(frozen=True, kw_only=True)
class Repeat:
    """Repeats the whole prompt."""

    times: int = 2
    """How often the prompt is read."""
    name: ClassVar[str] = "repeat"
    kind: ClassVar[Kind] = Kind(format="fixed", location="input", operator="concatenative")
    requires: ClassVar[frozenset[Feature]] = frozenset()
    slots: ClassVar[Mapping[str, int]] = {}
    context_tokens: ClassVar[int] = 0
    base: ClassVar[Mapping[str, str | int]] = {}

    def settings(self) -> Mapping[str, object]:
        return settings_of(self)

    def bind(self, bind_context: BindContext) -> Transform:
        def transform(prepared: Prepared) -> Prepared:
            return replace(prepared, input=replace(prepared.text, ids=prepared.text.ids * self.times, spans=()))

        return transform


@pytest.fixture
def repeat() -> Iterator[None]:
    pk.manipulations.register(Repeat)
    yield
    del MODIFIERS._entries["repeat"]


@pytest.mark.usefixtures("repeat")
def test_a_manipulation_in_one_file_is_used_from_everywhere(tmp_path: Path) -> None:
    config = pk.EvalConfig(task="sentiment", model="fake", shots=0, limit=5, manipulation=[Repeat(times=3)])
    run = config.run(out=tmp_path, cache=False)
    plain = pk.EvalConfig(task="sentiment", model="fake", shots=0, limit=5).run(out=tmp_path, cache=False)
    assert run.results[0].logprobs.tolist() != plain.results[0].logprobs.tolist()

    words = ["eval", "sentiment", "--model", "fake", "--shots", "0", "--limit", "5", "--manipulation", "repeat:times=3"]
    printed = CliRunner().invoke(app, [*words, "--out", str(tmp_path), "--json", "--no-cache"], catch_exceptions=False).stdout
    assert json.loads(printed)["run"] == str(run.path)
    file = tmp_path / "eval.yaml"
    file.write_text("{task: sentiment, model: fake, shots: 0, limit: 5, manipulation: {repeat: {times: 3}}}")
    assert pk.EvalConfig.from_yaml(file).run(out=tmp_path, cache=False).path == run.path
    predictor = pk.Predictor(
        pk.load("fake"), [pk.Prompt("sentiment/review"), Repeat(times=3)], pk.Verbalizer(dict(pk.task("sentiment").spec.labels))
    )
    again = pk.evaluate(predictor, pk.task("sentiment"), limit=5, out=tmp_path / "python", cache=False)
    assert again.results[0].logprobs.tolist() == run.results[0].logprobs.tolist()

    study = pk.StudyConfig(task="sentiment", model="fake", shots=0, limit=5, grid={"manipulation": [[], "repeat:times=3"]})
    assert {cell.run.path for cell in study.run(out=tmp_path, cache=False).cells} == {plain.path, run.path}


@pytest.mark.usefixtures("repeat")
def test_help_lists_a_registered_manipulation() -> None:
    shown = " ".join(CliRunner().invoke(app, ["eval", "--help"]).output.split())
    assert "invert or repeat; may be given several times" in shown


def test_classes_that_cannot_be_registered_are_refused() -> None:
    table: ClassTable[Modifier] = ClassTable("fixed manipulation", (Repeat,), group="promptkit.none")

    @dataclass
    class Other:
        name: ClassVar[str] = "repeat"

    class Plain:
        name = "plain"

    with refused(InputError, "name-taken", name="repeat"):
        table.register(Other)
    with refused(InputError, "incomplete-class", name="Plain"):
        table.register(Plain)
    assert table.register(Repeat) is Repeat
    assert dict(table) == {"repeat": Repeat}
