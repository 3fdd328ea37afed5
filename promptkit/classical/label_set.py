"""Baselines of multi-label tasks: the most frequent set of labels, and one regression for each label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from promptkit.classical.baseline import Rows, Scores, scores_of
from promptkit.classical.tfidf import MAX_ROWS, text_of
from promptkit.core.examples import Example
from promptkit.core.few_rows import allowing_few_rows
from promptkit.core.one_thread import one_thread
from promptkit.tasks.sampling import by_hash
from promptkit.tasks.spec import TaskSpec

TINY = np.finfo(float).tiny
"""Replaces a probability of 0 before its logarithm is taken."""


class FrequentSet:
    """Predicts the set of labels that most training rows have; ties go to the first in alphabetical order.

    The probability of each of these labels is 1, and that of the others 0.
    """

    name = "frequent-set"
    description = "most frequent set of labels"
    max_rows = None

    def applies_to(self, spec: TaskSpec) -> bool:
        """Returns whether any number of labels can apply to a row."""
        return spec.kind == "multi-label"

    def predict(self, rows: Rows, items: Sequence[Example], labels: Sequence[str]) -> list[Scores]:
        """Returns the most frequent set for every item."""
        counts = Counter(row.labels for row in rows)
        best = min(counts, key=lambda members: (-counts[members], members))
        return [dict.fromkeys(best, 0.0)] * len(items)


class TfidfLabels:
    """One logistic regression on TF-IDF features of words for each label, with the defaults of scikit-learn.

    A label that applies to all training rows, or to none, has the probability 1 or 0.
    """

    name = "tfidf-labels"
    description = "logistic regression on TF-IDF of words, one for each label"
    max_rows = MAX_ROWS

    def applies_to(self, spec: TaskSpec) -> bool:
        """Returns whether any number of labels can apply to a text."""
        return spec.kind == "multi-label" and spec.modality == "text"

    def predict(self, rows: Rows, items: Sequence[Example], labels: Sequence[str]) -> list[Scores]:
        """Returns the log-probability that each label applies, for each item."""
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression

        if not items:
            return []
        rows = sorted(by_hash(rows, self.max_rows), key=lambda row: row.id)
        vectorizer = TfidfVectorizer(token_pattern=r"\w+")
        train = vectorizer.fit_transform([*map(text_of, rows)])
        test = vectorizer.transform([*map(text_of, items)])
        columns = []
        for label in labels:
            gold = np.array([label in row.labels for row in rows])
            if gold.all() or not gold.any():
                columns.append(np.full(len(items), float(gold.all())))
                continue
            with one_thread(), allowing_few_rows():
                columns.append(LogisticRegression(max_iter=1000).fit(train, gold).predict_proba(test)[:, 1])
        return scores_of(np.log(np.maximum(np.stack(columns, 1), TINY)), labels)
