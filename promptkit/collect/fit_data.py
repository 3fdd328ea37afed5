"""Turns the records of a run into the data that calibrations are fitted on.

A fit sees model outputs and labels of the fit part. It never sees the label of an evaluated row, or of a row with the same
inputs as a row of the evaluated split.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from typing_extensions import override

from promptkit.align.chain import Chain
from promptkit.collect.read_outputs import ReadOutputs
from promptkit.collect.requirements import needs_of
from promptkit.core.answer_record import is_answered
from promptkit.core.errors import no_answer
from promptkit.core.need_context import context_id
from promptkit.core.needs import UNKNOWN, FitData, Need, Needs, Outputs, RowNeed, Stored, StoredFitRow
from promptkit.core.records import RowRecord, answered
from promptkit.needs.fit_rows import fit_row_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from promptkit.core.arrays import Floats

N = TypeVar("N", bound=Need[object])
V = TypeVar("V")


class StoredAnswers(Stored):
    """The answers of a run that needs may see.

    Args:
        chains: The branches.
        samples: Records of the evaluated rows. Records without an answer are left out.
        support: Records of the further rows.
        read_outputs: What was read in addition, if anything.
    """

    def __init__(
        self,
        chains: Sequence[Chain],
        samples: Sequence[RowRecord],
        support: Sequence[RowRecord],
        read_outputs: ReadOutputs | None,
    ) -> None:
        self._reader = chains[0].reader
        self._needs = needs_of(chains)
        self._row_needs = [need for need in self._needs if isinstance(need, RowNeed)]
        self._reads = read_outputs
        rows = answered(samples)
        self._evaluated = [record["id"] for record in rows]
        contexts = dict.fromkeys(context_id(record.get("demos", ())) for record in rows)
        self._contexts = {context: index for index, context in enumerate(contexts)}
        self._records = {record["id"]: record for record in (*support, *rows)}
        self._support = [record["id"] for record in answered(support)]

    @property
    @override
    def labels(self) -> tuple[str, ...]:
        return self._reader.labels

    @property
    @override
    def label_words(self) -> Mapping[str, str]:
        return self._reader.label_words()

    @property
    @override
    def needs(self) -> Needs:
        return self._needs

    @property
    @override
    def evaluated(self) -> Sequence[str]:
        return self._evaluated

    @property
    @override
    def contexts(self) -> Sequence[str]:
        return [*self._contexts]

    @cached_property
    @override
    def fit_rows(self) -> Sequence[StoredFitRow]:
        rows = [(record, fit_row_of(record)) for record in self._support]
        return [
            StoredFitRow(
                record=record, row=row, label=self._records[record].get("gold"), labels=_gold_labels(self._records[record])
            )
            for record, row in rows
            if row is not None
        ]

    @property
    @override
    def metadata(self) -> Mapping[str, object]:
        return {} if self._reads is None else self._reads.metadata

    def __contains__(self, record: str) -> bool:
        return record in self._records and is_answered(self._records[record])

    @override
    def outputs(self, records: Sequence[str]) -> Outputs:
        places = [self._contexts.get(context_id(self._records[record].get("demos", ())), UNKNOWN) for record in records]
        context = np.array(places, int) if self.labels else np.arange(len(records))
        reads = _Lazy(self._row_needs, lambda need: need.load_rows(self, records))
        return Outputs(logprobs=self.scores(records), context=context, reads=reads)

    @override
    def scores(self, records: Sequence[str]) -> Floats:
        found = [self._records[record] for record in records]
        for record in found:
            if not is_answered(record):
                raise no_answer("A calibration on further rows, such as content-free inputs or a premise,", row=record["id"])
        return self._reader.label_scores(found)

    @override
    def tensor(self, name: str) -> NDArray[np.float32]:
        assert self._reads is not None
        return self._reads.tensors[name]

    @override
    def positions(self, records: Sequence[str]) -> list[int]:
        assert self._reads is not None
        return self._reads.positions(records)


def _gold_labels(record: RowRecord) -> tuple[str, ...] | None:
    return tuple(record["gold_labels"]) if "gold_labels" in record else None


class _Lazy(Mapping[N, V]):
    """Values that are computed when they are looked up."""

    def __init__(self, keys: Sequence[N], value_of: Callable[[N], V]) -> None:
        self._keys, self._value_of = dict.fromkeys(keys), value_of
        self._values: dict[N, V] = {}

    def __getitem__(self, key: N) -> V:
        if key not in self._keys:
            raise KeyError(key)
        if key not in self._values:
            self._values[key] = self._value_of(key)
        return self._values[key]

    def __iter__(self) -> Iterator[N]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


def collect_fit_data(
    chains: Sequence[Chain], samples: Sequence[RowRecord], support: Sequence[RowRecord], read_outputs: ReadOutputs | None = None
) -> FitData:
    """Returns the data for fitting calibrations.

    Args:
        chains: The branches of the run.
        samples: Records of the evaluated rows. Their labels are not read.
        support: Records of the further rows. Rows of the fit part without an answer are left out.
        read_outputs: What was read in addition, if anything.
    """
    stored = StoredAnswers(chains, samples, support, read_outputs)
    values: Mapping[Need[object], object] = _Lazy(stored.needs, lambda need: need.load(stored))
    return FitData(labels=stored.labels, items=stored.outputs(stored.evaluated), values=values)
