"""The workloads of the benchmark, on the demo model in float32."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import promptkit as pk
from promptkit.align.chain import reader_for
from promptkit.core.examples import Example, LabeledExample
from promptkit.core.model import Model
from promptkit.core.rendered import Rendered
from promptkit.core.requests import GenerateOutput, Output, Request
from promptkit.models.files.source import resolve
from promptkit.predictor.bound import BoundPredictor
from promptkit.tasks.sampling import by_hash

MODEL = "demo"
SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One workload."""

    task: str
    shots: int
    demos: Literal["balanced", "random", "random-each"]
    """`random-each` samples demonstrations for each item; items share only BOS."""
    items: int
    """Number of items for promptkit."""
    peer_items: int
    """Number of items for lm-eval, from the first."""


CASES: Mapping[str, Case] = {
    "sst2": Case(task="sst2", shots=16, demos="balanced", items=256, peer_items=256),
    "trec": Case(task="trec", shots=8, demos="random-each", items=128, peer_items=128),
    "banking77": Case(task="banking77", shots=16, demos="random", items=64, peer_items=6),
    "antonym": Case(task="function_vectors/antonym", shots=8, demos="random", items=128, peer_items=128),
}
SELECTORS = {"balanced": pk.demos.Balanced, "random": pk.demos.Random, "random-each": pk.demos.RandomEach}


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """The items of a case and the predictor bound to them."""

    rows: tuple[LabeledExample, ...]
    labels: tuple[str, ...]
    bound: BoundPredictor

    def render(self) -> list[Rendered]:
        """Returns the prompt and the label words of every item, as text and as token ids."""
        return self.bound.encode([Example(id=row.id, inputs=row.inputs) for row in self.rows])

    def requests(self, rendered: list[Rendered]) -> list[Request]:
        """Returns the model requests."""
        return [self.bound.request(row, prompt) for row, prompt in zip(self.rows, rendered, strict=True)]

    def label_logprobs(self, rendered: list[Rendered], outputs: list[Output]) -> list[list[float]]:
        """Returns one log-probability per label, in the declared order, for every item; empty for generation."""
        scores = [self.bound.reader.scores(prompt, output) for prompt, output in zip(rendered, outputs, strict=True)]
        return [list(row) for row in scores if row is not None]

    def texts(self, outputs: list[Output]) -> list[str]:
        """Returns the generated text of every item; empty for scoring."""
        return [output.generations[0].text for output in outputs if isinstance(output, GenerateOutput)]


def load_model() -> Model:
    """Returns the demo model with its tokenizer and weights in memory."""
    model = pk.load(MODEL, device="cpu", dtype="float32")
    model.load()
    model.card  # noqa: B018 - reads the tokenizer
    return model


def model_folder() -> str:
    """Returns the folder of the demo model in the format of transformers, created if it does not exist."""
    return resolve(MODEL).location


def load_workload(model: Model, case: Case, *, data: str | None, split: str | None, items: int, shots: int) -> Workload:
    """Reads the rows and binds a predictor with demonstrations from the train split."""
    task = pk.task(case.task, data=data)
    prompt = pk.Prompt(task.spec.template, demos=SELECTORS[case.demos](k=shots, seed=SEED))
    predictor = pk.Predictor(model, prompt, reader_for(task))
    rows = by_hash(task.rows(split or task.spec.split), items)
    return Workload(rows=tuple(rows), labels=task.labels, bound=predictor.bind(task))


def answer(model: Model, requests: list[Request]) -> list[Output]:
    """Returns the model's outputs in the order of the requests."""
    outputs: dict[int, Output] = {}
    for indices, batch in model.answer(requests):
        outputs |= dict(zip(indices, batch, strict=True))
    return [outputs[index] for index in range(len(requests))]
