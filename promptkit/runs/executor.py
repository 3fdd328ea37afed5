"""Executors: compute the batches of a run in this process, or elsewhere.

A batch depends only on the run's requests and the model's settings. The files of a run therefore do not depend on where and in
which order its batches are computed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future
from typing import Protocol, runtime_checkable

from promptkit.core.background import in_background
from promptkit.core.model import Model
from promptkit.core.requests import Output, Request
from promptkit.runs.shard import Shard

Computed = tuple[Sequence[int], Sequence[Output]]
"""The indices of requests that were computed together, and their outputs."""


@runtime_checkable
class Executor(Protocol):
    """Computes the requests of a run."""

    def assigned(self, requests: Sequence[Request]) -> frozenset[int]:
        """Returns the indices of the requests that this execution computes: all of them, unless it is a part of a run.

        Args:
            requests: All requests of the run.
        """
        ...

    def load(self) -> None:
        """Loads the model, if requests are computed in this process."""
        ...

    def execute(self, requests: Sequence[Request], done: Collection[int] = frozenset()) -> Iterator[Computed]:
        """Yields the indices and the outputs of the requests of one batch at a time, in any order.

        The batches must be the batches of `Model.batches` for all requests of the run, so that outputs are always the same.

        Args:
            requests: All requests of the run.
            done: Indices of requests whose outputs are known or not needed. Batches that contain only these are left out; all
                other batches are computed completely.
        """
        ...


class InProcess:
    """Computes all batches of a run, or the batches of a shard, in this process."""

    def __init__(self, model: Model, shard: Shard | None = None) -> None:
        """Creates an executor.

        Args:
            model: The model.
            shard: The shard to compute; the whole run if None.
        """
        self._model, self._shard = model, shard
        self._loading: Future[None] | None = None

    def assigned(self, requests: Sequence[Request]) -> frozenset[int]:
        """Returns the indices of all requests, or of the requests in every n-th batch."""
        if self._shard is None:
            return frozenset(range(len(requests)))
        batches = self._model.batches(requests)[self._shard.number - 1 :: self._shard.of]
        return frozenset(index for batch in batches for index in batch)

    @property
    def has_started(self) -> bool:
        """Whether `start_loading` was called."""
        return self._loading is not None

    def start_loading(self) -> None:
        """Starts to load the model in a background thread; `load` waits for it."""
        self._loading = in_background(self._model.load)

    def load(self) -> None:
        """Loads the model."""
        if self._loading is None:
            self._model.load()
        else:
            self._loading.result()

    def execute(self, requests: Sequence[Request], done: Collection[int] = frozenset()) -> Iterator[Computed]:
        """Yields the indices and the outputs of one batch at a time, in the order of the model's batches."""
        return self._model.answer(requests, done)
