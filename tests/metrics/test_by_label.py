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
from promptkit.cli.main import app
from promptkit.core.errors import InputError
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


def test_generated_texts_have_no_labels(tmp_path: Path) -> None:
    run = pk.EvalConfig(task="capitals", model="fake", limit=4).run(out=tmp_path)
    with refused(InputError, "no-shared-labels", kind="texts"):
        run.by_label()
    failed = CliRunner().invoke(
        app, ["eval", "capitals", "--model", "fake", "--limit", "4", "--out", str(tmp_path), "--by-label"]
    )
    assert failed.exit_code != 0
