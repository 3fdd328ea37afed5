"""Results of probes depend only on the model, the rows of the fit part and their own settings."""

from __future__ import annotations

import numpy as np
import pytest

import promptkit as pk
from promptkit.evaluation.evaluate import evaluate
from tests.support.probe_runs import LEARNED, predictors, results, run, write_task


def test_every_probe_gives_finite_numbers(full_run):
    assert len(results(full_run)) == len(LEARNED)
    assert all(np.isfinite(logprobs).all() for logprobs in results(full_run).values())


@pytest.mark.parametrize("spelling", LEARNED)
def test_a_probe_gives_the_same_results_with_and_without_other_probes(full_run, tmp_path, spelling):
    (single,) = run(write_task(tmp_path / "task"), tmp_path, [spelling]).results
    np.testing.assert_allclose(single.logprobs, results(full_run)[single.align], atol=1e-9)


def test_labels_of_the_fit_part_change_a_probe_and_labels_of_test_rows_do_not(full_run, tmp_path):
    flipped = run(write_task(tmp_path / "a", flipped=True), tmp_path / "a", LEARNED)
    assert flipped.gold != full_run.gold
    for name, logprobs in results(flipped).items():
        np.testing.assert_array_equal(logprobs, results(full_run)[name], err_msg=name)
    other = results(run(write_task(tmp_path / "b", other_fit=True), tmp_path / "b", LEARNED))
    blind = {"random-map", "semantic"}
    for name, logprobs in other.items():
        if "sources=words" not in name:  # all rows have the same likeliest word, so labels have no effect
            assert (logprobs == results(full_run)[name]).all() == (name.split(":")[0] in blind), name


def test_a_probe_gives_the_same_numbers_with_a_smaller_limit(full_run, tmp_path):
    task = write_task(tmp_path / "task")
    subset = evaluate(predictors(pk.load("fake"), LEARNED), task, limit=5, out=tmp_path, cache=False)
    for name, logprobs in results(subset).items():
        np.testing.assert_allclose(logprobs, results(full_run)[name][:5], atol=1e-9, err_msg=name)
