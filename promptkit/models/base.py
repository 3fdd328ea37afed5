"""The base classes of the engines: defaults for what an engine does not support, and the loop over batches."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from promptkit.core.arrays import Array
from promptkit.core.errors import Unsupported
from promptkit.core.interventions import KVPrefix
from promptkit.core.model import VERB_HINTS
from promptkit.core.requests import Output, Read, Request
from promptkit.models.batching import make_plan


class BaseEngine:
    """Base class of every engine; by default nothing is supported.

    A subclass sets the class attributes to what it supports and overrides the methods that belong to them.
    """

    name: str
    verbs: frozenset[str] = frozenset()
    hidden_states: bool = False
    learned_vectors: bool = False
    learned_layers: bool = False

    def embed(self, ids: Sequence[int]) -> Array:
        """Raises Unsupported: this engine does not support learned vectors."""
        raise self._no_learned_vectors()

    def keys_values(self, ids: Sequence[int]) -> KVPrefix[Array]:
        """Raises Unsupported: this engine does not support prefixes."""
        raise Unsupported(
            f"The model {self.name} does not support prefixes",
            code="no-prefixes",
            hint="Use an hf model: its name without a prefix",
            model=self.name,
        )

    def notes(self) -> Sequence[str]:
        """Returns no notes."""
        return ()

    def load(self) -> None:
        """Does nothing: this engine has no weights to load."""

    def close(self) -> None:
        """Does nothing: this engine has no resources to release."""

    def check_supported(self, requests: Sequence[Request]) -> None:
        """Raises Unsupported if a request needs something that this engine does not support."""
        verb = next((name for name in map(_verb_name, requests) if name not in self.verbs), None)
        if verb is not None:
            raise Unsupported(
                f"The model {self.name} does not support the request {verb}",
                code=f"cannot-{verb.lower()}",
                hint=VERB_HINTS[verb],
                model=self.name,
            )
        if not self.hidden_states and any(_reads_hidden_state(request) for request in requests):
            raise Unsupported(
                f"The model {self.name} does not return hidden states",
                code="no-hidden-states",
                hint="Use an hf model: its name without a prefix",
                model=self.name,
            )
        given = [request.interventions for request in requests]
        if not self.learned_layers and any(each.prefixes or each.edits for each in given):
            raise Unsupported(
                f"The model {self.name} does not support prefixes or edits of hidden states",
                code="no-prefixes-or-edits",
                hint="Use a causal hf model: its name without a prefix",
                model=self.name,
            )
        if not self.learned_vectors and any(each.vectors is not None for each in given):
            raise self._no_learned_vectors()

    def _no_learned_vectors(self) -> Unsupported:
        return Unsupported(
            f"The model {self.name} does not support learned vectors",
            code="no-learned-vectors",
            hint="Use an hf or a vllm model",
            model=self.name,
        )


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


def _verb_name(request: Request) -> str:
    return type(request.verb).__name__


def _reads_hidden_state(request: Request) -> bool:
    return isinstance(request.verb, Read) and request.verb.hidden_layer is not None
