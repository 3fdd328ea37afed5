"""Training prompts of tasks with any number of labels: the loss of each label's yes/no reading."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.metrics import f1_score, log_loss

import promptkit as pk
from promptkit.config.train import TrainConfig
from promptkit.core.errors import TaskError, Unsupported
from promptkit.core.examples import Example, LabeledExample
from promptkit.core.output_reader import Target
from promptkit.core.requests import ScoreOutput
from tests.support.errors import refused
from tests.support.tiny import save

LABELS = ("good", "long")
TEMPLATE = "{% block input %}{{ text }} ->{% endblock %}{% block target %}\n{{ label }}{% endblock %}"
ROWS = [
    {"text": f"{'liked it' if i % 2 else 'dull'} {'long evening' if i % 3 else 'film'} {i}",
     "labels": [*(["good"] if i % 2 else []), *(["long"] if i % 3 else [])]}
    for i in range(60)
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("model"), "gemma3")


def task() -> pk.Task:
    return pk.task(ROWS, multi_label=True, labels=LABELS, template=TEMPLATE, name="aspects")


def predictor(model: Any, *modifiers: Any) -> pk.Predictor:
    return pk.Predictor(model, [pk.Prompt(TEMPLATE), *(modifiers or (pk.SoftPrompt(4),))], pk.MultiLabel(LABELS))


logprob_rows = st.lists(st.lists(st.floats(-9, -0.1), min_size=1, max_size=3), min_size=6, max_size=6)


@given(logprob_rows, st.lists(st.booleans(), min_size=3, max_size=3), st.sampled_from(["sum", "mean"]))
def test_the_loss_is_the_binary_cross_entropy_of_each_label(rows: Any, members: list[bool], score: Any) -> None:
    reader, target = pk.MultiLabel(["a", "b", "c"], score=score), Target(gold=-1, members=tuple(members))
    odds = np.array(reader.align(ScoreOutput(logprobs=tuple(map(tuple, rows)))))
    expected = np.mean([log_loss([label], [p], labels=[False, True]) for label, p in zip(members, expit(odds), strict=True)])
    plain, scores = reader.loss_of_output(target, ScoreOutput(logprobs=tuple(map(tuple, rows))))
    tensors = [torch.tensor(row, dtype=torch.float64, requires_grad=True) for row in rows]
    loss, tensor_scores = reader.loss(target, tensors)
    assert plain == pytest.approx(expected, abs=1e-6)
    assert loss.item() == pytest.approx(expected, abs=1e-6)
    assert scores == pytest.approx(odds)
    assert tensor_scores is not None
    assert tensor_scores.tolist() == pytest.approx(odds)
    loss.backward()
    weight = 1.0 if score == "sum" else 1 / len(rows[0])
    gradient = (expit(odds[0]) - members[0]) / 3 * weight
    assert tensors[0].grad is not None
    assert tensors[0].grad.tolist() == pytest.approx([gradient] * len(rows[0]), abs=1e-6)


def test_extreme_scores_have_a_finite_loss() -> None:
    reader, target = pk.MultiLabel(["a"]), Target(gold=-1, members=(True,))
    loss, _ = reader.loss(target, [torch.tensor([-2000.0]), torch.tensor([0.0])])
    assert loss.item() == pytest.approx(2000.0)
    assert reader.loss_of_output(target, ScoreOutput(logprobs=((-2000.0,), (0.0,))))[0] == pytest.approx(2000.0)


def test_a_target_says_which_labels_apply() -> None:
    row = LabeledExample(id="1", inputs={"text": "t"}, label="long", labels=("long",))
    assert pk.MultiLabel(LABELS).target(row, Example(id="1", inputs={}), ()).members == (False, True)
    with refused(TaskError, "label-without-word", label="long"):
        pk.MultiLabel(["good"]).target(row, Example(id="1", inputs={}), ())


def with_digits(model: Any, *modifiers: Any) -> pk.Predictor:
    """A predictor whose answers are single tokens, with which the random model says no to every label."""
    reader = pk.MultiLabel(LABELS, positive="2", negative="1", statement="{label} {answer}")
    return pk.Predictor(model, [pk.Prompt(TEMPLATE), *modifiers], reader)


@pytest.mark.parametrize(("modifier", "rate"), [(pk.SoftPrompt(4), 0.5), (pk.Prefix(2), 1.0)])
def test_training_lowers_the_loss(folder: Path, tmp_path: Path, modifier: Any, rate: float) -> None:
    options: dict[str, Any] = {"steps": 20, "batch_size": 8, "eval_every": 10, "learning_rate": rate, "dev": 9}
    result = pk.train(with_digits(pk.load(str(folder)), modifier), task(), folds=1, out=tmp_path, cache=False, **options)
    assert result.best.loss < 0.75 * result.dev_evaluations[0].loss
    assert {evaluation.metric for evaluation in result.dev_evaluations} == {"micro_f1"}
    assert result.best.value == max(evaluation.value or 0.0 for evaluation in result.dev_evaluations)
    assert np.mean(result.losses[-5:]) < 0.75 * np.mean(result.losses[:5])


def test_a_trained_prompt_has_a_higher_f1(folder: Path, tmp_path: Path) -> None:
    model = pk.load(str(folder))
    options: dict[str, Any] = {"steps": 60, "batch_size": 8, "eval_every": 10, "learning_rate": 1.0, "dev": 9}
    result = pk.train(with_digits(model, pk.Prefix(2)), task(), folds=1, out=tmp_path, cache=False, **options)
    evaluated: dict[str, Any] = {"folds": 1, "out": tmp_path, "cache": False, "baselines": False}
    runs = [pk.evaluate(each, task(), **evaluated) for each in (with_digits(model), result.predictor)]
    untrained, trained = (run.results[0].metrics["micro_f1"]["value"] for run in runs)
    assert trained > untrained + 0.1
    records = [json.loads(line) for line in (runs[1].path / "samples.jsonl").read_text().splitlines()]
    gold = [[label in record["gold_labels"] for label in LABELS] for record in records]
    predicted = [[record["log_odds"][label] > 0 for label in LABELS] for record in records]
    assert trained == pytest.approx(f1_score(gold, predicted, average="micro"), abs=1e-6)


def test_an_optimizer_without_gradients_trains_it_too(tmp_path: Path) -> None:
    options: dict[str, Any] = {"steps": 2, "optimizer": pk.Spsa(), "batch_size": 4, "dev": 4}
    result = pk.train(predictor(pk.load("fake")), task(), out=tmp_path, cache=False, **options)
    assert len(result.losses) == 2


def test_rows_by_label_are_refused(tmp_path: Path) -> None:
    with refused(Unsupported, "needs-single-label"):
        pk.train(predictor(pk.load("fake")), task(), out=tmp_path, optimizer=pk.Spsa(), per_class=3)


def test_the_command_trains_the_shipped_task(folder: Path, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror" / "question_types"
    mirror.mkdir(parents=True)
    types = ("abbreviation", "thing", "description", "person", "person; place", "number")
    for split in ("train", "test"):
        rows = [{"text": f"Who and where is {split} {i}?", "types": types[i % 6]} for i in range(36)]
        (mirror / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = TrainConfig(
        task="question_types",
        data=mirror.parent,
        model=str(folder),
        manipulation=["soft:length=2"],
        steps=2,
        batch_size=4,
        dev=4,
    )
    result = config.run(out=tmp_path / "runs", cache=False, progress=False)
    assert len(result.losses) == 2
    assert (result.path / "result.json").is_file() or result.saved
