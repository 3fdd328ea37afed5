"""BLAS has one thread within the context, and as many as before after it."""

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from promptkit.align.minimize import minimized
from promptkit.core.one_thread import one_thread


def threads() -> list[int]:
    return [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"]


def test_one_thread_within_the_context() -> None:
    with one_thread():
        assert threads() == [1] * len(threads()) != []
    before = threads()
    with pytest.raises(ZeroDivisionError), one_thread():
        _ = 1 / 0
    assert threads() == before


def test_losses_are_minimized_with_one_thread() -> None:
    center = np.array([3.0, -1.0])

    def objective(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        assert set(threads()) == {1}
        return float(((parameters - center) ** 2).sum()), 2 * (parameters - center)

    assert minimized(objective, np.zeros(2)) == pytest.approx(center, abs=1e-6)
