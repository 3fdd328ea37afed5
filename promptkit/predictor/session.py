"""Predicts rows in chunks. What all rows share is computed only once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from promptkit.align.chain import Chain
from promptkit.collect.fit_data import collect_fit_data
from promptkit.collect.queries import Pass, Queries, build_queries, other_models_of
from promptkit.collect.records import Query, row_record
from promptkit.collect.requirements import needs_of
from promptkit.core.errors import InputError, PromptkitError, TaskError, TemplateError
from promptkit.core.examples import Example
from promptkit.core.manipulation import Encode
from promptkit.core.model import KeepsPrefixes, Model
from promptkit.core.records import RowRecord, answered
from promptkit.core.rendered import Rendered
from promptkit.core.requests import Output, Request
from promptkit.core.sequences import common_prefix_length
from promptkit.display.progress import Progress
from promptkit.models.client import CachedModel
from promptkit.predictor.columns import Columns
from promptkit.predictor.predictions import Predictions
from promptkit.tasks.readers import Row

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats

KEPT_CONTEXTS = 256
"""Number of contexts for which a session caches the answers to further inputs of aligners, such as content-free texts."""
ROW_ERRORS = (InputError, TaskError, TemplateError)
"""The errors that a single row can cause. Others, such as a model that fails, stop a prediction."""
UNSTABLE_TOKENS = 4
"""Number of tokens at the end of a prompt that are never part of the common prefix, because another row may change them."""
SKIPPED = "The prompt does not fit the model's context"
"""The error of a row whose prompt is skipped."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A row that has no prediction."""

    reason: str
    """Why, as a message for the user."""

    @classmethod
    def of(cls, error: PromptkitError) -> Unreadable:
        """Returns the row that causes an error."""
        return cls(str(error))


