"""Computes the results of each branch from the records of a run, and finishes its folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from promptkit.align.chain import Chain
from promptkit.align.labelmap.mapping import LabelMap, label_map_of
from promptkit.collect.collected import Collected, FoldOutputs
from promptkit.collect.fit_data import collect_fit_data
from promptkit.collect.read_outputs import to_bytes
from promptkit.collect.requirements import calibrations_of, check_calibration
from promptkit.core.answer_record import is_answered
from promptkit.core.metric_input import MetricInput
from promptkit.core.need_context import Counts
from promptkit.core.output_reader import OutputReader
from promptkit.core.records import answered
from promptkit.core.shown_text import label_text
from promptkit.evaluation.fit_warnings import fit_warnings
from promptkit.metrics.table import rounded_estimates
from promptkit.needs.fit_rows import fit_row_of
from promptkit.runs.branch_files import prediction_records, results_to_bytes
from promptkit.runs.folder import RESULTS, TENSORS, RunFolder
from promptkit.runs.result import Result
from promptkit.runs.row_warnings import count_no_answer, count_seen, count_too_long, row_warnings
from promptkit.runs.rows import EvaluatedRow
from promptkit.runs.schema import BranchSummary, RunResults, RunSettings, RunTitle

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats


DECIMALS = 9
"""Decimals of what calibrations compute: linear algebra and elementary functions differ between processors in the last digits,
and equal runs have equal files on all of them."""


def run_title(settings: RunSettings, rows: int) -> RunTitle:
    """Returns the title of a run.

    Args:
        settings: The settings of the run.
        rows: Number of evaluated rows.
    """
    task, model = str(settings["task"]["name"]), str(settings["model"]["name"])
    title = RunTitle(task=task, split=settings["split"], n=rows, model=model)
    return {**title, "folds": settings["folds"]} if "folds" in settings else title


def compute_results(chains: Sequence[Chain], collected: Collected) -> tuple[Result, ...]:
    """Returns the results of each branch. What is fitted for a fold is applied to the rows of this fold.

    Args:
        chains: The branches, which share their first aligner.
        collected: The outputs of the run.
    """
    folds = collected.folds()
    for fold in folds:
        _check_calibrations(chains, fold)
    fitted = [(fold, _fitted(chains, fold)) for fold in folds]
    return tuple(_result(chain, collected, [(fold, each[chain.name]) for fold, each in fitted]) for chain in chains)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fitted:
    """The outputs of a branch's calibration for the rows of a fold."""

    scores: Floats | None = None
    """The label scores of the rows with an answer, shape (rows with an answer, K); None without a calibration."""
    label_map: LabelMap | None = None


def _fitted(chains: Sequence[Chain], fold: FoldOutputs) -> dict[str, _Fitted]:
    """Returns the outputs of the calibration of each branch."""
    without = {chain.name: _Fitted() for chain in chains}
    if not answered(fold.samples) or not calibrations_of(chains):
        return without
    data = collect_fit_data(chains, fold.samples, fold.support, fold.read_outputs)
    fitted = {chain.name: chain.applied.fit(data) for chain in chains if chain.applied is not None}
    return without | {
        name: _Fitted(scores=rounded(each.apply(data.items)), label_map=_rounded_map(label_map_of(each)))
        for name, each in fitted.items()
    }


def rounded(values: Floats) -> Floats:
    """Returns numbers with `DECIMALS` decimals."""
    result: Floats = np.round(values, DECIMALS) + 0.0  # no negative zero
    return result


def _rounded_map(label_map: LabelMap | None) -> LabelMap | None:
    if label_map is None:
        return None
    bias = None if label_map.bias is None else rounded(label_map.bias)
    return replace(label_map, weights=rounded(label_map.weights), bias=bias)


def _rounded_input(inputs: MetricInput) -> MetricInput:
    """Returns the input of metrics with rounded log-probabilities and values."""
    values = None if inputs.predicted_values is None else rounded(inputs.predicted_values)
    return replace(inputs, logprobs=rounded(inputs.logprobs), predicted_values=values)


def _check_calibrations(chains: Sequence[Chain], fold: FoldOutputs) -> None:
    """Refuses calibrations that have too few rows with an answer.

    The other reasons for too few rows are known, and refused, before the model answers.
    """
    evaluated = sum(map(is_answered, fold.samples))
    if not evaluated or not any(record.get("no_answer") for record in (*fold.samples, *fold.support)):
        return
    has_label = ["gold" in record for record in answered(fold.support) if fit_row_of(record["id"])]
    counts = Counts(labels=len(chains[0].reader.labels), evaluated=evaluated, has_label=has_label)
    for calibration in calibrations_of(chains):
        check_calibration(calibration, counts)


