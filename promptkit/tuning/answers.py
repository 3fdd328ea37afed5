"""The answers of one prompt to labeled rows, fold by fold, and the predictions of every alignment of these answers.

A row is answered with demonstrations from the other folds. An alignment that predicts the rows of a fold is fitted on the
answers to the rows of the other folds, each of which was answered with the prompt of its own fold. Alignments therefore need no
further requests, and the predictor for new rows is made in the same way: its prompt has demonstrations from all rows, and its
alignment is fitted on the answers to all rows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import numpy as np

from promptkit.align.chain import Chain
from promptkit.collect.fit_data import StoredAnswers, collect_fit_data
from promptkit.collect.queries import Pass, build_queries, other_models_of
from promptkit.collect.read_outputs import ReadOutputs
from promptkit.collect.read_records import ReadQuery, read_record, row_read_id
from promptkit.collect.records import Query, row_record, skipped_record
from promptkit.collect.requirements import needs_of
from promptkit.core.answer_record import is_answered
from promptkit.core.errors import InputError, TaskError
from promptkit.core.examples import LabeledExample
from promptkit.core.metric_input import MetricInput
from promptkit.core.model import Model
from promptkit.core.records import ReadPlanRecord, ReadRecord, RowRecord, answered
from promptkit.core.requests import Output, Request
from promptkit.models.cache import ScoreCache
from promptkit.models.client import CachedModel
from promptkit.needs.fit_rows import fit_id
from promptkit.predictor.bound import BoundPredictor
from promptkit.predictor.columns import Columns
from promptkit.predictor.predictor import Predictor
from promptkit.tuning.folds import TuningRows
from promptkit.tuning.learned import FoldTraining

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats

TOO_FEW = (InputError, TaskError)
"""The errors of an alignment that cannot be fitted on the rows that are answered so far."""


@dataclass(slots=True)
class _FoldAnswers:
    """The records of the answers to rows of one fold."""

    bound: BoundPredictor
    """The prompt of the fold, with demonstrations from the other folds."""
    samples: dict[str, RowRecord] = field(default_factory=dict)
    """The record of each row, by its id."""
    support: dict[str, RowRecord] = field(default_factory=dict)
    """The records of further inputs that alignments need, by id."""
    read_plan: Sequence[ReadPlanRecord | ReadRecord] = ()
    """What is read in addition to answers, and numbers that are known without a request."""
    row_reads: dict[str, list[ReadRecord]] = field(default_factory=lambda: defaultdict(list))
    """What was read for each row, by the id of the row, in the order of the requests."""
    input_reads: dict[str, ReadRecord] = field(default_factory=dict)
    """What was read for inputs that alignments define, by id."""
    sent: dict[str, Request] = field(default_factory=dict)
    """The requests that were answered, by the id of the query; alignments send the same requests in every block."""


class PromptAnswers:
    """The answers of one prompt to labeled rows, and the predictions of alignments of these answers.

    Args:
        predictor: The model, the prompt and the first aligner.
        chains: The alignments, which share the first aligner. What they read besides answers may not depend on labeled rows.
        rows: The labeled rows and their folds.
        cache: The score cache; None for none.
        builder: Answers the requests that prompts are built by, such as embeddings of the rows; prompts of the same model
            share it, so that equal requests are sent once. By default a new one.
        training: Trains the manipulations of the prompt in each fold; None if it has none to train.
    """

    def __init__(
        self,
        predictor: Predictor,
        chains: Sequence[Chain],
        rows: TuningRows,
        cache: ScoreCache | None,
        builder: CachedModel | None = None,
        training: FoldTraining | None = None,
    ) -> None:
        self._training = training
        self._predictor, self._chains, self._rows, self._cache = predictor, tuple(chains), rows, cache
        self._ask = CachedModel(predictor.model, cache, purpose=None)
        self._builder = builder_of(predictor.model, cache) if builder is None else builder
        self._folds: dict[int, _FoldAnswers] = {}
        self._count = 0
        self._known: dict[tuple[str, int, int], Chain] = {}
        """Name of an alignment, fold, and number of rows -> the alignment that was fitted on these rows of the other folds."""

    @property
    def requests(self) -> int:
        """The number of requests so far, including cached ones, requests while prompts are built, and those of training."""
        return sum(each.computed + each.cached for each in (self._ask, self._builder)) + self.trained

    @property
    def tokens(self) -> int:
        """The number of tokens of the prompts so far, including those of training."""
        return round(self.tokens_per_row * (self._count + self.trained))

    @property
    def trained(self) -> int:
        """The number of requests that training counts as."""
        return 0 if self._training is None else self._training.requests

    @property
    def tokens_per_row(self) -> float:
        """The mean number of tokens of the prompts; 0 for images."""
        counts = [record.get("tokens", 0) for each in self._folds.values() for record in each.samples.values()]
        return sum(counts) / max(1, len(counts))

    def answer(self, count: int) -> None:
        """Answers further rows, until the first `count` rows in the order of the race are answered.

        Manipulations are trained for every fold before the first row is answered.
        """
        if self._training is not None:
            self._training.train()
        new: dict[int, list[LabeledExample]] = defaultdict(list)
        for index in range(self._count, count):
            new[self._rows.folds[index]].append(self._rows.rows[index])
        for fold, rows in sorted(new.items()):  # separately, because the prompts of a fold begin with the same demonstrations
            new_requests = self._new(fold, self._requests(fold, rows))
            outputs = self._ask([request for _, request in new_requests])
            for (query, _), output in zip(new_requests, outputs, strict=True):
                self._keep(query, output)
        self._count = max(self._count, count)

    def predictions(self, chain: Chain, *, fit_rows: int | None = None) -> MetricInput | None:
        """Returns the predictions of an alignment for the answered rows, in the order of the race.

        The rows of each fold are predicted by the alignment that is fitted on the answered rows of the other folds.

        Args:
            chain: The alignment.
            fit_rows: It is fitted only on rows among the first ones in the order of the race, so many; on all if None.

        Returns:
            None if the alignment cannot be fitted on so few rows.
        """
        try:
            scores = {} if chain.calibration is None else self._scores(chain, fit_rows)
        except TOO_FEW:
            return None
        samples = [self._sample(index) for index in range(self._count)]
        return chain.reader.outcome(samples, _stacked(samples, scores)).metric_input

    def fitted(self, chain: Chain) -> Predictor:
        """Returns the predictor for new rows, which has demonstrations from all rows, and manipulations trained on them.

        Its alignment is fitted on the answers to all answered rows.
        """
        task, predictor = self._rows.task_of_all(), self._predictor_of(0)
        manipulation = predictor.manipulate.fit(predictor.bind_context(task, cache=self._cache))
        return predictor.with_stages(manipulation, self._fit(chain, sorted(self._folds), self._count), Columns.of_task(task))

    def _predictor_of(self, fold: int) -> Predictor:
        """Returns the predictor with the manipulations that are trained for a fold; 0 for all rows."""
        return self._predictor if self._training is None else self._training.predictor(fold)

    def prompt_of_first_row(self) -> str:
        """Returns the prompt of the first row as the model reads it; an empty text for images."""
        row = self._rows.rows[0]
        rendered = self._folds[self._rows.folds[0]].bound.encode([row.unlabeled()])[0]
        return "".join(piece.text for piece in rendered.pieces)

    def _sample(self, index: int) -> RowRecord:
        return self._folds[self._rows.folds[index]].samples[self._rows.rows[index].id]

    # ---- requests ------------------------------------------------------------------------------------------

    def _requests(self, fold: int, rows: Sequence[LabeledExample]) -> Iterable[tuple[Query | ReadQuery, Request]]:
        """Returns the requests for further rows of a fold, after it has stored what is known without a request."""
        if fold not in self._folds:
            task = self._rows.task_of_fold(fold)
            self._folds[fold] = _FoldAnswers(self._predictor_of(fold).bind(task, ask=self._builder, cache=self._cache))
        answers = self._folds[fold]
        examples = [row.unlabeled() for row in rows]
        queries = [
            Query(file="samples", id=example.id, example=example, rendered=rendered, gold=row, fold=fold)
            for example, row, rendered in zip(examples, rows, answers.bound.encode(examples), strict=True)
        ]
        reader = self._predictor.reader
        answers.samples |= {query.id: skipped_record(query, reader) for query in queries if query.rendered.skipped}
        if all(query.rendered.skipped for query in queries):
            return ()
        planned = build_queries(self._pass(fold, answers), queries)
        answers.read_plan = planned.read_plan.records()
        return zip(planned.queries, planned.requests, strict=True)

    def _new(self, fold: int, requests: Iterable[tuple[Query | ReadQuery, Request]]) -> list[tuple[Query | ReadQuery, Request]]:
        """Returns the requests that were not answered with an earlier block."""
        known = self._folds[fold].sent
        new = [(query, request) for query, request in requests if known.get(query.id) != request]
        known |= {query.id: request for query, request in new}
        return new

    def _pass(self, fold: int, answers: _FoldAnswers) -> Pass:
        return Pass(
            model=self._predictor.model,
            chains=self._chains,
            encode=answers.bound.encode,
            ask=self._ask,
            other_models=other_models_of(needs_of(self._chains), self._cache),
            fold=fold,
        )

    def _keep(self, query: Query | ReadQuery, output: Output) -> None:
        """Stores the record of an answer."""
        answers = self._folds[query.fold]
        if isinstance(query, Query):
            records = answers.samples if query.file == "samples" else answers.support
            records[query.id] = row_record(query, self._predictor.reader, output)
        elif query.row is None:
            answers.input_reads[query.id] = read_record(query, output)
        else:
            answers.row_reads[query.row].append(read_record(query, output))

    # ---- alignments ----------------------------------------------------------------------------------------

    def _scores(self, chain: Chain, fit_rows: int | None) -> dict[str, Sequence[float]]:
        """Returns the label scores of every row with an answer, by its id."""
        scores: dict[str, Sequence[float]] = {}
        first = self._count if fit_rows is None else fit_rows
        for fold in sorted(self._folds):
            records = answered([*self._folds[fold].samples.values()])
            if records:
                fitted = self._fitted_once(chain, fold, first)
                assert fitted.applied is not None
                support = [*self._folds[fold].support.values()]
                data = collect_fit_data((fitted,), records, support, self._reads([fold], records))
                rows = fitted.applied.fit(data).apply(data.items).tolist()
                scores |= dict(zip([record["id"] for record in records], rows, strict=True))
        return scores

    def _fitted_once(self, chain: Chain, fold: int, first: int) -> Chain:
        """Returns an alignment for a fold that is fitted on the other folds' rows among the first ones, and keeps it."""
        key = chain.name, fold, first
        if key not in self._known:
            self._known[key] = self._fit(chain, [other for other in sorted(self._folds) if other != fold], first)
        return self._known[key]

    def _fit(self, chain: Chain, folds: Sequence[int], first: int) -> Chain:
        """Returns an alignment that is fitted on the rows of some folds among the first ones in the order of the race."""
        if chain.is_fitted:
            return chain
        samples = self._samples(folds, first)
        further = {name: record for fold in folds for name, record in self._folds[fold].support.items()}
        support = [*further.values(), *(_as_fit_row(record) for record in samples)]
        reads = self._reads(folds, samples, also_as_fit_rows=True)
        stored = StoredAnswers(self._chains, samples, support, reads)
        ids = {record["id"] for record in samples}
        rows = [row for row in self._rows.rows if row.id in ids]
        return chain.fit(
            collect_fit_data(self._chains, samples, support, reads),
            lambda need: need.fixed(stored, rows),
            one_context=not any(record.get("demos") or record.get("dropped") for record in samples),
            fitted_on=frozenset(row.content for row in rows),
        )

    def _samples(self, folds: Sequence[int], first: int) -> list[RowRecord]:
        """Returns the records of the rows of some folds among the first ones, in the order of the race."""
        samples = [self._sample(index) for index in range(min(first, self._count)) if self._rows.folds[index] in folds]
        return answered(samples)

    def _reads(
        self, folds: Sequence[int], samples: Sequence[RowRecord], *, also_as_fit_rows: bool = False
    ) -> ReadOutputs | None:
        """Returns what was read for answered rows, and for inputs that alignments define.

        Args:
            folds: The folds of the rows.
            samples: The records of the rows.
            also_as_fit_rows: Whether to repeat the reads of each row under the id that it has as a row to fit on.
        """
        found = [self._folds[fold] for fold in folds if self._folds[fold].read_plan]
        if not found:
            return None
        names = [record["id"] for record in samples]
        by_row = {row: reads for answers in found for row, reads in answers.row_reads.items()}
        renamed = [(name, name) for name in names] + [(name, fit_id(name)) for name in names if also_as_fit_rows]
        of_rows: list[ReadRecord] = [
            {**record, "id": row_read_id(number, new)} for name, new in renamed for number, record in enumerate(by_row[name])
        ]
        of_inputs = [*found[0].input_reads.values()]
        return ReadOutputs.from_records([*found[0].read_plan, *of_rows, *of_inputs])


def builder_of(model: Model, cache: ScoreCache | None) -> CachedModel:
    """Returns what answers the requests that the prompts of a model are built by."""
    return CachedModel(model, cache, purpose=None, remember=True)


def _as_fit_row(record: RowRecord) -> RowRecord:
    """Returns the record of an answered row as the record of a row that an alignment is fitted on."""
    return cast("RowRecord", {**record, "id": fit_id(record["id"])})


def _stacked(samples: Sequence[RowRecord], scores: dict[str, Sequence[float]]) -> Floats | None:
    """Returns the label scores of the rows with an answer, padded to the largest number of choices; None without scores."""
    if not scores:
        return None
    rows = [scores[record["id"]] for record in samples if is_answered(record)]
    width = max(map(len, rows))
    return np.array([[*row, *[-np.inf] * (width - len(row))] for row in rows])
