"""The model requests of a pass, in order: rows to answer, further rows that aligners need, and what else is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from promptkit.align.chain import Chain
from promptkit.collect.read_outputs import ReadOutputs
from promptkit.collect.read_plan import ReadPlan, plan_reads
from promptkit.collect.read_records import ReadQuery, read_record
from promptkit.collect.records import Query, row_record
from promptkit.collect.requirements import (
    calibrations_of,
    check_calibration,
    check_fit_part,
    class_count,
    needs_of,
    select_fit_rows,
)
from promptkit.collect.support import fit_rows, further_rows
from promptkit.core.errors import TaskError
from promptkit.core.manipulation import Ask, Encode
from promptkit.core.model import Model
from promptkit.core.need_context import Counts, FitPart, NeedContext, PromptedRow
from promptkit.core.needs import Needs
from promptkit.core.output_reader import OutputReader
from promptkit.core.records import RecordFile, RowRecord
from promptkit.core.rendered import Rendered
from promptkit.core.requests import Output, Request
from promptkit.models.cache import ScoreCache
from promptkit.models.client import CachedModel
from promptkit.models.registry import load

T = TypeVar("T")

NO_FIT_PART = FitPart(rows=(), untested=())
"""The fit part of a pass whose aligners need no labeled rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """A pass of a model over rows: the aligners that it is for, and the rows that they may be fitted on."""

    model: Model
    """The model that answers the rows."""
    chains: tuple[Chain, ...]
    """The aligners, which share their first one."""
    encode: Encode
    """Renders rows."""
    ask: Ask
    """The model, which needs may query while the pass is planned."""
    part: FitPart = NO_FIT_PART
    """The rows of the fit part, if aligners use them."""
    other_models: Mapping[str, Ask] = field(default_factory=dict)
    """The models that needs query besides the one that answers, by name; see `other_models_of`."""
    fold: int = 0
    """The fold whose rows are answered, from 1; 0 without folds."""

    @property
    def reader(self) -> OutputReader:
        """The first aligner."""
        return self.chains[0].reader

    @property
    def needs(self) -> Needs:
        """The needs of all aligners and the needs that they require."""
        return needs_of(self.chains)


def other_models_of(needs: Needs, cache: ScoreCache | None) -> dict[str, Ask]:
    """Loads the models that needs query besides the one that answers, by name.

    Args:
        needs: The needs.
        cache: The score cache for their requests.
    """
    return {name: CachedModel(load(name), cache) for need in needs for name in need.models}


@dataclass(frozen=True, slots=True, kw_only=True)
class Queries:
    """The model requests of a pass."""

    queries: Sequence[Query | ReadQuery]
    requests: Sequence[Request]
    """The request of each query."""
    evaluated: Sequence[Query]
    """The queries of all rows to answer, in their order, including skipped rows, which `queries` leaves out."""
    read_plan: ReadPlan
    """What is read in addition to answers."""

    def row_records(self, file: RecordFile, reader: OutputReader, outputs: Mapping[str, Output]) -> list[RowRecord]:
        """Returns the records of the answers to the rows of a file.

        Args:
            file: The file, `samples` or `support`.
            reader: The first aligner, which reads the answers.
            outputs: The output of each query by its id.
        """
        rows = [query for query in self.queries if isinstance(query, Query) and query.file == file]
        return [row_record(query, reader, outputs[query.id]) for query in rows]

    def read_outputs(self, outputs: Mapping[str, Output]) -> ReadOutputs | None:
        """Returns what was read in addition to answers, if anything, given the output of each query by its id."""
        reads = [query for query in self.queries if isinstance(query, ReadQuery)]
        return ReadOutputs.from_records(
            [*self.read_plan.records(), *(read_record(query, outputs[query.id]) for query in reads)]
        )


def build_queries(model_pass: Pass, evaluated: Sequence[Query]) -> Queries:
    """Plans what a pass requests from the model.

    Args:
        model_pass: The pass.
        evaluated: The rows to answer, with their prompts.

    Raises:
        TaskError: All rows are skipped (`all-rows-skipped`).
        InputError: An aligner cannot be fitted, because too few rows are left.
    """
    sent = [query for query, _ in sent_rows(evaluated, [query.rendered for query in evaluated])]
    need_context = _need_context(model_pass, sent)
    support = [*further_rows(need_context, model_pass.needs), *need_context.fit_rows]
    _check_calibrations(model_pass, len(evaluated), len(sent), need_context.fit_rows)
    read_plan = plan_reads(model_pass.needs, need_context)
    rows = [*sent, *(_support_query(row, model_pass.fold) for row in support)]
    reads = read_plan.queries([*sent, *need_context.fit_rows], model_pass.fold)
    requests = [row.rendered.request(model_pass.reader.request(row.example, row.rendered)) for row in rows]
    return Queries(
        queries=[*rows, *reads],
        requests=[*requests, *(read.request for read in reads)],
        evaluated=evaluated,
        read_plan=read_plan,
    )


def sent_rows(rows: Sequence[T], rendered: Sequence[Rendered]) -> list[tuple[T, Rendered]]:
    """Returns the rows that are not skipped, with their prompts.

    Args:
        rows: The rows.
        rendered: The prompt of each row.

    Raises:
        TaskError: All rows are skipped.
    """
    sent = [(row, prompt) for row, prompt in zip(rows, rendered, strict=True) if not prompt.skipped]
    if rendered and not sent:
        shortest = min(len(prompt.text.ids) for prompt in rendered)
        raise TaskError(
            f"All {len(rows)} rows are skipped, because none fits the model's context: the shortest prompt has {shortest} "
            "tokens",
            code="all-rows-skipped",
            hint="Use fewer demonstrations, a shorter instruction, or a model with a longer context",
            rows=len(rows),
            tokens=shortest,
        )
    return sent


def _need_context(model_pass: Pass, sent: Sequence[Query]) -> NeedContext:
    return NeedContext(
        encode=model_pass.encode,
        ask=model_pass.ask,
        evaluated=[PromptedRow(id=query.id, example=query.example, rendered=query.rendered) for query in sent],
        fit_rows=fit_rows(model_pass.encode, model_pass.needs, model_pass.part),
        fit=model_pass.part.rows,
        label_words=model_pass.reader.label_words(),
        source_classes=model_pass.reader.source_classes(),
        other_models=model_pass.other_models,
    )


def _support_query(row: PromptedRow, fold: int) -> Query:
    return Query(file="support", id=row.id, example=row.example, rendered=row.rendered, gold=row.gold, fold=fold)


def _check_calibrations(model_pass: Pass, evaluated: int, sent: int, fit: Sequence[PromptedRow]) -> None:
    """Refuses calibrations that have too few rows left after rows are skipped.

    Args:
        model_pass: The pass, whose calibrations were checked with all rows.
        evaluated: Number of rows to answer.
        sent: Number of these rows that are not skipped.
        fit: The selected rows of the fit part that are not skipped.
    """
    if (sent, len(fit)) == (evaluated, len(select_fit_rows(model_pass.needs, model_pass.part))):
        return
    has_label = [row.gold is not None for row in fit]
    labels, classes = len(model_pass.reader.labels), class_count(model_pass.model)
    counts = Counts(labels=labels, evaluated=sent, has_label=has_label, classes=classes)
    for calibration in calibrations_of(model_pass.chains):
        if any(need.select(model_pass.part) for need in calibration.needs):
            check_fit_part(calibration, [row.example for row in fit])
        check_calibration(calibration, counts)
