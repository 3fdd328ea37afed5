"""Computes the results of each branch from the records of a run, and finishes its folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from promptkit.align.chain import Chain
from promptkit.align.vote import vote_accuracy
from promptkit.core.alignment import Extractor, FitData
from promptkit.evaluation.fit_data import collect_choice_data, collect_fit_data
from promptkit.evaluation.read_outputs import ReadOutputs
from promptkit.evaluation.requirements import check_calibration
from promptkit.metrics.base import MetricInput
from promptkit.metrics.table import estimates
from promptkit.runs.folder import RunFolder
from promptkit.runs.records import DECIMALS
from promptkit.runs.row_ids import FitRow
from promptkit.runs.row_warnings import count_no_answer, count_too_long
from promptkit.runs.run import Result
from promptkit.runs.schema import PredictionRecord, RowRecord, answered, is_answered

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from promptkit.core.arrays import Floats, Integers


class RunTitle(TypedDict):
    """The contents of a run's summary that are known before its results."""

    task: str
    split: str
    n: int
    """Number of evaluated rows."""
    model: str


def compute_results(
    chains: Sequence[Chain], samples: Sequence[RowRecord], support: Sequence[RowRecord], read_outputs: ReadOutputs | None = None
) -> tuple[Result, ...]:
    """Returns the results of each branch.

    Args:
        chains: The branches, which share their first aligner.
        samples: Records of the evaluated rows.
        support: Records of the further rows that the aligners need.
        read_outputs: What was read at the answer slots, if anything.
    """
    reader = chains[0].reader
    if isinstance(reader, Extractor):
        return (_generation_result(chains[0], reader, samples),)
    _check_calibrations(chains, samples, support)
    if not reader.labels:
        return tuple(_choice_result(chain, samples, support) for chain in chains)
    data, fit_labels = collect_fit_data(chains, answered(samples), support, read_outputs)
    return tuple(_label_result(chain, samples, data, fit_labels) for chain in chains)


def _check_calibrations(chains: Sequence[Chain], samples: Sequence[RowRecord], support: Sequence[RowRecord]) -> None:
    """Refuses calibrations that have too few rows with an answer.

    The other reasons for too few rows are known, and refused, before the model answers.
    """
    evaluated = sum(map(is_answered, samples))
    if not evaluated or not any(record.get("no_answer") for record in (*samples, *support)):
        return
    has_label = ["gold" in record for record in answered(support) if FitRow.parse(record["id"])]
    for calibration in (chain.calibration for chain in chains):
        if calibration is not None:
            check_calibration(calibration, labels=len(chains[0].reader.labels), evaluated=evaluated, has_label=has_label)


def _label_result(chain: Chain, samples: Sequence[RowRecord], data: FitData, fit_labels: Integers) -> Result:
    """The results of a branch with the same labels for every row."""
    labels, logprobs, calibration = chain.reader.labels, data.items.logprobs, chain.calibration
    if calibration and len(logprobs):
        logprobs = calibration.fit(data, fit_labels if calibration.needs.labels else None).apply(data.items)
    gold = np.array([labels.index(record["gold"]) for record in samples])
    metric_input = MetricInput.of_scores(gold, _with_unanswered(samples, logprobs))
    predictions = _predictions(metric_input, [labels] * len(samples))
    counts = Counter(predictions)
    return Result(
        align=chain.name,
        metrics=_metrics(metric_input),
        predicted={label: counts[label] for label in labels},
        predictions=predictions,
        metric_input=metric_input,
    )


def _choice_result(chain: Chain, samples: Sequence[RowRecord], support: Sequence[RowRecord]) -> Result:
    """The results of a branch with different choices for every row; rows with fewer choices are padded with -inf."""
    data = collect_choice_data(answered(samples), support)
    logprobs = data.items.logprobs
    if chain.calibration and len(logprobs):
        calibrated = chain.calibration.fit(data).apply(data.items)
        logprobs = np.where(np.isneginf(data.items.logprobs), -np.inf, calibrated)
    choices = [list(record.get("logprobs", {record["gold"]: 0.0})) for record in samples]
    gold = np.array([answers.index(record["gold"]) for answers, record in zip(choices, samples, strict=True)])
    metric_input = MetricInput.of_scores(gold, _with_unanswered(samples, logprobs), kind="choices")
    predictions = _predictions(metric_input, choices)
    return Result(
        align=chain.name,
        metrics=_metrics(metric_input),
        predicted=dict(sorted(Counter(answer for answer in predictions if answer is not None).items())),
        predictions=predictions,
        metric_input=metric_input,
    )


