"""Labeled rows for the tests of decisions.

trec_scores.csv has the probabilities of TF-IDF with logistic regression (C=10), fitted on 1,000 questions of TREC's train
split, for 1,500 other questions, with three decimals, so that there are ties.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from promptkit.predictor.out_of_fold import OutOfFold

_FILE = Path(__file__).with_name("trec_scores.csv")


def trec() -> OutOfFold:
    with _FILE.open(newline="") as file:
        (_, *labels), *lines = csv.reader(file)
    numbers = np.array(lines, float)
    return OutOfFold(labels=tuple(labels), gold=numbers[:, 0].astype(int), probabilities=numbers[:, 1:])


def take(rows: OutOfFold, index: np.ndarray) -> OutOfFold:
    return OutOfFold(labels=rows.labels, gold=rows.gold[index], probabilities=rows.probabilities[index])


def two_labels(confidence: list[float], correct: list[bool]) -> OutOfFold:
    """Rows of two labels with these probabilities of the predicted one; 0 is a row without an answer."""
    probabilities = np.array([[p, 1 - p] if p else [0.0, 0.0] for p in confidence])
    return OutOfFold(labels=("a", "b"), gold=np.array([0 if right else 1 for right in correct]), probabilities=probabilities)
