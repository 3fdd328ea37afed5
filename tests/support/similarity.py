"""Similarity selectors, rows and an encoder with given vectors."""

from dataclasses import dataclass, fields, replace

import numpy as np
import pytest
from hypothesis import strategies as st

from promptkit.core.arrays import as_array
from promptkit.core.examples import Example, LabeledExample
from promptkit.core.requests import ReadOutput
from promptkit.manipulate.demos import BM25, DPP, MMR, SELECTORS, Similar, VoteK
from promptkit.manipulate.demos.ranking import SimilaritySelector
from promptkit.models.registry import load

WORDS = ["the", "a", "cat", "Dog", "dog", "ran", "7", "é"]

LABELS = ("negative", "neutral", "positive")

SIMILARITY_SELECTORS = [selector for selector in SELECTORS.values() if issubclass(selector, SimilaritySelector)]

NESTED = [BM25, Similar, MMR, DPP, VoteK]

PER_ROW = [BM25, Similar, MMR, DPP]

EMBEDDING = [Similar, MMR, DPP]

UNSEEN = Example(id="stranger", inputs={"text": "in no pool: a number 7"})

every_selector = pytest.mark.parametrize("selector", SIMILARITY_SELECTORS, ids=lambda selector: selector.name)

seeds = st.integers(0, 10**6)

counts = st.integers(0, 9)


@dataclass(frozen=True)
class FixedEncoder:
    """An encoder with a given vector for each text."""

    vectors: dict[str, np.ndarray]

    @property
    def card(self):
        return replace(load("fake").card, d_model=len(next(iter(self.vectors.values()))))

    def __call__(self, requests):
        texts = [bytes(request.input.ids[1:]).decode() for request in requests]
        return [ReadOutput(hidden=as_array(self.vectors[text])) for text in texts]


def labeled(names, labels=LABELS):
    return [LabeledExample(id=n, inputs={"text": n}, label=labels[i % len(labels)]) for i, n in enumerate(names)]


def ids(rows):
    return [row.id for row in rows]


def build(selector, k, **keywords):
    known = {field.name for field in fields(selector)}
    return selector(k=k, **{name: value for name, value in keywords.items() if name in known})
