"""Executors that compute the batches of a run in another order or in other processes write the same files."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

import promptkit as pk
from promptkit.core.errors import InputError
from promptkit.core.model import Model
from promptkit.core.requests import Request
from promptkit.runs.executor import Computed, Executor, InProcess
from tests.support.errors import refused
from tests.support.probe_runs import contents, write_task
from tests.support.runs import Killed

SETTINGS: Mapping[str, object] = {"batch_tokens": 600}
WORDS = {"yes": "Positive", "no": "Negative"}


class Shuffled:
    """Computes the batches in a random order, and stops as if it was killed after some of them."""

    def __init__(self, model: Model, seed: int, batches: int | None = None) -> None:
        self._model, self._seed, self._batches = model, seed, batches

    def assigned(self, requests: Sequence[Request]) -> frozenset[int]:
        return frozenset(range(len(requests)))

    def load(self) -> None:
        self._model.load()

    def execute(self, requests: Sequence[Request], done: Collection[int] = frozenset()) -> Iterator[Computed]:
        computed = [*self._model.answer(requests, done)]
        random.Random(self._seed).shuffle(computed)
        for indices, outputs in computed[: self._batches]:
            order = random.Random(self._seed).sample(range(len(indices)), len(indices))
            yield [indices[i] for i in order], [outputs[i] for i in order]
        if self._batches is not None:
            raise Killed


@cache
def model_of(name: str) -> Model:
    return pk.load(name, **SETTINGS)


def compute(name: str, requests: Sequence[Request], batch: tuple[int, ...]) -> Computed:
    """Computes one batch of a run in a worker process."""
    done = frozenset(range(len(requests))) - frozenset(batch)
    ((indices, outputs),) = model_of(name).answer(requests, done)
    return indices, outputs


class Workers:
    """Computes each batch in one of several processes, each with its own model, and yields it when it is done."""

    def __init__(self, name: str, count: int) -> None:
        self._name, self._count = name, count

    def assigned(self, requests: Sequence[Request]) -> frozenset[int]:
        return frozenset(range(len(requests)))

    def load(self) -> None:
        """Does nothing: the models are loaded by the workers."""

    def execute(self, requests: Sequence[Request], done: Collection[int] = frozenset()) -> Iterator[Computed]:
        batches = [batch for batch in model_of(self._name).batches(requests) if not frozenset(done).issuperset(batch)]
        with ProcessPoolExecutor(self._count, mp_context=get_context("spawn")) as workers:
            futures = [workers.submit(compute, self._name, requests, batch) for batch in batches]
            for future in as_completed(futures):
                yield future.result()


def run(folder: Path, out: str, executor: Executor | None = None) -> pk.Run:
    """A run with further rows, reads of tokens and of hidden states, and labeled rows."""
    model = model_of("fake")
    calibrations: list[Any] = [
        None,
        pk.calibrate.Contextual(),
        pk.probes.KNNPrompting(per_class=4),
        pk.calibrate.BatchFitted(rows=8),
    ]
    chains = [[pk.Verbalizer(WORDS), *([each] if each else [])] for each in calibrations]
    predictors = [pk.Predictor(model, pk.Prompt("sentiment/review", demos=pk.demos.Random(k=1)), chain) for chain in chains]
    task = write_task(folder / "task")
    return pk.evaluate(predictors, task, limit=12, out=folder / out, cache=False, executor=executor)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_order_of_batches_does_not_change_a_run(tmp_path: Path, seed: int) -> None:
    executor = Shuffled(model_of("fake"), seed)
    assert isinstance(executor, Executor)
    assert contents(run(tmp_path, "shuffled", executor)) == contents(run(tmp_path, "plain"))


def test_a_run_started_by_another_executor_is_continued_to_the_same_bytes(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run(tmp_path, "killed", Shuffled(model_of("fake"), 3, batches=4))
    continued = run(tmp_path, "killed")
    assert 0 < continued.resumed < len(continued.ids)
    assert contents(continued) == contents(run(tmp_path, "plain"))


def test_batches_are_computed_in_other_processes(tmp_path: Path) -> None:
    assert contents(run(tmp_path, "workers", Workers("fake", 2))) == contents(run(tmp_path, "plain"))


def test_a_shard_is_a_part_of_the_batches() -> None:
    model, task = model_of("fake"), pk.task("sentiment")
    bound = pk.Predictor(model, pk.Prompt("sentiment/review"), dict(task.spec.labels or {})).bind(task)
    requests = bound.requests([row.unlabeled() for row in task.rows("test")[:20]])
    shards = [InProcess(model, pk.Shard(number, 3)).assigned(requests) for number in (1, 2, 3)]
    assert InProcess(model).assigned(requests) == frozenset().union(*shards) == frozenset(range(20))
    assert sum(map(len, shards)) == 20


def test_other_objects_are_refused_as_executors(tmp_path: Path) -> None:
    other: Any = model_of("fake")
    with refused(InputError, "not-an-instance", of="evaluate"):
        run(tmp_path, "other", other)
