"""Fits a predictor: stores everything that it takes from the rows of a task, so that it predicts new rows without the task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from promptkit.align.chain import Chain
from promptkit.collect.fit_data import StoredAnswers, collect_fit_data
from promptkit.collect.queries import Pass, Queries, build_queries, other_models_of
from promptkit.collect.records import Query
from promptkit.collect.requirements import (
    calibrations_of,
    check_calibration,
    check_fit_part,
    class_count,
    needs_of,
    rows_affecting_results,
    select_fit_rows,
    uses_fit_part,
)
from promptkit.core.caller import by_caller
from promptkit.core.errors import InputError, TaskError
from promptkit.core.examples import LabeledExample
from promptkit.core.fingerprints import Fingerprint
from promptkit.core.manipulation import Encode, Manipulation
from promptkit.core.model import Model
from promptkit.core.need_context import Counts, FitPart
from promptkit.core.needs import Needs
from promptkit.core.requests import Output
from promptkit.models.cache import ScoreCache
from promptkit.models.client import CachedModel
from promptkit.tasks.sampling import by_hash
from promptkit.tasks.task import Task

ESTIMATE_ROWS = 128
"""Number of rows that represent new rows while a calibration is fitted that selects no rows of the fit part."""


def unfitted_stages(manipulation: Manipulation, chain: Chain) -> list[str]:
    """Returns the parts of a predictor that take rows from a task: the demonstrations, or the calibration by its name."""
    demonstrations = ["the demonstrations"] if manipulation.parts else []
    uses_rows = any(need.uses_other_rows for need in needs_of((chain,)))
    return [*demonstrations, *([f"the calibration {chain.name}"] if uses_rows else [])]


def check_fitted(manipulation: Manipulation, chain: Chain, purpose: str) -> None:
    """Raises InputError if a part of a predictor takes rows from a task.

    Args:
        manipulation: The manipulation.
        chain: The aligners.
        purpose: What the predictor must be fitted for, such as `predict`.
    """
    stages = unfitted_stages(manipulation, chain)
    if stages:
        raise InputError(
            f"The predictor is not fitted: it takes {' and '.join(stages)} from the rows of a task",
            code="not-fitted",
            got=purpose,
            hint="Fit it first: " + by_caller(command="promptkit eval TASK ... --save FOLDER", python="predictor.fit(task)"),
            stages=tuple(stages),
            purpose=purpose,
        )


def fit_chain(chain: Chain, model: Model, encode: Encode, task: Task, cache: ScoreCache | None) -> Chain:
    """Fits the calibration of a chain on the fit part of a task's train split.

    Args:
        chain: The aligners.
        model: The model.
        encode: Renders rows, with the demonstrations of the fitted predictor.
        task: The task.
        cache: The score cache for the answers of the model.

    Raises:
        PromptkitError: There are too few rows, or the model does not support what the calibration needs.
    """
    if chain.calibration is None or chain.fitted is not None:
        return chain
    needs = needs_of((chain,))
    fit = by_hash(task.part("fit"), None) if uses_fit_part(needs) or _is_transductive(needs) else []
    part = FitPart(rows=fit, untested=fit)
    rows = _new_rows(needs, part, task)
    _check(chain, model, part, len(rows))
    ask = CachedModel(model, cache, purpose="Fitting the calibration")
    others = other_models_of(needs, cache)
    model_pass = Pass(model=model, chains=(chain,), encode=encode, ask=ask, part=part, other_models=others)
    examples = [row.unlabeled() for row in rows]
    queries = build_queries(
        model_pass,
        [
            Query(file="samples", id=example.id, example=example, rendered=rendered)
            for example, rendered in zip(examples, encode(examples), strict=True)
        ],
    )
    seen = frozenset(row.content for row in (*rows, *rows_affecting_results(needs, part)))
    outputs = dict(zip([query.id for query in queries.queries], ask(queries.requests), strict=True))
    return _fitted(chain, queries, outputs, fit, seen)


def _fitted(
    chain: Chain,
    queries: Queries,
    outputs: Mapping[str, Output],
    fit: Sequence[LabeledExample],
    fitted_on: frozenset[Fingerprint],
) -> Chain:
    """Returns the chain, fitted on the output of each query by its id."""
    samples = queries.row_records("samples", chain.reader, outputs)
    support = queries.row_records("support", chain.reader, outputs)
    read_outputs = queries.read_outputs(outputs)
    stored = StoredAnswers((chain,), samples, support, read_outputs)
    data = collect_fit_data((chain,), samples, support, read_outputs)
    shown = [query.rendered for query in queries.evaluated]
    return chain.fit(
        data,
        lambda need: need.fixed(stored, fit),
        one_context=not any(rendered.demos or rendered.dropped for rendered in shown),
        fitted_on=fitted_on,
    )


def _is_transductive(needs: Needs) -> bool:
    """Whether a calibration is fitted on the rows that it is applied to, so that fitting it in advance needs other rows."""
    return any(need.uses_other_rows and not need.uses_fit_part for need in needs)


def _new_rows(needs: Needs, part: FitPart, task: Task) -> list[LabeledExample]:
    """Returns the rows that represent the rows to predict while a calibration is fitted.

    For a transductive calibration these are all rows of the fit part. Others use them only for the context and the variables
    of rows.
    """
    if _is_transductive(needs):
        return [*part.rows]
    rows = select_fit_rows(needs, part) or part.rows[:ESTIMATE_ROWS]
    return [*rows] or by_hash(task.rows(task.spec.split), 1)


def _check(chain: Chain, model: Model, part: FitPart, rows: int) -> None:
    """Refuses a calibration that cannot be fitted on the rows."""
    counts = Counts(
        labels=len(chain.reader.labels), evaluated=rows, has_label=[True] * len(part.rows), classes=class_count(model)
    )
    for calibration in calibrations_of((chain,)):
        check_fit_part(calibration, part.rows)
        check_calibration(calibration, counts)
    if not rows:
        raise TaskError(
            f"There are no rows to fit the calibration {chain.name} on",
            code="empty-part",
            hint="Give the task more train rows",
            calibration=chain.name,
            part="fit",
        )
