"""Invalid values from users: each raises an error that describes it, and none is silently corrected."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import promptkit as pk
from promptkit.core.errors import InputError, PromptkitError, TaskError, TemplateError
from promptkit.core.registry import build
from promptkit.display.text_table import as_text
from promptkit.evaluation.evaluate import evaluate
from promptkit.evaluation.preview import views
from promptkit.inputs.text.template import Template
from promptkit.manipulate.modifiers import LEARNABLE
from promptkit.models.fake import FakeModel
from promptkit.runs.run_table import run_table
from promptkit.training.config import TrainingConfig
from promptkit.training.optimizers import OPTIMIZERS
from tests.support.errors import refused

WORDS = {"negative": "Negative", "positive": "Positive"}


def template(text: str) -> Template:
    return Template(f"{{% block input %}}{text}{{% endblock %}}{{% block target %}} {{{{ label }}}}{{% endblock %}}")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{{ text.upper }}", "render-failed"),
        ('{{ "ab" | map("upper") }}', "render-failed"),
        ('{{ ["a", "b"] | random }}', "syntax-error"),
        ("{{ text | truncate(2) }}", "render-failed"),
    ],
)
def test_an_expression_that_fails_or_is_not_deterministic_is_refused(text: str, code: str) -> None:
    with refused(TemplateError, code):
        template(text).render("input", {"text": "a text"})


@pytest.mark.parametrize(
    "make",
    [
        lambda: pk.Predictor("demo", pk.Prompt("sentiment/review"), WORDS),
        lambda: pk.Predictor(pk.load("fake"), "sentiment/review", WORDS),
        lambda: pk.Prompt("sentiment/review", demos="balanced"),
        lambda: pk.Prompt("sentiment/review", order="shuffled"),
        lambda: pk.Prompt("sentiment/review", instruction=5),
        lambda: pk.demos.Balanced(k="8"),
        lambda: pk.demos.Random(k=8.5),
        lambda: pk.demos.First(k=True),
        lambda: pk.demos.RandomEach(seed=None),
        lambda: pk.order.Shuffled(seed="0"),
        lambda: pk.Verbalizer(["a", "b"]),
        lambda: pk.Verbalizer({"a": 1, "b": 2}),
        lambda: pk.Verbalizer({0: "a", 1: "b"}),
        lambda: pk.Verbalizer({"a": ["x", "x"], "b": "y"}),
        lambda: evaluate(pk.Predictor(pk.load("fake"), pk.Prompt("sentiment/review"), WORDS), "sentiment"),
        lambda: evaluate(pk.Predictor(pk.load("fake"), pk.Prompt("sentiment/review"), WORDS), pk.task("sentiment"), limit="4"),
        lambda: pk.load("~nosuchuser/model"),
        lambda: pk.load(Path("./no/such/folder")),
        lambda: pk.load("fake", batch_tokens=0),
        lambda: pk.load("fake", batch_tokens=-1),
    ],
)
def test_an_invalid_argument_is_refused_at_construction(make: Any) -> None:
    with pytest.raises(PromptkitError):
        make()


KEYWORDS = [
    pytest.param(kind, field.name, id=f"{kind.__name__}:{field.name}")
    for kind in (*LEARNABLE.values(), *OPTIMIZERS.values(), TrainingConfig)
    for field in fields(kind)
]
NUMBERS: list[Any] = [-1, 0, 1.5, math.nan, math.inf, -math.inf]
INVALID: list[Any] = [None, "a", True, *NUMBERS, [], [1], [2, 1], ["a"], (1.5,), {}, {"a": 1}, object()]
ACCEPTED: dict[str, list[Any]] = {
    "seed": [-1, 0],
    "slot": [None, "a"],
    "reparameterize": [None],
    "width": [None],
    "population": [None],
    "layers": [[], [1]],
    "parameters": [{}],
    "base": [{}, {"a": 1}],
    "mlp": [0],
    "first": [0],
    "optimizer": [None],
    "learning_rate": [None, 1.5],
    "per_class": [None],
    "patience": [None],
    "warmup": [0],
    "gradient_checkpointing": [True],
    "background": [0],
    "weight_decay": [0, 1.5],
    "perturbation": [1.5],
    "sigma": [1.5],
}
"""The values of `INVALID` that a keyword accepts."""


@pytest.mark.parametrize(("kind", "keyword"), KEYWORDS)
def test_a_keyword_accepts_only_valid_values(kind: Any, keyword: str) -> None:
    accepted, errors = [], []
    for wrong in INVALID:
        try:
            kind(**{keyword: wrong})
            accepted.append(repr(wrong))
        except PromptkitError as error:
            errors.append(error)
    assert accepted == [*map(repr, ACCEPTED.get(keyword, []))]
    assert all(error.code and error.fields for error in errors)
    assert all("Given: " in str(error) or error.code == "unknown-name" for error in errors)


def test_layers_may_be_any_sequence_of_numbers() -> None:
    for kind in (pk.Prefix, pk.SteeringVector, pk.LoReFT):
        created: Any = [kind(layers=layers) for layers in ((1, 2), [1, 2], range(1, 3))]
        assert created[0] == created[1] == created[2]
        assert created[0].settings() == created[1].settings()
    with refused(InputError, "invalid-value", of="steering", keyword="layers", value="2"):
        pk.SteeringVector(2)


@pytest.mark.parametrize("keyword", ["parameters", "base"])
def test_trained_parameters_are_not_keywords(keyword: str) -> None:
    for kind in LEARNABLE:
        of = f"keyword of the learned manipulation {kind}"
        with refused(InputError, "unknown-name", kind=of, name=keyword) as raised:
            build("learned manipulation", LEARNABLE, f"{kind}:{keyword}=3")
        assert not {"base", "parameters"} & {*re.split(r"\W+", str(raised.value).partition(f"'{keyword}'")[2])}


def test_labels_with_equal_tokens_are_refused(tmp_path: Path) -> None:
    same = Template(
        "{% block input %}{{ text }}{% endblock %}{% block target %} {{ label | replace('Nega', 'Posi') }}{% endblock %}"
    )
    predictor = pk.Predictor(pk.load("fake"), pk.Prompt(same), WORDS)
    with refused(TemplateError, "indistinguishable-labels", labels=(" Positive", " Positive")):
        evaluate(predictor, pk.task("sentiment"), limit=4, out=tmp_path)


def test_a_label_that_is_a_prefix_of_another_is_noted(tmp_path: Path) -> None:
    predictor = pk.Predictor(pk.load("fake"), pk.Prompt("sentiment/review"), {"negative": "not", "positive": "not bad"})
    notes = evaluate(predictor, pk.task("sentiment"), limit=4, out=tmp_path).notes
    assert any("' not'" in note for note in notes)


def test_tables_are_not_truncated_and_show_markup_in_names(tmp_path: Path) -> None:
    labels, contextual = pk.Verbalizer(WORDS), pk.calibrate.Contextual(content_free=("[/x]",))
    model = pk.load("fake:[/b]")
    predictor = pk.Predictor(model, pk.Prompt("sentiment/review"), [labels, contextual])
    run = evaluate(predictor, pk.task("sentiment"), limit=8, out=tmp_path)
    shown = as_text(run_table(run))
    assert "fake:[/b]" in shown
    assert "[/x]" in "".join(shown.split())
    arguments = ["eval", "sentiment", "--model", "fake", "--limit", "8", "--calibrate", "batch:estimate_on=test"]
    for width in ("20", "60", "80"):
        done = subprocess.run(
            [sys.executable, "-m", "promptkit", *arguments, "--out", str(tmp_path)],
            env=os.environ | {"COLUMNS": width},
            capture_output=True,
            text=True,
            check=True,
        )
        assert "…" not in done.stdout


def test_control_characters_of_a_prompt_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    task = pk.task("sentiment")
    predictor = pk.Predictor(pk.load("fake"), pk.Prompt(template("a\tb\r\x1b[2J\x07{{ text }}")), WORDS)
    views(predictor, task, split="test", n=1)[0].show(tokens=False)
    assert r"a\tb\r\x1b[2J\x07" in capsys.readouterr().out


def write_task(folder: Path, rows: list[dict[str, Any]], **source: Any) -> Path:
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    spec = {
        "description": "d",
        "template": "sentiment/review",
        "labels": {"no": "bad", "yes": "good"},
        "sources": [{"files": {"test": "rows.jsonl"}, "inputs": {"text": "text"}, "label": "label", **source}],
    }
    path = folder / "own.yaml"
    path.write_text(json.dumps(spec), "utf-8")  # JSON is YAML
    return path


def test_booleans_are_labels_as_in_yaml_and_json(tmp_path: Path) -> None:
    path = write_task(tmp_path, [{"text": "a", "label": True}, {"text": "b", "label": False}])
    path.write_text(path.read_text().replace('"label": "label"', '"label": "label", "label_ids": {true: "yes", false: "no"}'))
    assert [row.label for row in pk.task(path).labeled_rows()] == ["yes", "no"]


def test_nan_is_a_missing_value_and_not_a_text(tmp_path: Path) -> None:
    path = write_task(tmp_path, [{"text": float("nan"), "label": "yes"}])
    assert [row.inputs for row in pk.task(path).rows("test")] == [{"text": ""}]
    path = write_task(tmp_path, [{"text": "a", "label": float("nan")}])
    with refused(TaskError, "empty-cell", column="label"):
        pk.task(path).rows("test")


def test_an_incomplete_line_is_computed_again(tmp_path: Path) -> None:
    predictor = pk.Predictor(pk.load("fake"), pk.Prompt("sentiment/review"), WORDS)
    full = evaluate(predictor, pk.task("sentiment"), limit=6, out=tmp_path)
    samples = full.path / "samples.jsonl"
    content = samples.read_bytes()
    (full.path / "summary.json").unlink()
    lines = content.splitlines(keepends=True)
    broken = json.dumps({"id": json.loads(lines[0])["id"]}).encode() + b"\n"
    samples.write_bytes(b"".join([broken, *lines[1:], lines[1], b'{"id": "foreign"}\n']))
    again = evaluate(predictor, pk.task("sentiment"), limit=6, out=tmp_path)
    assert samples.read_bytes() == content
    assert again.resumed <= 6
    assert isinstance(predictor.model, FakeModel)