class Session:
    """Predicts rows with one predictor.

    The prediction for a row does not depend on the chunks before it, so that an interrupted prediction can be continued with
    the same result.

    Args:
        model: The model.
        chain: The aligners, which must need no labeled rows.
        encode: Renders rows.
        ask: The model, which aligners may query while requests are planned.
        sample: A row with short inputs. An error that it causes too comes from the prompt, and not from a single row.
        keep_prefix: Whether the model caches its computation for the common prefix of the prompts, so that single rows are
            answered fast. Outputs then differ by rounding (1e-4) from outputs without the cache.
    """

    def __init__(
        self, model: Model, chain: Chain, encode: Encode, ask: CachedModel, sample: Example, *, keep_prefix: bool = False
    ) -> None:
        self._model, self._chain, self._sample, self._ask = model, chain, sample, ask
        self._keep_prefix = keep_prefix and isinstance(model, KeepsPrefixes)
        self._prefix: tuple[int, ...] | None = None
        """The common prefix of the token ids of all prompts so far; None before the first one."""
        others = other_models_of(needs_of((chain,)), None)
        self._pass = Pass(model=model, chains=(chain,), encode=encode, ask=ask, other_models=others)
        self._kept: OrderedDict[tuple[Request, ...], list[Output]] = OrderedDict()
        """The answers to the further inputs in the latest contexts."""
        self._codes_of_rows: set[str] = set()
        """The codes of errors that the sample row does not cause."""

    def predict(self, rows: Sequence[Example | Unreadable], progress: Progress | None = None) -> Predictions:
        """Predicts rows, which are computed together.

        Args:
            rows: The rows. Unreadable rows have an error instead of a prediction.
            progress: Called after each batch of the model with the number of finished rows and of all rows.

        Raises:
            PromptkitError: The model fails, or does not support a request.
        """
        rendered = self._render(rows)
        queries = self._queries(rows, rendered)
        with self._reusing_prefix(rendered):
            outputs = {} if queries is None else self._outputs(queries, _of_rows(progress, len(rows)))
        records: list[RowRecord] = []
        errors = [prompt.reason if isinstance(prompt, Unreadable) else None for prompt in rendered]
        for query in [] if queries is None else queries.evaluated:
            record = self._record(query, outputs[query.id])
            if isinstance(record, Unreadable):
                errors[int(query.id)] = record.reason
            else:
                records.append(record)
        scores = None if queries is None else self._scores(records, queries, outputs)
        return Predictions.of_answers(self._chain.reader.answers(records, scores), self._chain.reader.labels, errors)

    # ---- rows and requests -----------------------------------------------------------------------

    def _render(self, rows: Sequence[Example | Unreadable]) -> list[Rendered | Unreadable]:
        """Renders the rows; a row that cannot be rendered, or whose prompt does not fit, has no prediction."""
        examples = [row for row in rows if isinstance(row, Example)]
        prompts = iter(self._encode(examples))
        return [next(prompts) if isinstance(row, Example) else row for row in rows]

    def _encode(self, examples: Sequence[Example]) -> list[Rendered | Unreadable]:
        """Renders rows together; if that fails, in halves, down to the rows that cause it."""
        if not examples:
            return []
        try:
            prompts = self._pass.encode(examples)
        except ROW_ERRORS as error:
            if len(examples) == 1:
                self._check_sample(error)
                return [Unreadable.of(error)]
            half = len(examples) // 2
            return [*self._encode(examples[:half]), *self._encode(examples[half:])]
        return [Unreadable(SKIPPED) if prompt.skipped else prompt for prompt in prompts]

    def _check_sample(self, error: PromptkitError) -> None:
        """Raises the error of a row if the sample row causes it too: it comes from the prompt, and every row would cause it."""
        if error.code not in self._codes_of_rows:
            try:
                self._pass.encode([self._sample])
            except ROW_ERRORS as other:
                if other.code == error.code:
                    raise error from None
            self._codes_of_rows.add(error.code)

    def _reusing_prefix(self, rendered: Sequence[Rendered | Unreadable]) -> AbstractContextManager[None]:
        """Returns a context manager within which the model reuses the common prefix of all prompts so far."""
        prompts = [prompt.text.ids for prompt in rendered if isinstance(prompt, Rendered)] if self._keep_prefix else []
        if not (prompts and isinstance(self._model, KeepsPrefixes)):
            return nullcontext()
        if self._prefix is None:
            self._prefix = prompts[0]
            if not self._ask.computed:  # rendering a row does not query the model
                prompts += [prompt.text.ids for prompt in self._encode([self._sample]) if isinstance(prompt, Rendered)]
        for ids in prompts:
            length = min(common_prefix_length(self._prefix, ids), len(ids) - UNSTABLE_TOKENS)
            self._prefix = self._prefix[: max(0, length)]
        return self._model.reusing(self._prefix)

    def _queries(self, rows: Sequence[Example | Unreadable], rendered: Sequence[Rendered | Unreadable]) -> Queries | None:
        """Returns the requests for the rows that are rendered; None if there are none. The id of a query is its row's index."""
        pairs = enumerate(zip(rows, rendered, strict=True))
        queries = [
            Query(file="samples", id=str(index), example=row, rendered=prompt)
            for index, (row, prompt) in pairs
            if isinstance(row, Example) and isinstance(prompt, Rendered)
        ]
        return build_queries(self._pass, queries) if queries else None

    def _outputs(self, queries: Queries, progress: Progress) -> dict[str, Output]:
        """Returns the output of each query by its id.

        Further inputs without answer choices are the same for all rows of a context. They are computed separately, so
        that their outputs can be kept, and do not change the batches of the rows.
        """
        requests = dict(zip([query.id for query in queries.queries], queries.requests, strict=True))
        shared: dict[tuple[str, ...], list[str]] = {}
        for query in queries.queries:
            if isinstance(query, Query) and query.file == "support" and not query.example.choices:
                shared.setdefault(query.rendered.demos, []).append(query.id)
        outputs: dict[str, Output] = {}
        for ids in shared.values():
            outputs.update(zip(ids, self._kept_outputs(tuple(requests[i] for i in ids)), strict=True))
        others = [query_id for query_id in requests if query_id not in outputs]
        outputs.update(zip(others, answer_all(self._model, [requests[i] for i in others], progress), strict=True))
        return outputs

    def _kept_outputs(self, requests: tuple[Request, ...]) -> list[Output]:
        """Returns the outputs of requests that later rows may need again."""
        if requests not in self._kept:
            self._kept[requests] = answer_all(self._model, requests, _ignore)
            if len(self._kept) > KEPT_CONTEXTS:
                self._kept.popitem(last=False)
        self._kept.move_to_end(requests)
        return self._kept[requests]

    # ---- answers -----------------------------------------------------------------------------------

    def _record(self, query: Query, output: Output) -> RowRecord | Unreadable:
        try:
            return row_record(query, self._chain.reader, output)
        except ROW_ERRORS as error:
            return Unreadable.of(error)

    def _scores(self, records: Sequence[RowRecord], queries: Queries, outputs: dict[str, Output]) -> Floats | None:
        """Returns the label scores of the later aligner for the rows that have an answer; None without one."""
        calibration = self._chain.applied
        if calibration is None or not answered(records):
            return None
        support = queries.row_records("support", self._chain.reader, outputs)
        data = collect_fit_data((self._chain,), records, support, queries.read_outputs(outputs))
        return calibration.fit(data).apply(data.items)


def read_rows(columns: Columns, rows: Sequence[Row], first: int, folder: Path) -> list[Example | Unreadable]:
    """Returns rows as examples; one that cannot be read is `Unreadable`.

    Args:
        columns: The columns that are read.
        rows: The rows, as mappings from columns to values.
        first: The number of the first row, for error messages.
        folder: The folder that the paths of images are relative to.
    """
    examples: list[Example | Unreadable] = []
    for number, row in enumerate(rows, start=first):
        try:
            examples.append(columns.example(row, f"row {number}", folder))
        except TaskError as error:
            examples.append(Unreadable.of(error))
    return examples


def answer_all(model: Model, requests: Sequence[Request], progress: Progress) -> list[Output]:
    """Returns the outputs of requests in their order; equal requests are computed once.

    Args:
        model: The model; its weights are loaded if they are not.
        requests: The requests.
        progress: Called after each batch with the number of answered requests and of all requests.
    """
    distinct = [*dict.fromkeys(requests)]
    model.check_supported(distinct)
    model.load()
    outputs: dict[Request, Output] = {}
    for indices, answers in model.answer(distinct):
        outputs.update(zip([distinct[index] for index in indices], answers, strict=True))
        progress(len(outputs), len(distinct))
    return [outputs[request] for request in requests]


def _of_rows(progress: Progress | None, rows: int) -> Progress:
    """Returns the progress of requests, as that of a number of rows."""
    return _ignore if progress is None else lambda done, total: progress(rows * done // total, rows)


def _ignore(done: int, total: int) -> None:
    pass
