"""Shared fixtures of the tests of demonstration selectors."""

from dataclasses import replace

import numpy as np
import pytest

from promptkit.core.examples import Example
from tests.support.similarity import LABELS, FixedEncoder, labeled


@pytest.fixture(scope="module")
def pool(make_rows):
    return make_rows(14, LABELS)


@pytest.fixture(scope="module")
def bind_selector(context):
    """Binds a selector to a pool, optionally with given vectors."""

    def make(selector, pool, vectors=None, labels=LABELS):
        setup = context(pool, labels)
        if vectors is not None:
            others = {"placed": FixedEncoder(vectors)}
            setup = replace(setup, bind_context=replace(setup.bind_context, other_models=others))
        return selector.bind(setup)

    return make


@pytest.fixture(scope="module")
def random_pool(bind_selector):
    """Returns random vectors of 12 pool rows and a query, and the indices of the rows selected for it."""

    def draw(selector, seed, size=12, width=5):
        generator = np.random.default_rng(seed)
        names = [f"{number:02}" for number in range(size)]
        vectors = {name: generator.normal(size=width) + 3 for name in [*names, "query"]}
        vectors = {name: vector.astype(np.float32) for name, vector in vectors.items()}
        centered = np.array([*vectors.values()], dtype=np.float64)
        centered -= centered[:-1].mean(0)
        centered /= np.linalg.norm(centered, axis=1, keepdims=True)
        query = Example(id="query", inputs={"text": "query"})
        (chosen,) = bind_selector(selector, labeled(names), vectors)([query])
        return centered[:-1], centered[-1], [int(row.id) for row in chosen]

    return draw
