"""Predictions of rows that the predictor was not fitted on."""

from __future__ import annotations

import numpy as np

from promptkit.core.metric_input import MetricInput
from promptkit.predictor.out_of_fold import OutOfFold


def test_it_holds_the_probabilities_of_a_run() -> None:
    logprobs = np.log([[0.7, 0.2], [0.1, 0.3], [0.4, 0.4]])
    logprobs = np.vstack([logprobs, [[-np.inf, -np.inf]]])
    rows = OutOfFold.of_metric_input(MetricInput.of_scores(np.array([0, 0, 0, 1]), logprobs), ("no", "yes"), folds=5)
    assert len(rows) == 4
    assert np.allclose(rows.probabilities, [[7 / 9, 2 / 9], [0.25, 0.75], [0.5, 0.5], [0, 0]])
    assert rows.answered.tolist() == [True, True, True, False]
    assert rows.predicted.tolist()[:3] == [0, 1, 0]
    assert rows.correct.tolist() == [True, False, True, False]
    assert np.allclose(rows.confidence, [7 / 9, 0.75, 0.5, 0])
