"""The corrected score of the best instruction of a search, from known answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptkit.core.metric_input import MetricInput
from promptkit.metrics.base import Metric
from promptkit.metrics.intervals import Statistic
from promptkit.metrics.selection import corrected_best_statistic
from promptkit.metrics.table import METRICS, statistic
from promptkit.searches.halving import By, CandidateScore, Rung, halve
from promptkit.searches.optimism import corrected_metric

ROWS = 60
SEEDS, BYS = st.integers(0, 10**6), st.sampled_from(["metric", "logprob"])
NAMES = st.sampled_from(["accuracy", "macro_f1", "brier"])
LAW = settings(max_examples=20, deadline=None)


@dataclass(frozen=True)
class Known:
    """Instructions, which are numbers, with known probabilities of two labels."""

    metric: Metric
    gold: np.ndarray
    share: np.ndarray
    """The probability of the gold label, NaN for a row without an answer, shape (instructions, rows)."""

    def statistic(self, instruction: str, count: int) -> Statistic:
        share, gold = np.nan_to_num(self.share[int(instruction), :count]), self.gold[:count]
        probabilities = np.where(np.eye(2)[gold] > 0, share[:, None], 1 - share[:, None])
        return statistic(self.metric, MetricInput.of_scores(gold, np.log(np.clip(probabilities, 1e-9, 1)), labels=["a", "b"]))

    def logprobs(self, instruction: str, count: int) -> np.ndarray:
        return np.log(self.share[int(instruction), :count])

    def score(self, instructions: Sequence[str], count: int) -> list[CandidateScore]:
        found = []
        for text in instructions:
            logprobs = self.logprobs(text, count)
            known = logprobs[~np.isnan(logprobs)]
            value = float(self.statistic(text, count)(np.ones((1, count)))[0])
            found.append(CandidateScore(value, float(known.mean()), no_answer=count - len(known)))
        return found

    def rungs(self, by: By) -> list[Rung]:
        texts = [str(number) for number in range(len(self.share))]
        return halve(texts, ROWS, self.score, by=by, higher_is_better=self.metric.higher_is_better)


def known(seed: int, count: int, metric: str = "accuracy", accuracy: float = 0.6) -> Known:
    generator = np.random.default_rng(seed)
    right, share = generator.random((count, ROWS)) < accuracy, generator.uniform(0.5, 1, (count, ROWS))
    share = np.where(right, share, 1 - share)
    share[generator.random((count, ROWS)) < 0.02] = np.nan
    return Known(METRICS[metric], generator.integers(0, 2, ROWS), share)


@LAW
@given(seed=SEEDS, count=st.integers(1, 12), by=BYS, name=NAMES)
def test_the_score_that_is_corrected_is_that_of_the_best_instruction(seed: int, count: int, by: By, name: str) -> None:
    answers = known(seed, count, name)
    rungs = answers.rungs(by)
    found = corrected_metric(rungs, answers, by)
    assert found.own == pytest.approx(rungs[-1].standings[rungs[-1].best].metric)
    assert found.estimate.low <= found.estimate.value <= found.estimate.high


@LAW
@given(seed=SEEDS, name=NAMES)
def test_a_single_rung_by_the_metric_is_the_choice_of_the_best(seed: int, name: str) -> None:
    answers = known(seed, 2, name)
    (rung,) = rungs = answers.rungs("metric")
    metric = answers.metric
    statistics = [answers.statistic(text, ROWS) for text in rung.standings]
    expected = corrected_best_statistic(
        statistics, ROWS, higher_is_better=metric.higher_is_better, is_share=metric.interval == "wilson"
    )
    found = corrected_metric(rungs, answers, "metric")
    if name == "brier":  # there are hardly any ties, which are broken by the log-probability
        assert asdict(found.estimate) == pytest.approx(asdict(expected.estimate))
    assert found.own == pytest.approx(expected.own)
    assert found.estimate.value == pytest.approx(expected.estimate.value, abs=0.02)


@LAW
@given(seed=SEEDS, by=BYS, name=NAMES)
def test_the_order_of_the_instructions_does_not_matter(seed: int, by: By, name: str) -> None:
    answers = known(seed, 9, name)
    rungs = answers.rungs(by)
    reversed_ = [Rung(rows=each.rows, standings=dict([*each.standings.items()][::-1])) for each in rungs[:-1]]
    assert corrected_metric([*reversed_, rungs[-1]], answers, by) == corrected_metric(rungs, answers, by)


def test_equally_good_instructions_have_an_optimism_and_one_that_is_always_best_has_none() -> None:
    truth, found = 0.6 * 0.98, []
    for seed in range(30):
        answers = known(seed, 16)
        found.append(corrected_metric(answers.rungs("metric"), answers, "metric"))
    own, estimated = np.mean([each.own for each in found]), np.mean([each.estimate.value for each in found])
    assert own > truth + 0.08
    assert truth - 0.01 < estimated < truth + 0.65 * (own - truth)
    assert np.mean([each.estimate.low <= truth <= each.estimate.high for each in found]) > 0.93
    answers.share[3] = 1.0
    sure = corrected_metric(answers.rungs("metric"), answers, "metric")
    assert (sure.own, sure.optimism) == (1, pytest.approx(0, abs=1e-12))


def test_the_chosen_log_probability_decides_if_the_search_chooses_by_it() -> None:
    answers = known(5, 2)
    answers.share[:] = [np.where(np.arange(ROWS) % 4, 0.51, 0.49), np.where(np.arange(ROWS) % 2, 0.99, 0.49)]
    for by, accuracy in (("metric", 0.75), ("logprob", 0.5)):
        found = corrected_metric(answers.rungs(by), answers, by)  # type: ignore[arg-type]
        assert found.own == pytest.approx(accuracy)
        assert found.estimate.value == pytest.approx(accuracy, abs=0.02)
