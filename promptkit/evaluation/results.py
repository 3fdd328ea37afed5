"""Computes the results of each branch from the records of a run, and finishes its folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, TypedDict

from promptkit.align.chain import Chain
from promptkit.align.labelmap.mapping import HasLabelMap, LabelMap
from promptkit.collect.fit_data import collect_fit_data
from promptkit.collect.read_outputs import ReadOutputs
from promptkit.collect.requirements import calibrations_of, check_calibration
from promptkit.core.answer_record import DECIMALS, is_answered
from promptkit.core.asking import Counts
from promptkit.core.metric_input import MetricInput
from promptkit.core.output_reader import OutputReader
from promptkit.core.records import RowRecord, answered
from promptkit.metrics.table import estimates
from promptkit.needs.fit_rows import fit_row_of
from promptkit.runs.folder import RunFolder
from promptkit.runs.row_warnings import count_no_answer, count_seen, count_too_long
from promptkit.runs.run import Result
from promptkit.runs.schema import PredictionRecord

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats


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
    _check_calibrations(chains, samples, support)
    fitted = _fitted(chains, samples, support, read_outputs)
    return tuple(_result(chain, samples, *fitted.get(chain.name, (None, None))) for chain in chains)


def _fitted(
    chains: Sequence[Chain], samples: Sequence[RowRecord], support: Sequence[RowRecord], read_outputs: ReadOutputs | None
) -> dict[str, tuple[Floats, LabelMap | None]]:
    """Returns the label scores of each branch with a calibration, shape (rows with an answer, K), and its label map, if any."""
    if not answered(samples) or not calibrations_of(chains):
        return {}
    data = collect_fit_data(chains, samples, support, read_outputs)
    fitted = {chain.name: chain.applied.fit(data) for chain in chains if chain.applied is not None}
    return {
        name: (each.apply(data.items), each.label_map if isinstance(each, HasLabelMap) else None)
        for name, each in fitted.items()
    }


def _check_calibrations(chains: Sequence[Chain], samples: Sequence[RowRecord], support: Sequence[RowRecord]) -> None:
    """Refuses calibrations that have too few rows with an answer.

    The other reasons for too few rows are known, and refused, before the model answers.
    """
    evaluated = sum(map(is_answered, samples))
    if not evaluated or not any(record.get("no_answer") for record in (*samples, *support)):
        return
    has_label = ["gold" in record for record in answered(support) if fit_row_of(record["id"])]
    counts = Counts(labels=len(chains[0].reader.labels), evaluated=evaluated, has_label=has_label)
    for calibration in calibrations_of(chains):
        check_calibration(calibration, counts)


def _result(chain: Chain, samples: Sequence[RowRecord], scores: Floats | None, label_map: LabelMap | None) -> Result:
    """Returns the results of a branch; without scores, the results of its first aligner alone."""
    outcome = chain.reader.outcome(samples, scores)
    return Result(
        align=chain.name,
        metrics=_metrics(outcome.metric_input),
        predicted=outcome.predicted,
        predictions=outcome.predictions,
        metric_input=outcome.metric_input,
        label_map=label_map,
    )


def label_notes(reader: OutputReader, results: Sequence[Result]) -> list[str]:
    """Returns the source classes of each label that were chosen by hand or by their names, one line for each label."""
    named = [(result.align, result.label_map.named) for result in results if result.label_map and result.label_map.named]
    by_name = [f"{align}, label {label}: {', '.join(sources)}" for align, labels in named for label, sources in labels.items()]
    return [*reader.notes(), *by_name]


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
    counts = {"no_answer": count_no_answer(samples), "seen_rows": count_seen(samples)}
    summary = {**title, "too_long": count_too_long(samples), **counts}
    summary["results"] = [result.to_json() for result in results]
    folder.finish(records, summary, tensors)
