"""Baselines beside the results of `promptkit eval`: fitted on rows that a predictor can use, and paired with its branches."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

import promptkit as pk
from promptkit.analysis.compare import compare_runs
from promptkit.classical.majority import majority
from promptkit.classical.tfidf import TfidfRegression, text_regression
from promptkit.core.errors import InputError, RunError
from promptkit.evaluation.baselines import evaluate_baselines
from promptkit.evaluation.merge import merge
from promptkit.metrics import METRICS
from promptkit.metrics.intervals import paired_difference, wilson
from promptkit.runs.baseline_files import read_baselines
from promptkit.runs.run import Run
from promptkit.runs.shard import Shard
from tests.support.errors import refused


def evaluated(task: object, out: Path, **options: Any) -> Run:
    return pk.EvalConfig(task=str(task), model="fake", **options).run(out=out, cache=False)


def write_rows(path: Path, rows: Sequence[tuple[str, str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("text", "label"), *rows])
    return path


def write_task(folder: Path, train: Sequence[tuple[str, str]], test: Sequence[tuple[str, str]]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "t.j2").write_text(TEMPLATE, "utf-8")
    write_rows(folder / "train.csv", train)
    write_rows(folder / "test.csv", test)
    path = folder / "kinds.yaml"
    path.write_text(TASK, "utf-8")
    return path


TEMPLATE = "{% block input %}Text: {{ text }}\nKind:{% endblock %}{% block target %} {{ label }}{% endblock %}"
TASK = """
description: kinds of texts
template: t.j2
labels: {cat: cat, dog: dog}
sources:
  - files: {train: train.csv, test: test.csv}
    inputs: {text: text}
    label: label