def _joined_scores(collected: Collected, fitted: Sequence[tuple[FoldOutputs, _Fitted]]) -> Floats | None:
    """Returns the label scores of all rows with an answer, in the run's order; None without a calibration."""
    known = [(fold, each.scores) for fold, each in fitted if each.scores is not None]
    if not known:
        return None
    by_row = {
        position: scores[number]
        for fold, scores in known
        for number, position in enumerate(p for p in fold.positions if is_answered(collected.samples[p]))
    }
    width = max(len(row) for row in by_row.values())  # rows of a fold can have fewer choices than those of another
    padded = [np.pad(row, (0, width - len(row)), constant_values=-np.inf) for _, row in sorted(by_row.items())]
    return np.stack(padded)


def _result(chain: Chain, collected: Collected, fitted: Sequence[tuple[FoldOutputs, _Fitted]]) -> Result:
    """Returns the results of a branch; without scores, the results of its first aligner alone."""
    outcome = chain.reader.outcome(collected.samples, _joined_scores(collected, fitted))
    metric_input = _rounded_input(outcome.metric_input)
    if _differs_by_fold(chain, collected):
        metric_input = metric_input.with_folds([record.get("fold", 0) for record in collected.samples])
    return Result(
        align=chain.name,
        metrics=rounded_estimates(metric_input),
        predicted=outcome.predicted,
        predictions=outcome.predictions,
        metric_input=metric_input,
        label_maps={fold.fold: each.label_map for fold, each in fitted if each.label_map is not None},
    )


def _differs_by_fold(chain: Chain, collected: Collected) -> bool:
    """Returns whether a predictor of a fold can differ from those of others: by demonstrations, or by a fitted calibration."""
    return chain.applied is not None or any(record.get("demos") for record in collected.samples)


def fold_notes(folds: int) -> list[str]:
    """Returns a note on how the rows of a run with folds are predicted; none without folds."""
    return [f"{folds} folds: each row is predicted without its own label, from the rows of the other folds"] if folds else []


def label_notes(reader: OutputReader, results: Sequence[Result]) -> list[str]:
    """Returns the source classes of each label that were chosen by hand or by their names, one line for each label."""
    named = [(result.align, each.named) for result in results for each in result.label_maps.values() if each.named]
    by_name = [
        f"{align}, label {label_text(label)}: {', '.join(sources)}"
        for align, labels in named
        for label, sources in labels.items()
    ]
    return [*reader.notes(), *dict.fromkeys(by_name)]


def results_summary(title: RunTitle, chains: Sequence[Chain], collected: Collected, results: Sequence[Result]) -> RunResults:
    """Returns everything that `summary.json` says about a run.

    Args:
        title: The title of the run.
        chains: The branches.
        collected: The outputs of the run.
        results: The results of each branch.
    """
    samples, reader = collected.samples, chains[0].reader
    notes = [*fold_notes(title.get("folds", 0)), *label_notes(reader, results)]
    branches: list[BranchSummary] = [
        {"align": result.align, "metrics": result.metrics, "predicted": result.predicted} for result in results
    ]
    return {
        **title,
        "labels": list(reader.labels),
        "too_long": count_too_long(samples),
        "no_answer": count_no_answer(samples),
        "seen_rows": count_seen(samples),
        "notes": [*notes, *map(str, row_warnings(samples)), *fit_warnings(chains, collected)],
        "results": branches,
    }


def finish_run(
    folder: RunFolder, summary: RunResults, rows: Sequence[EvaluatedRow], collected: Collected, results: Sequence[Result]
) -> None:
    """Writes the final files of a run and marks it as finished.

    Args:
        folder: The run's folder.
        summary: The contents of the summary.
        rows: The evaluated rows.
        collected: The outputs of the run.
        results: The results of each branch.
    """
    predictions = prediction_records(rows, summary["labels"], results)
    records: dict[str, Iterable[Mapping[str, object]]] = {
        "samples": collected.samples,
        "support": collected.support,
        "predictions": predictions,
    }
    outputs = to_bytes(collected.read_outputs)
    tensors = {RESULTS: results_to_bytes(results), **({} if outputs is None else {TENSORS: outputs})}
    folder.finish(records, summary, tensors)
