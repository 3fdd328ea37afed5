"""Read requests, and the records of their answers in `outputs.jsonl`.

The ids of the records:

    read plan                 what is read
    0 of ID                   the first read request of the row whose record has that id
    input TENSOR KEY          the read request of an input that a need defines
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from promptkit.core.hashing import short_hash
from promptkit.core.need_context import KnownRead, ReadField
from promptkit.core.records import ReadRecord, RecordFile, fold_key, record_head
from promptkit.core.requests import ClassifyOutput, Output, ReadOutput, Request, is_finite
from promptkit.models.finite import not_finite

if TYPE_CHECKING:
    from numpy.typing import NDArray

    _Numbers = Sequence[float] | NDArray[np.float32]

READ_PLAN = "read plan"
"""The id of the first record: what is read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadQuery:
    """One read request of a run, and the record that will store its answer."""

    id: str
    """Id of the record."""
    request: Request
    widths: Mapping[ReadField, int]
    """The number of stored values of each field."""
    fold: int = 0
    """The fold, from 1; 0 without folds."""
    row: str | None = None
    """Id of the record of the row that is read; None for an input that a need defines."""

    file: ClassVar[RecordFile] = "outputs"

    @property
    def key(self) -> str:
        """The key of the record."""
        return fold_key(self.fold, self.id)


def row_read_id(number: int, record: str) -> str:
    """Returns the id of a read record: the number of the request within its row, and the id of the row's record."""
    return f"{number} of {record}"


def parsed_row_read(record_id: str) -> tuple[int, str]:
    """Returns the number of the request and the id of the row's record."""
    number, _, record = record_id.partition(" of ")
    return int(number), record


def input_read_id(tensor: str, key: str) -> str:
    """Returns the id of the record of an input that a need defines."""
    return f"input {tensor} {key}"


def read_record(query: ReadQuery, output: Output) -> ReadRecord:
    """Returns the record of log-probabilities and a hidden state.

    Raises:
        ModelError: If a number is not finite.
    """
    if not is_finite(output):
        raise not_finite(f"a number for row {query.id}", row=query.id)
    logprobs, hidden = _numbers(output)
    head = record_head(query.id, query.fold)
    return {**head, "question": _request_hash(query.request), "logprobs": _packed(logprobs), "hidden": _packed(hidden)}


def known_record(read: KnownRead, fold: int = 0) -> ReadRecord:
    """Returns the record of numbers that were known while reads were planned, for a fold."""
    numbers = _packed(read.numbers.numpy())
    logprobs, hidden = (numbers, "") if read.field == "logprobs" else ("", numbers)
    return {**record_head(input_read_id(read.tensor, read.key), fold), "question": "", "logprobs": logprobs, "hidden": hidden}


def is_complete_read(record: Mapping[str, object], query: ReadQuery) -> bool:
    """Returns whether a record of an earlier execution answers the query; the answer is computed again otherwise."""
    complete = all(_is_packed(record.get(key), query.widths.get(key, 0)) for key in ("logprobs", "hidden"))
    return complete and record.get("question") == _request_hash(query.request)


def unpacked(text: str) -> NDArray[np.float32]:
    """Returns the numbers of a field of a `ReadRecord`."""
    return np.frombuffer(base64.b64decode(text), "<f4")


def _numbers(output: Output) -> tuple[_Numbers, _Numbers]:
    """The log-probabilities and the hidden state of an output."""
    if isinstance(output, ClassifyOutput):
        return output.logprobs.numpy(), ()
    assert isinstance(output, ReadOutput)
    return output.logprobs, () if output.hidden is None else output.hidden.numpy()


def _request_hash(request: Request) -> str:
    return short_hash(f"{request.input.fingerprint()} {request.verb}")


def _packed(numbers: _Numbers) -> str:
    """Numbers as little-endian float32 in base64."""
    return base64.b64encode(np.array(numbers, "<f4").tobytes()).decode()


def _is_packed(value: object, count: int) -> bool:
    try:
        return isinstance(value, str) and len(base64.b64decode(value, validate=True)) == 4 * count
    except ValueError:
        return False
