"""The rows that aligners need in addition to the evaluated rows: content-free inputs, premises and rows of the fit part."""

from __future__ import annotations

from collections.abc import Sequence

from promptkit.core.alignment import Needs
from promptkit.core.examples import Example, LabeledExample
from promptkit.evaluation.content_free import content_free_queries
from promptkit.evaluation.fit_rows import select_fit_rows
from promptkit.predictor.predictor import BoundPredictor
from promptkit.runs.records import Query
from promptkit.runs.row_ids import FitRow, Premise
from promptkit.tasks.task import untested


def support_queries(
    bound: BoundPredictor, rows: Sequence[Query], needs: Needs, fit: Sequence[LabeledExample], evaluated: Sequence[Example]
) -> list[Query]:
    """Returns the queries of `support.jsonl`.

    Args:
        bound: The predictor.
        rows: Queries of the evaluated rows.
        needs: The needs of all calibrations.
        fit: Rows of the fit part.
        evaluated: All rows of the evaluated split. A row of the fit part with the inputs of one of them has no label.
    """
    premises = premise_queries(bound, rows) if needs.premise else []
    return [
        *content_free_queries(bound, rows, needs.content_free, fit),
        *premises,
        *fit_queries(bound, select_fit_rows(needs, fit, evaluated), {row.id for row in untested(fit, evaluated)}),
    ]


def premise_queries(bound: BoundPredictor, rows: Sequence[Query]) -> list[Query]:
    """Returns the query of the shared premise, or one for each row if rows have different choices."""
    queries = []
    for row in rows if rows[0].example.choices else rows[:1]:
        premise = Premise(row=row.id if row.example.choices else None)
        rendered = bound.apply.premise(row.example)
        queries.append(Query(file="support", id=str(premise), example=row.example, rendered=rendered))
    return queries


def fit_queries(bound: BoundPredictor, rows: Sequence[LabeledExample], may_see: set[str]) -> list[Query]:
    """Returns the queries of rows of the fit part, without those that are skipped because their prompts are too long.

    Args:
        bound: The predictor.
        rows: The rows.
        may_see: Ids of the rows whose labels may be used.
    """
    examples = [row.unlabeled() for row in rows]
    return [
        Query(
            file="support",
            id=str(FitRow(row=row.id)),
            example=example,
            rendered=rendered,
            gold=row if row.id in may_see else None,
        )
        for row, example, rendered in zip(rows, examples, bound.apply(examples), strict=True)
        if not rendered.skipped
    ]