"""
ANIMALS = [(f"meow {number} {number % 7}", "cat") for number in range(40)] + [
    (f"woof {number} {number % 5}", "dog") for number in range(60)
]
TEST = [("a meow", "cat"), ("a woof", "dog"), ("woof woof", "dog"), ("meow meow", "cat"), ("woof meow", "cat")]


def test_they_equal_scikit_learn_on_the_rows_of_the_pool_and_fit_parts(tmp_path: Path) -> None:
    run = evaluated("sentiment", tmp_path, limit=80)
    task = pk.task("sentiment")
    train = sorted([*task.part("pool"), *task.part("fit")], key=lambda row: row.id)
    items = {row.id: row for row in task.rows("test")}
    features, model = TfidfVectorizer(token_pattern=r"\w+"), LogisticRegression(max_iter=1000)
    labels = [row.label for row in train]
    model.fit(features.fit_transform([row.texts["text"] for row in train]), labels)
    expected = {
        "majority": DummyClassifier().fit(labels, labels).predict(run.ids),
        "tfidf": model.predict(features.transform([items[row].texts["text"] for row in run.ids])),
    }
    assert run.baselines is not None
    assert run.baselines.rows == len(train)
    assert {result.name: result.predictions for result in run.baselines.results} == {
        name: tuple(values) for name, values in expected.items()
    }
    for result in run.baselines.results:
        correct = np.array(result.predictions) == np.array(run.gold)
        accuracy = wilson(int(correct.sum()), len(correct))
        assert [result.metrics["accuracy"][key] for key in ("value", "low", "high")] == pytest.approx(
            [accuracy.value, accuracy.low, accuracy.high], abs=1e-6
        )
        assert result.metrics["macro_f1"]["value"] == pytest.approx(
            f1_score(run.gold, result.predictions, average="macro"), abs=1e-6
        )
        assert sum(result.predicted.values()) == 80


def test_branches_are_paired_with_each_baseline_and_shown_with_the_best(tmp_path: Path) -> None:
    run = evaluated("sentiment", tmp_path, limit=60, calibrate=["batch"])
    assert run.baselines is not None
    by_name = {result.name: result.metric_input.correct for result in run.baselines.results}
    differences = json.loads(json.dumps(run.to_json()))["baselines"]["differences"]
    assert [(each["align"], each["baseline"]) for each in differences] == [
        (align, name) for align in ("verbalizer", "batch") for name in ("majority", "tfidf")
    ]
    for each in differences:
        expected = paired_difference(run.correct[each["align"]], by_name[each["baseline"]])
        assert (each["value"], each["low"], each["high"]) == (expected.value, expected.low, expected.high)
        assert 0 <= each["p"] <= 1
    best = max(reversed(by_name), key=lambda name: by_name[name].sum())  # ties go to the last
    text = str(run)
    assert f"vs. {best}" in text
    assert all(f"  {name}" in text for name in by_name)


def test_a_label_that_no_fit_may_use_is_not_used(tmp_path: Path) -> None:
    """Train rows with the inputs of an evaluated row are left out, so that their labels have no effect."""
    leaks = [("a meow", "cat"), ("woof meow", "cat")]
    swapped = [(text, "dog") for text, _ in leaks]
    runs = [
        evaluated(write_task(tmp_path / name, [*ANIMALS, *rows], TEST), tmp_path / "runs")
        for name, rows in (("right", leaks), ("wrong", swapped), ("none", []))
    ]
    baselines = [run.baselines for run in runs]
    assert all(each is not None for each in baselines)
    first = baselines[0]
    assert first is not None
    assert first.rows < len(ANIMALS)
    for other in baselines[1:]:
        assert other is not None
        assert other.rows == first.rows
        assert [each.predictions for each in other.results] == [each.predictions for each in first.results]


def test_the_files_are_read_again_and_do_not_depend_on_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = evaluated("sentiment", tmp_path / "a", limit=40)
    other = evaluated("sentiment", tmp_path / "b", limit=40, shots=0)
    files = [(run.path / "baselines.jsonl").read_bytes() for run in (first, other)]
    assert files[0] == files[1]

    def fail(*arguments: object) -> None:
        raise AssertionError("the baseline is fitted again")

    monkeypatch.setattr(TfidfRegression, "predict", fail)
    again = evaluated("sentiment", tmp_path / "a", limit=40)
    assert again.to_json()["baselines"] == first.to_json()["baselines"]
    assert str(again).splitlines()[:-1] == str(first).splitlines()[:-1]


@pytest.mark.parametrize(
    ("file", "is_missing"), [("baselines.json", True), ("baselines.jsonl", True), ("baselines.jsonl", False)]
)
def test_an_edited_or_missing_file_is_written_again(file: str, is_missing: bool, tmp_path: Path) -> None:
    run = evaluated("sentiment", tmp_path, limit=20)
    path = run.path / file
    content = path.read_bytes()
    if is_missing:
        path.unlink()
    else:
        path.write_bytes(content.replace(b"negative", b"positive"))
    assert read_baselines(run.path) is None
    again = evaluated("sentiment", tmp_path, limit=20)
    assert path.read_bytes() == content
    assert again.to_json()["baselines"] == run.to_json()["baselines"]


def test_changed_train_rows_change_them(tmp_path: Path) -> None:
    task = write_task(tmp_path / "task", ANIMALS, TEST)
    few = evaluated(task, tmp_path / "runs", shots=0)
    write_task(tmp_path / "task", [*ANIMALS, *((f"more woof {n}", "dog") for n in range(30))], TEST)
    more = evaluated(task, tmp_path / "runs", shots=0)
    assert more.path == few.path
    assert few.baselines is not None
    assert more.baselines is not None
    assert more.baselines.rows > few.baselines.rows


def test_without_baselines_nothing_is_added(tmp_path: Path) -> None:
    run = evaluated("sentiment", tmp_path, limit=20, baselines=False)
    assert run.baselines is None
    assert run.to_json()["baselines"] is None
    assert "vs." not in str(run)
    assert "no model" not in str(run)
    assert not (run.path / "baselines.json").exists()


def test_a_task_without_train_rows_has_a_note(tmp_path: Path) -> None:
    task = write_task(tmp_path, ANIMALS, TEST)
    task.write_text("split: validation\n" + TASK.replace("train: train.csv, test:", "validation:"), "utf-8")
    run = evaluated(task, tmp_path / "runs", shots=0)
    assert run.baselines is None
    assert any("no baseline without a model" in note and "train split" in note for note in run.notes)


def test_a_note_says_that_a_baseline_is_better(tmp_path: Path) -> None:
    run = evaluated(
        write_task(tmp_path, ANIMALS, [(f"{text} again", kind) for text, kind in ANIMALS]), tmp_path / "runs", shots=0
    )
    assert run.baselines is not None
    best = run.baselines.best
    assert best.name == "tfidf"
    right, accuracy = best.metric_input, [METRICS["accuracy"]]
    wrong = replace(right, correct=np.zeros(len(right)))
    assert run.baselines.compared_with({"right": right, "wrong": wrong}, [], accuracy).notes() == []
    assert "tfidf" in run.baselines.compared_with({"wrong": wrong}, [], accuracy).notes()[0]


CHOICES = """
description: which choice
template: t.j2
sources:
  - files: {train: train.csv, test: test.csv}
    inputs: {text: text}
    choices: {columns: [one, two]}
    label: label
