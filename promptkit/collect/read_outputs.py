"""What a run has read in addition to answers, as tensors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, cast

import numpy as np

from promptkit.collect.read_records import READ_PLAN, input_read_id, parsed_row_read, unpacked
from promptkit.core.need_context import ReadField
from promptkit.core.records import ReadPlanRecord, ReadRecord

if TYPE_CHECKING:
    from numpy.typing import NDArray

METADATA = "read_plan"
"""The key of the metadata in the file of tensors."""
ALWAYS: Mapping[str, Sequence[object]] = {"token_ids": (), "names": (), "sets": (), "layers": (), "texts": ()}
"""The metadata that every file has, in this order, with the values for a run without such reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOutputs:
    """What a run has read in addition to answers."""

    metadata: Mapping[str, object]
    """The metadata of needs, and `rows`: the ids of the rows' records."""
    tensors: Mapping[str, NDArray[np.float32]]
    """Tensor -> values. The first axis is the row or the input."""

    @classmethod
    def from_records(cls, records: Sequence[ReadRecord | ReadPlanRecord]) -> Self | None:
        """Returns the outputs in records of `outputs.jsonl`, which must be in the run's order; None if there are no records."""
        if not records:
            return None
        plan = cast("ReadPlanRecord", records[0])
        reads = {record["id"]: record for record in cast("Sequence[ReadRecord]", records[1:])}
        input_ids = {name: [input_read_id(name, key) for key in tensor["keys"]] for name, tensor in plan["inputs"].items()}
        of_inputs = {record_id for ids in input_ids.values() for record_id in ids}
        by_request: dict[int, list[ReadRecord]] = {}
        for record_id, record in reads.items():
            if record_id not in of_inputs:
                by_request.setdefault(parsed_row_read(record_id)[0], []).append(record)
        tensors = {name: _stacked(by_request[number], field) for name, (number, field) in plan["rows"].items()}
        tensors |= {name: _stacked([reads[i] for i in ids], plan["inputs"][name]["field"]) for name, ids in input_ids.items()}
        rows = [parsed_row_read(record["id"])[1] for record in by_request.get(0, ())]
        return cls(metadata={"id": READ_PLAN, **ALWAYS, **plan["metadata"], "rows": rows}, tensors=tensors)

    def positions(self, records: Sequence[str]) -> list[int]:
        """Returns the indices of rows in the tensors of rows, given the ids of their records."""
        rows = cast("Sequence[str]", self.metadata["rows"])
        places = {row: place for place, row in enumerate(rows)}
        return [places[record] for record in records]


def _stacked(records: Sequence[ReadRecord], field: ReadField) -> NDArray[np.float32]:
    return np.stack([unpacked(record[field]) for record in records])


def outputs_by_fold(records: Sequence[ReadRecord | ReadPlanRecord]) -> dict[int, ReadOutputs]:
    """Returns the outputs in records of `outputs.jsonl`, by fold; the key is 0 for a run without folds."""
    folds: dict[int, list[ReadRecord | ReadPlanRecord]] = {}
    for record in records:
        folds.setdefault(record.get("fold", 0), []).append(record)
    found = {fold: ReadOutputs.from_records(each) for fold, each in folds.items()}
    return {fold: outputs for fold, outputs in found.items() if outputs is not None}


def to_bytes(outputs: Mapping[int, ReadOutputs]) -> bytes | None:
    """Returns the contents of `outputs.safetensors`; None if nothing was read.

    Args:
        outputs: The outputs of each fold, or of a run without folds with the key 0.
    """
    from safetensors.numpy import save

    if not outputs:
        return None
    tensors = {
        f"{fold}/{name}" if fold else name: np.ascontiguousarray(tensor)
        for fold, each in outputs.items()
        for name, tensor in each.tensors.items()
    }
    metadata = outputs[0].metadata if 0 in outputs else {"folds": {str(fold): each.metadata for fold, each in outputs.items()}}
    return bytes(save(tensors, {METADATA: json.dumps(metadata, ensure_ascii=True)}))


def from_bytes(content: bytes | None) -> dict[int, ReadOutputs]:
    """Returns the outputs in the contents of `outputs.safetensors`, by fold as in `to_bytes`."""
    from safetensors.numpy import load

    if content is None:
        return {}
    header_length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + header_length])
    metadata, tensors = json.loads(header["__metadata__"][METADATA]), load(content)
    if "folds" not in metadata:
        return {0: ReadOutputs(metadata=metadata, tensors=tensors)}
    return {
        int(fold): ReadOutputs(
            metadata=each,
            tensors={name.removeprefix(f"{fold}/"): tensor for name, tensor in tensors.items() if name.startswith(f"{fold}/")},
        )
        for fold, each in metadata["folds"].items()
    }
