"""Tests of the noisy channel, log p(x | C, v(y)), token by token against a model that is queried directly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import promptkit as pk
from promptkit.core.manipulation import BindContext
from promptkit.evaluation.evaluate import evaluate
from promptkit.manipulate.prompting.context import SelectionContext
from promptkit.manipulate.prompting.layout import PromptLayout
from promptkit.models.client import CachedModel
from promptkit.models.fake import ByteTokenizer, FakeModel

WORDS = {"negative": "Negative", "positive": "Positive"}


def of_text(model: Any, before: str, text: str) -> float:
    """Returns log p(text | BOS, before), computed byte by byte."""
    ids = (*ByteTokenizer.bos, *before.encode())
    total = 0.0
    for token in text.encode():
        total += float(model._next(ids)[token])
        ids = (*ids, token)
    return total


@pytest.mark.parametrize("k", [0, 2])
def test_channel_score_is_the_log_probability_of_the_input_given_flipped_demonstrations_and_label(
    tmp_path: Path, k: int
) -> None:
    model, task = FakeModel("fake", FakeModel.Settings()), pk.task("sentiment")
    prompt = pk.Prompt("sentiment/review_channel", demos=pk.demos.First(k=k), channel=True)
    run = evaluate(pk.Predictor(model, prompt, pk.Verbalizer(WORDS)), task, limit=3, out=tmp_path, cache=False)
    shown = {row.id: row for row in task.pool()}
    inputs = {row.id: row.inputs["text"] for row in task.rows("test")}
    for line in map(json.loads, (run.path / "samples.jsonl").read_text().splitlines()):
        rows = [shown[demo] for demo in line["demos"]]
        assert len(rows) == k
        before = "".join(f"{WORDS[row.label]} review: {row.inputs['text']}\n\n" for row in rows)
        for label, word in WORDS.items():
            expected = of_text(model, f"{before}{word} review:", f" {inputs[line['id']]}")
            assert line["logprobs"][label] == pytest.approx(expected, abs=1e-4)
        assert line["given"] == [len(f"{word} review:") for word in WORDS.values()]


def test_channel_predictions_are_a_separate_run_and_can_be_calibrated(tmp_path: Path) -> None:
    words, model, task = pk.Verbalizer(WORDS), pk.load("fake"), pk.task("sentiment")
    both = [pk.Prompt("sentiment/review_channel", channel=turned) for turned in (False, True)]
    direct, channel = (evaluate(pk.Predictor(model, prompt, words), task, limit=8, out=tmp_path) for prompt in both)
    assert direct.path != channel.path
    calibrated = evaluate(
        [pk.Predictor(model, both[1], chain) for chain in ([words], [words, pk.calibrate.Batch(rows=8)])],
        task,
        limit=8,
        out=tmp_path,
    )
    np.testing.assert_array_equal(calibrated.results[0].logprobs, channel.results[0].logprobs)


def test_selectors_use_channel_scores() -> None:
    model, task, words = FakeModel("fake", FakeModel.Settings()), pk.task("sentiment"), pk.Verbalizer(WORDS)
    layout = PromptLayout(
        template=pk.Template.load("sentiment/review_channel"),
        instruction=None,
        chat=False,
        card=model.card,
        reader=words,
        channel=True,
    )
    context = SelectionContext(bind_context=BindContext(ask=CachedModel(model), reader=words), layout=layout)
    row, demo = task.rows("test")[0], task.pool()[0]
    before = f"{WORDS[demo.label]} review: {demo.inputs['text']}\n\n"
    (scores,) = context.scores([(row, (demo,))], "A test")
    expected = [of_text(model, f"{before}{word} review:", f" {row.inputs['text']}") for word in WORDS.values()]
    assert scores == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("turned", ["sentiment/review", "news/topic", "question/answer_type"])
def test_channel_templates_use_the_same_variables_as_their_direct_templates(turned: str) -> None:
    direct, channel = pk.Template.load(turned), pk.Template.load(f"{turned}_channel")
    assert channel.variables == direct.variables - {"labels"}
    assert channel.source.index("block target") < channel.source.index("block input")
