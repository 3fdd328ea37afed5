"""Baselines that predict a number: the mean, the median, and ridge regression on TF-IDF features of words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from promptkit.classical.baseline import NumberBaseline, Rows
from promptkit.classical.tfidf import MAX_ROWS, text_of
from promptkit.core.examples import Example
from promptkit.tasks.sampling import by_hash
from promptkit.tasks.spec import TaskSpec


class Median(NumberBaseline):
    """Predicts the median of the training rows, which has the smallest mean absolute error of all constants."""

    name = "median"
    description = "median"

    def applies_to(self, spec: TaskSpec) -> bool:
        """Returns whether the labels are in order."""
        return spec.scale is not None and not spec.numeric

    def predict_values(self, rows: Rows, items: Sequence[Example]) -> list[float]:
        """Returns the median for every item."""
        return [float(np.median(values_of(rows)))] * len(items)


class Mean(NumberBaseline):
    """Predicts the mean of the training rows."""

    name = "mean"
    description = "mean"

    def applies_to(self, spec: TaskSpec) -> bool:
        """Returns whether the answers are numbers."""
        return spec.numeric

    def predict_values(self, rows: Rows, items: Sequence[Example]) -> list[float]:
        """Returns the mean for every item."""
        return [float(np.mean(values_of(rows)))] * len(items)


class TfidfRidge(NumberBaseline):
    """Ridge regression (alpha = 1) on TF-IDF features of words, limited to the range of the training rows."""

    name = "ridge"
    description = "ridge regression on TF-IDF of words"
    max_rows = MAX_ROWS

    def applies_to(self, spec: TaskSpec) -> bool:
        """Returns whether texts have numbers, or labels with values."""
        return spec.modality == "text" and (spec.numeric or spec.scale is not None)

    def predict_values(self, rows: Rows, items: Sequence[Example]) -> list[float]:
        """Returns the number of each item."""
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import Ridge
        from sklearn.pipeline import make_pipeline

        if not items:
            return []
        rows = sorted(by_hash(rows, self.max_rows), key=lambda row: row.id)
        values = values_of(rows)
        pipeline = make_pipeline(TfidfVectorizer(token_pattern=r"\w+"), Ridge(random_state=0))
        pipeline.fit([*map(text_of, rows)], values)
        predicted = np.clip(pipeline.predict([*map(text_of, items)]), min(values), max(values))
        return [float(value) for value in predicted]


def values_of(rows: Rows) -> list[float]:
    """Returns the number of each row that has one."""
    return [row.value for row in rows if row.value is not None]
