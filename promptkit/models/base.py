"""The base classes of the engines: defaults for what an engine does not support, and the loop over batches."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from promptkit.core.arrays import Array
from promptkit.core.capabilities import Capabilities
from promptkit.core.interventions import KVPrefix
from promptkit.core.requests import Generate, Output, Request
from promptkit.models.batching import make_plan
from promptkit.models.constraint import check_schemas
from promptkit.models.support import check_requests, unsupported


class BaseEngine:
    """Base class of every engine; by default `embed` and `keys_values` are not supported.

    A subclass sets `capabilities` to what it supports.
    """

    name: str
    capabilities: Capabilities

    def embed(self, ids: Sequence[int]) -> Array:
        """Raises Unsupported: this engine does not support learned vectors."""
        raise unsupported(self.name, self.capabilities, "vectors")

    def keys_values(self, ids: Sequence[int]) -> KVPrefix[Array]:
        """Raises Unsupported: this engine does not support prefixes."""
        raise unsupported(self.name, self.capabilities, "prefixes")

    def notes(self) -> Sequence[str]:
        """Returns no notes."""
        return ()

    def load(self) -> None:
        """Does nothing: this engine has no weights to load."""

    def close(self) -> None:
        """Does nothing: this engine has no resources to release."""

    def check_supported(self, requests: Sequence[Request]) -> None:
        """Raises Unsupported if a request needs something that this engine does not support."""
        check_requests(self.name, self.capabilities, requests)
        schemas = {request.verb.json_schema: None for request in requests if isinstance(request.verb, Generate)}
        self._check_schemas([schema for schema in schemas if schema])

    def _check_schemas(self, schemas: Sequence[str]) -> None:
        """Raises Unsupported if texts cannot be restricted to one of the schemas."""
        check_schemas(self.name, schemas)


class BatchedEngine(BaseEngine):
    """Base class of the engines that compute the batches of one plan in order, without a shared prefix."""

    def __init__(self, name: str, *, batch_tokens: int) -> None:
        """Creates an engine.

        Args:
            name: The full name of the model, with its engine.
            batch_tokens: The maximum number of tokens in a batch.
        """
        self.name = name
        self._max_batch_tokens = batch_tokens

    def batches(self, requests: Sequence[Request]) -> Sequence[tuple[int, ...]]:
        """Returns the indices of the requests of each batch."""
        size = self._max_batch_tokens
        plan = make_plan(requests, batch_tokens=size, batch_pairs=size**2, share=False)
        return [batch.requests for batch in plan.batches]

    def answer(
        self, requests: Sequence[Request], done: Collection[int] = frozenset()
    ) -> Iterator[tuple[tuple[int, ...], tuple[Output, ...]]]:
        """Yields the indices and outputs of one batch at a time and skips the batches that are entirely in `done`.

        Raises:
            Unsupported: A request needs something that the engine does not support; raised before weights load.
        """
        self.check_supported(requests)
        self._prepare(requests)
        finished = frozenset(done)
        for batch in self.batches(requests):
            if not finished.issuperset(batch):
                yield batch, self._compute([requests[i] for i in batch])

    def _prepare(self, requests: Sequence[Request]) -> None:
        """Starts what the requests need before the first batch is computed."""

    def _compute(self, requests: Sequence[Request]) -> tuple[Output, ...]:
        """Returns the outputs of one batch, in the order of its requests."""
        raise NotImplementedError
