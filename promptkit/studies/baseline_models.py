"""Classifiers without a language model: majority class, vote of demonstrations, TF-IDF with logistic regression."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from promptkit.core.examples import Example, LabeledExample

Rows = Sequence[LabeledExample]


def majority(pool: Rows, labels: Sequence[str]) -> str:
    """Returns the most frequent label of the pool; ties go to the label that comes first in `labels`."""
    counts = Counter(row.label for row in pool)
    return max(labels, key=lambda label: counts[label])


def vote(demonstrations: Rows) -> str:
    """Returns the most frequent label of the demonstrations of one row; ties go to the label that was chosen first."""
    return Counter(row.label for row in demonstrations).most_common(1)[0][0]


def regression(rows: Rows, items: Sequence[Example]) -> list[str]:
    """Fits TF-IDF of words with logistic regression (defaults of scikit-learn) on labeled rows.

    If the rows have only one label, it is predicted for all items.

    Args:
        rows: The training rows; their order has no effect.
        items: The rows to predict.

    Returns:
        The predicted label of each item.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    rows = sorted(rows, key=lambda row: row.id)
    labels = [row.label for row in rows]
    if len(set(labels)) == 1:
        return labels[:1] * len(items)
    pipeline = make_pipeline(TfidfVectorizer(token_pattern=r"\w+"), LogisticRegression(max_iter=1000))
    pipeline.fit([_text(row) for row in rows], labels)
    return [str(label) for label in pipeline.predict([_text(item) for item in items])]


def regressions(demonstrations: Sequence[Rows], items: Sequence[Example]) -> list[str]:
    """Predicts each item with a regression on its demonstrations; items with equal demonstrations share a regression."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for number, rows in enumerate(demonstrations):
        groups.setdefault(tuple(sorted(row.id for row in rows)), []).append(number)
    predictions: dict[int, str] = {}
    for numbers in groups.values():
        labels = regression(demonstrations[numbers[0]], [items[number] for number in numbers])
        predictions |= dict(zip(numbers, labels, strict=True))
    return [predictions[number] for number in range(len(items))]


def _text(example: Example) -> str:
    return "\n".join(example.texts.values())