"""


def test_choice_tasks_have_the_most_frequent_position(tmp_path: Path) -> None:
    rows = [(f"question {n}", f"yes {n}", f"no {n}", n % 5 > 0) for n in range(100)]
    for name, part in (("train", rows[:60]), ("test", rows[60:])):
        with (tmp_path / f"{name}.csv").open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([("text", "one", "two", "label"), *((*row[:3], int(row[3])) for row in part)])
    (tmp_path / "t.j2").write_text(TEMPLATE, "utf-8")
    (tmp_path / "which.yaml").write_text(CHOICES, "utf-8")
    run = evaluated(tmp_path / "which.yaml", tmp_path / "runs", shots=0)
    assert run.baselines is not None
    (position,) = run.baselines.results
    assert position.name == "position"
    assert position.metrics["accuracy"]["value"] == 0.8
    assert all(answer.startswith("no") for answer in position.predictions)
    again = read_baselines(run.path)
    assert again is not None
    assert again.results[0].metric_input.logprobs.tolist() == position.metric_input.logprobs.tolist()


def test_free_answers_have_the_most_frequent_answer_which_the_aligner_judges(tmp_path: Path) -> None:
    run = evaluated("capitals", tmp_path, limit=30, shots=0)
    assert run.baselines is not None
    (answer,) = run.baselines.results
    assert answer.name == "frequent-answer"
    (predicted,) = set(answer.predictions)
    assert predicted in {row.label for row in pk.task("capitals").rows("train")}
    assert answer.metric_input.correct.tolist() == [float(predicted == gold) for gold in run.gold]
    assert "exact_match" in answer.metrics
    assert "vs. frequent-answer" in str(run)


def test_rows_that_are_not_in_the_task_are_refused(tmp_path: Path) -> None:
    run = evaluated(write_task(tmp_path / "a", ANIMALS, TEST), tmp_path / "runs", baselines=False)
    task = pk.task(write_task(tmp_path / "a", ANIMALS, TEST[:3]))
    with refused(RunError, "data-changed", task=task.name):
        evaluate_baselines(run, task, pk.Verbalizer({"cat": "cat", "dog": "dog"}))


def test_a_run_merged_from_shards_has_them(tmp_path: Path) -> None:
    config = pk.EvalConfig(task="sentiment", model="fake", limit=24, shots=0)
    shards = [config.run_shard(Shard(number, 2), out=tmp_path, cache=False).path for number in (1, 2)]
    merged = config.add_baselines(merge(shards))
    whole = config.run(out=tmp_path / "whole", cache=False)
    assert merged.to_json()["baselines"] == whole.to_json()["baselines"]
    without = config.model_copy(update={"baselines": False}).add_baselines(merge(shards))
    assert without.baselines is None
    moved = config.model_copy(update={"task": str(tmp_path / "gone.csv")}).add_baselines(merge(shards))
    assert moved.baselines is None
    assert "gone.csv" in moved.notes[-1]


def test_a_run_is_compared_with_its_baselines(tmp_path: Path) -> None:
    run = evaluated("sentiment", tmp_path, limit=40)
    comparison = compare_runs([f"{run.path}:tfidf", str(run.path), f"{run.path}:majority"])
    by_pair = {
        (each["align"], each["baseline"]): each for each in json.loads(json.dumps(run.to_json()))["baselines"]["differences"]
    }
    first, branch, majority = comparison.branches
    assert (first.name, branch.name, majority.name) == (f"{run.path.name}:tfidf", run.path.name, f"{run.path.name}:majority")
    assert branch.difference is not None
    expected = by_pair["verbalizer", "tfidf"]
    assert [branch.difference.value, branch.difference.low, branch.p] == [expected["value"], expected["low"], expected["p"]]
    assert run.baselines is not None
    brier = {result.name: result.metrics["brier"]["value"] for result in run.baselines.results}
    assert first.metrics["brier"].value.value == pytest.approx(brier["tfidf"], abs=1e-6)
    assert majority.metrics["brier"].value.value == pytest.approx(brier["majority"], abs=1e-6)
    with refused(InputError, "unknown-name", name="pixels"):
        compare_runs([str(run.path), f"{run.path}:pixels"])


def test_each_fold_is_predicted_from_the_rows_of_the_others(tmp_path: Path) -> None:
    rows = [(f"{text} {kind[0]}", kind) for text, kind in ANIMALS]
    path = write_rows(tmp_path / "animals.csv", rows)
    run = evaluated(path, tmp_path / "runs", shots=0, folds=4, limit=60)
    assert run.folds == 4
    assert run.baselines is not None
    assert run.baselines.folds == 4
    task = pk.task(path)
    predicted = {result.name: dict(zip(run.ids, result.predictions, strict=True)) for result in run.baselines.results}
    sizes = []
    for number in range(1, 5):
        fold = task.fold(number, 4, split=run.split)
        train = [*fold.part("pool"), *fold.part("fit")]
        items = [row for row in fold.rows(run.split) if row.id in run.ids]
        assert not {row.id for row in train} & {row.id for row in items}
        assert len(train) + len(fold.rows(run.split)) == len(rows)
        sizes.append(len(train))
        assert [predicted["tfidf"][item.id] for item in items] == text_regression(train, items)
        assert {predicted["majority"][item.id] for item in items} == {majority(train, task.labels)}
    assert run.baselines.rows == min(sizes)
    assert read_baselines(run.path) is not None
    assert "other folds" in str(run).replace("\n", " ")


def test_labels_that_depend_on_nothing_are_predicted_no_better_than_by_chance(tmp_path: Path) -> None:
    """A row's own label never reaches its prediction: random labels of unique words give no accuracy."""
    generator = random.Random(3)
    rows = [(f"w{number} x{number}", generator.choice(["cat", "dog"])) for number in range(300)]
    run = evaluated(write_rows(tmp_path / "noise.csv", rows), tmp_path / "runs", shots=0, folds=5)
    assert run.baselines is not None
    for result in run.baselines.results:
        assert result.metrics["accuracy"]["value"] < 0.6


def test_the_caption_says_how_many_rows_a_limited_baseline_is_fitted_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = write_task(tmp_path / "task", ANIMALS, TEST)
    whole = evaluated(task, tmp_path / "whole").baselines
    monkeypatch.setattr(TfidfRegression, "max_rows", 30)
    limited = evaluated(task, tmp_path / "limited").baselines
    assert whole is not None
    assert limited is not None
    assert whole.rows == limited.rows > 30
    for of_whole, of_limited in zip(whole.results, limited.results, strict=True):
        limit = ", 30 of these rows" if of_limited.name == "tfidf" else ""
        assert of_limited.description == of_whole.description + limit
        assert of_limited.description in limited.describe()[-1]
    assert whole.results[1].metric_input.logprobs.tolist() != limited.results[1].metric_input.logprobs.tolist()
