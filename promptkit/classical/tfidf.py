"""Logistic regression on TF-IDF features of words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from promptkit.classical.baseline import Rows, Scores, predicted, scores_of
from promptkit.core.examples import Example
from promptkit.core.few_rows import allowing_few_rows
from promptkit.core.one_thread import one_thread
from promptkit.tasks.sampling import by_hash
from promptkit.tasks.spec import TaskSpec

MAX_ROWS = 20_000
"""The largest number of labeled rows that are used, chosen by the hash of their id."""


class TfidfRegression:
    """Logistic regression on TF-IDF features of words, with the defaults of scikit-learn."""

    name = "tfidf"
    description = "logistic regression on TF-IDF of words"
    max_rows = MAX_ROWS

    def applies_to(self, spec: TaskSpec) -> bool:
        """Returns whether rows are texts with the same labels."""
        return spec.kind == "classification" and spec.modality == "text"

    def predict(self, rows: Rows, items: Sequence[Example], labels: Sequence[str]) -> list[Scores]:
        """Returns the log-probabilities of the labels of the training rows for each item.

        If the training rows have only one label, its probability is 1.
        """
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        rows = sorted(by_hash(rows, self.max_rows), key=lambda row: row.id)
        gold = [row.label for row in rows]
        if len(set(gold)) == 1:
            return [{gold[0]: 0.0}] * len(items)
        pipeline = make_pipeline(TfidfVectorizer(token_pattern=r"\w+"), LogisticRegression(max_iter=1000))
        with one_thread(), allowing_few_rows():
            pipeline.fit([text_of(row) for row in rows], gold)
        logprobs = pipeline.predict_log_proba([text_of(item) for item in items])
        return scores_of(np.asarray(logprobs), [str(label) for label in pipeline.classes_])


def text_regression(rows: Rows, items: Sequence[Example]) -> list[str]:
    """Returns the label of each item that `TfidfRegression` predicts after a fit on labeled rows."""
    return [*map(predicted, TfidfRegression().predict(rows, items, ()))]


def text_of(example: Example) -> str:
    """Returns the inputs of a row, one per line."""
    return "\n".join(example.texts.values())
