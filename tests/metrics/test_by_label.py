"""Precision, recall and F1 of each label, and confusion matrices, equal those of scikit-learn."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn
from typer.testing import CliRunner

import promptkit as pk
from promptkit.align.extract import Extraction
from promptkit.cli.main import app
from promptkit.core.errors import InputError
from promptkit.core.metric_input import MetricInput
from promptkit.metrics.intervals import Estimate, wilson
from promptkit.runs.by_label import NO_ANSWER, confusion_table, label_table
from tests.metrics.test_parity import label_sets, scored
from tests.support.errors import refused

seeds = st.integers(0, 2**32 - 1)


@given(seeds)
def test_the_confusion_matrix_equals_scikit_learn(seed: int) -> None:
    rows = scored(seed)
    table = confusion_table(rows, "")
    answered, count = rows.answered, len(rows.labels)
    expected = sklearn.confusion_matrix(rows.gold, np.where(answered, rows.predicted, count), labels=range(count + 1))[:count]
    assert [line[1:] for line in table.rows] == [tuple(line[: len(table.columns) - 1]) for line in expected.tolist()]
    assert (table.columns[-1] == NO_ANSWER) == (not answered.all())


@given(seeds)
def test_the_confusion_of_sets_of_labels_equals_scikit_learn(seed: int) -> None:
    rows = label_sets(seed)
    expected = sklearn.multilabel_confusion_matrix(rows.gold_sets, rows.predicted_sets)
    for line, ((tn, fp), (fn, tp)) in zip(confusion_table(rows, "").rows, expected.tolist(), strict=True):
        assert line[1:] == (tp, fn, fp, tn)


@given(seeds)
def test_precision_and_recall_have_wilson_intervals_of_their_own_rows(seed):
    rows = scored(seed)
    for column, (label, precision, recall, f1, gold, predicted) in enumerate(label_table(rows, "").rows):
        hits = int(((rows.gold == column) & (rows.predicted == column) & rows.answered).sum())
        assert label == rows.labels[column]
        assert isinstance(f1, Estimate)
        for share, count in ((precision, predicted), (recall, gold)):
            assert share == (wilson(hits, count) if count else Estimate(value=0.0, low=0.0, high=1.0))
        assert f1.value == pytest.approx(2 * hits / max(1, gold + predicted))


def test_a_run_shows_its_labels(tmp_path: Path) -> None:
    run = pk.EvalConfig(task="sentiment", model="fake", limit=30).run(out=tmp_path)
    table, confusion = run.by_label(), run.confusion("verbalizer")
    assert [line[0] for line in table.rows] == list(run.labels)
    assert sum(int(cell) for line in confusion.rows for cell in line[1:]) == 30
    with refused(InputError, "unknown-name", name="batch"):
        run.by_label("batch")


def test_the_command_prints_the_labels_and_writes_them_as_json(tmp_path: Path) -> None:
    words = ["eval", "sentiment", "--model", "fake", "--limit", "30", "--out", str(tmp_path), "--by-label"]
    printed = CliRunner().invoke(app, words)
    assert printed.exit_code == 0, printed.output
    assert "precision" in printed.stdout
    assert "columns: predicted labels" in printed.stdout
    (result,) = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)["results"]
    run = pk.EvalConfig(task="sentiment", model="fake", limit=30).run(out=tmp_path)
    assert result["by_label"] == json.loads(json.dumps(run.by_label().to_json()))
    assert result["confusion"] == run.confusion().to_json()


def extracted(seed: int, reader: Extraction, letters: str) -> tuple[MetricInput, list[str], list[str]]:
    """Up to 30 rows whose answers an extraction has read, the correct answers, and the predicted ones, `no answer` for none."""
    generator = np.random.default_rng(seed)
    answers = [answer for answer in reader.closed_answers if answer in letters or len(answer) > 1]
    rows, gold, predicted = [], [], []
    for _ in range(int(generator.integers(1, 30))):
        right, chosen = generator.choice(answers), generator.choice([*answers, NO_ANSWER])
        found = reader.answer("I do not know." if chosen == NO_ANSWER else f"The answer is {chosen}.")
        label = generator.choice([right, right.upper(), f"{right}."]) if reader.name == "yes_no" else f"({right})"
        rows.append({"gold": label, "accepted": [label], "prediction": found, "correct": reader.is_correct(found, [label])})
        gold.append(str(right))
        predicted.append(str(chosen))
    return reader.outcome(rows).metric_input, gold, predicted


@pytest.mark.parametrize("reader", [pk.extract.Option(letters="ABCDE"), pk.extract.YesNo()], ids=lambda reader: reader.name)
@given(seeds)
def test_labels_of_closed_answers_equal_scikit_learn(reader: Extraction, seed: int) -> None:
    rows, gold, predicted = extracted(seed, reader, "ABCDE")
    occurring = [answer for answer in reader.closed_answers if answer in {*gold, *predicted}]
    expected = sklearn.precision_recall_fscore_support(gold, predicted, labels=occurring, zero_division=0)
    table = label_table(rows, "").rows
    assert [line[0] for line in table] == occurring
    for line, *values in zip(table, *expected, strict=True):
        assert [each.value for each in line[1:4]] == pytest.approx(values[:3])
        assert line[4:] == (values[3], predicted.count(line[0]))
    columns = [*occurring, *([NO_ANSWER] if NO_ANSWER in predicted else [])]
    matrix = sklearn.confusion_matrix(gold, predicted, labels=[*occurring, NO_ANSWER])[: len(occurring), : len(columns)]
    confusion = confusion_table(rows, "")
    assert confusion.columns == ("gold", *columns)
    assert [line[1:] for line in confusion.rows] == [tuple(line) for line in matrix.tolist()]


def closed_rows(*answers: tuple[str | None, list[str]]) -> MetricInput:
    reader = pk.extract.YesNo()
    records = [
        {"gold": right[0], "accepted": right, "prediction": found, "correct": reader.is_correct(found, right)}
        for found, right in answers
    ]
    return reader.outcome(records).metric_input


def test_a_predicted_answer_that_is_accepted_is_correct() -> None:
    rows = closed_rows(("no", ["yes", "no"]), (None, ["yes", "no"]), ("no", ["yes", "certainly"]))
    assert confusion_table(rows, "").rows == (("yes", 0, 1, 1), ("no", 0, 1, 0))
    assert rows.correct.tolist() == [1, 0, 0]


def test_texts_whose_correct_answers_are_no_closed_set_have_no_labels() -> None:
    assert closed_rows(("no", ["yes"])).labels == ("yes", "no")
    assert closed_rows(("no", ["yes"]), ("no", ["perhaps"])).labels == ()
    assert closed_rows(("yes", ["yes"]), ("maybe", ["yes"])).labels == ()


@pytest.mark.parametrize("votes", [[], ["--samples", "3"]])
def test_the_command_prints_closed_answers_and_measures_them(tmp_path: Path, votes: list[str]) -> None:
    file = tmp_path / "questions.csv"
    file.write_text("question,answer\n" + "".join(f"Is {n} even?,{'yes' if n % 2 == 0 else 'No.'}\n" for n in range(24)))
    words = ["eval", str(file), "--answer-column", "answer", "--extract", "yes_no", "--model", "fake", "--out", str(tmp_path)]
    words += [*votes, "--shots", "0", "--by-label", "--json"]
    printed = CliRunner().invoke(app, [*words, "--metric", "exact_match,recall@yes"])
    assert printed.exit_code == 0, printed.output
    (result,) = json.loads(printed.stdout)["results"]
    assert {line["label"] for line in result["by_label"]} == {"yes", "no"}
    assert sum(line["gold"] for line in result["by_label"]) == 24
    assert result["metrics"]["recall@yes"]["value"] == next(
        line["recall"]["value"] for line in result["by_label"] if line["label"] == "yes"
    )
    file.write_text(file.read_text() + "Is 99 even?,perhaps\n")
    with refused(InputError, "no-shared-labels"):
        CliRunner().invoke(app, words, catch_exceptions=False)


def test_generated_texts_have_no_labels(tmp_path: Path) -> None:
    run = pk.EvalConfig(task="capitals", model="fake", limit=4).run(out=tmp_path)
    with refused(InputError, "no-shared-labels", kind="texts"):
        run.by_label()
    failed = CliRunner().invoke(
        app, ["eval", "capitals", "--model", "fake", "--limit", "4", "--out", str(tmp_path), "--by-label"]
    )
    assert failed.exit_code != 0
