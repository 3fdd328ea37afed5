"""Abstention below a probability."""

from __future__ import annotations

import numpy as np

from promptkit.predictor.decide.abstain import answers


def test_a_row_is_answered_from_the_threshold_on() -> None:
    probabilities = np.array([[0.6, 0.4], [0.3, 0.7], [0.0, 0.0]])
    assert answers(probabilities).tolist() == [True, True, False]
    assert answers(probabilities, 0.7).tolist() == [False, True, False]
    assert answers(probabilities, np.nextafter(0.7, 1)).tolist() == [False, False, False]