def _with_unanswered(samples: Sequence[RowRecord], logprobs: Floats) -> Floats:
    """The log-probabilities with a row of -inf for each row without an answer."""
    sent = [is_answered(record) for record in samples]
    expanded: Floats = np.full((len(samples), logprobs.shape[1]), -np.inf)
    expanded[sent] = logprobs
    return expanded


def _predictions(metric_input: MetricInput, candidates: Sequence[Sequence[str]]) -> tuple[str | None, ...]:
    """The likeliest candidate of each row, or None for a row that is not answered."""
    rows = zip(candidates, metric_input.predicted, metric_input.answered, strict=True)
    return tuple(answers[index] if has_answer else None for answers, index, has_answer in rows)


def _generation_result(chain: Chain, extractor: Extractor, samples: Sequence[RowRecord]) -> Result:
    """The results of the only branch of a run with generated texts."""
    predictions = tuple(record["prediction"] for record in samples)
    correct = np.array([record["correct"] for record in samples], float)
    has_answer = np.array([prediction is not None for prediction in predictions])
    votes = _votes(extractor, samples) if extractor.samples > 1 else _Votes()
    metric_input = MetricInput.of_texts(correct, has_answer, **votes)
    return Result(
        align=chain.name, metrics=_metrics(metric_input), predicted={}, predictions=predictions, metric_input=metric_input
    )


class _Votes(TypedDict, total=False):
    """The input of the metrics of votes."""

    vote_accuracies: Floats
    samples_answered: NDArray[np.bool_]


def _votes(extractor: Extractor, samples: Sequence[RowRecord]) -> _Votes:
    """The votes among several texts per row."""
    normalized = [
        [text["answer"] and extractor.normalized(text["answer"]) for text in record["generations"]]
        if "generations" in record
        else [None] * extractor.samples
        for record in samples
    ]
    correct = [
        vote_accuracy(answers, {*map(extractor.normalized, record["accepted"])})
        for answers, record in zip(normalized, samples, strict=True)
    ]
    found = [[answer is not None for answer in answers] for answers in normalized]
    return _Votes(vote_accuracies=np.array(correct), samples_answered=np.array(found))


def _metrics(metric_input: MetricInput) -> dict[str, dict[str, float]]:
    return {
        name: {key: round(value, DECIMALS) for key, value in asdict(estimate).items()}
        for name, estimate in estimates(metric_input).items()
    }


def _prediction_records(samples: Sequence[RowRecord], results: Sequence[Result]) -> list[PredictionRecord]:
    return [
        {
            "id": record["id"],
            "gold": record["gold"],
            "predictions": {result.align: result.predictions[index] for result in results},
            "correct": {result.align: bool(result.correct[index]) for result in results},
        }
        for index, record in enumerate(samples)
    ]


def finish_run(
    folder: RunFolder,
    title: RunTitle,
    samples: Sequence[RowRecord],
    support: Sequence[RowRecord],
    results: Sequence[Result],
    read_outputs: ReadOutputs | None,
) -> None:
    """Writes the final files of a run and marks it as finished.

    Args:
        folder: The run's folder.
        title: The contents of the summary that precede the results.
        samples: Records of the evaluated rows, in the run's order.
        support: Records of the further rows, in the run's order.
        results: The results of each branch.
        read_outputs: What was read at the answer slots, if anything.
    """
    records = {"samples": samples, "support": support, "predictions": _prediction_records(samples, results)}
    tensors = None if read_outputs is None else read_outputs.to_bytes()
    summary = {**title, "too_long": count_too_long(samples), "no_answer": count_no_answer(samples)}
    summary["results"] = [result.to_json() for result in results]
    folder.finish(records, summary, tensors)
