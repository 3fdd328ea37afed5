"""Silences scikit-learn's warnings about data with few rows of each label, which is normal for few-shot classification."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

MESSAGES = ("The least populated class", "The number of unique classes is greater than 50%")
"""The beginnings of the warnings: of a label with fewer rows than folds, and of about one row for each label."""


@contextmanager
def allowing_few_rows() -> Iterator[None]:
    """Ignores warnings about few rows of each label; other warnings are shown."""
    with warnings.catch_warnings():
        for message in MESSAGES:
            warnings.filterwarnings("ignore", message=message)
        yield
