"""Token log-probabilities and hidden states that a run has read at the answer slots, as tensors."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self, cast

import numpy as np

from promptkit.core.alignment import Layer, PerClass, TopTokens
from promptkit.runs.records import unpacked
from promptkit.runs.row_ids import ReadRow, TextRow
from promptkit.runs.schema import ReadMetadata, ReadPlanRecord, ReadRecord

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from promptkit.core.arrays import Floats

TOKENS, TEXTS = "tokens", "names"
"""Names of tensors; the tensor of a layer is named `hidden LAYER`."""
METADATA = "read_plan"
"""The key of the metadata in the file of tensors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOutputs:
    """Token log-probabilities and hidden states that a run has read at the answer slots."""

    metadata: ReadMetadata
    """The tokens, layers, texts and rows that were read."""
    tensors: Mapping[str, NDArray[np.float32]]
    """`tokens`: shape (rows, tokens); `hidden LAYER`: shape (rows, d_model); `names`: shape (texts, d_model)."""

    @classmethod
    def from_records(cls, records: Sequence[ReadRecord | ReadPlanRecord]) -> Self | None:
        """Returns the outputs in records of `outputs.jsonl`, which must be in the run's order; None if there are no records."""
        if not records:
            return None
        plan = cast("ReadPlanRecord", records[0])
        reads = cast("Sequence[ReadRecord]", records[1:])
        texts = [record for record in reads if TextRow.parse(record["id"])]
        by_request: dict[int, list[ReadRecord]] = {}
        for record in reads[: len(reads) - len(texts)]:
            by_request.setdefault(ReadRow.parse(record["id"]).number, []).append(record)
        tensors = {TEXTS: _stacked(texts, "hidden")} if texts else {}
        if plan["token_ids"]:
            tensors[TOKENS] = _stacked(by_request[0], "logprobs")
        tensors |= {_tensor_name(layer): _stacked(by_request[i], "hidden") for i, layer in enumerate(plan["layers"])}
        rows = [ReadRow.parse(record["id"]).record for record in by_request.get(0, ())]
        return cls(metadata={**plan, "rows": rows}, tensors=tensors)

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Returns the outputs in the contents of `outputs.safetensors`."""
        from safetensors.numpy import load

        header_length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + header_length])
        return cls(metadata=json.loads(header["__metadata__"][METADATA]), tensors=load(content))

    def to_bytes(self) -> bytes:
        """Returns the contents of `outputs.safetensors`."""
        from safetensors.numpy import save

        tensors = {name: np.ascontiguousarray(tensor) for name, tensor in self.tensors.items()}
        return bytes(save(tensors, {METADATA: json.dumps(self.metadata, ensure_ascii=True)}))

    def sets(self) -> Iterator[tuple[TopTokens, list[int]]]:
        """Yields each set of tokens with their positions among all tokens."""
        for most, rows, seed, positions in self.metadata["sets"]:
            yield TopTokens(most, PerClass(rows, seed)), positions

    def tokens(self, rows: Sequence[str]) -> dict[TopTokens, Floats]:
        """Returns the log-probabilities of each set of tokens for rows, shape (rows, tokens).

        Args:
            rows: Ids of the rows' records.
        """
        indices = self._indices(rows) if self.metadata["sets"] else []
        return {top: self.tensors[TOKENS][np.ix_(indices, positions)].astype(float) for top, positions in self.sets()}

    def hidden(self, rows: Sequence[str]) -> dict[Layer, Floats]:
        """Returns the hidden states of each layer for rows, shape (rows, d_model).

        Args:
            rows: Ids of the rows' records.
        """
        indices = self._indices(rows) if self.metadata["layers"] else []
        return {layer: self.tensors[_tensor_name(layer)][indices].astype(float) for layer in self.metadata["layers"]}

    def names(self) -> dict[TopTokens, tuple[str, ...]]:
        """Returns the texts of the tokens of each set."""
        return {top: tuple(self.metadata["names"][position] for position in positions) for top, positions in self.sets()}

    def name_vectors(self, named: Sequence[TopTokens]) -> dict[TopTokens, Floats]:
        """Returns the hidden states of the tokens' texts of given sets, shape (tokens, d_model)."""
        return {top: self.vectors(names) for top, names in self.names().items() if top in named}

    def vectors(self, texts: Sequence[str]) -> Floats:
        """Returns the hidden states of texts, shape (texts, d_model)."""
        positions = {text: position for position, text in enumerate(self.metadata["texts"])}
        return self.tensors[TEXTS][[positions[text] for text in texts]].astype(float)

    def _indices(self, rows: Sequence[str]) -> list[int]:
        positions = {row: position for position, row in enumerate(self.metadata["rows"])}
        return [positions[row] for row in rows]


def _tensor_name(layer: Layer) -> str:
    return f"hidden {layer}"


def _stacked(records: Sequence[ReadRecord], key: Literal["logprobs", "hidden"]) -> NDArray[np.float32]:
    return np.stack([unpacked(record[key]) for record in records])
