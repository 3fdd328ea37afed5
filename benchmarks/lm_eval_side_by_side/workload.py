"""The work that is measured, case by case, on the demo model in float32.

Knows promptkit, and nothing of clocks or of other tools.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import promptkit as pk
from promptkit.align.chain import reader_for
from promptkit.core.alignment import Scorer
from promptkit.core.examples import Example, LabeledExample
from promptkit.core.model import Model
from promptkit.core.rendered import Rendered
from promptkit.core.requests import GenerateOutput, Output, Request, ScoreOutput
from promptkit.models.files.source import resolve
from promptkit.predictor.predictor import BoundPredictor
from promptkit.tasks.sampling import by_hash

MODEL = "demo"
SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One kind of work."""

    task: str
    shots: int
    demos: Literal["balanced", "random", "random-each"]
    """`random-each` shows each item demonstrations of its own, so that items share nothing but BOS."""
    items: int
    """How many promptkit does."""
    peer_items: int
    """How many of the first of them lm-eval does."""


CASES: Mapping[str, Case] = {
    "sst2": Case(task="sst2", shots=16, demos="balanced", items=256, peer_items=256),
    "trec": Case(task="trec", shots=8, demos="random-each", items=128, peer_items=128),
    "banking77": Case(task="banking77", shots=16, demos="random", items=64, peer_items=6),
    "antonym": Case(task="function_vectors/antonym", shots=8, demos="random", items=128, peer_items=128),
}
SELECTORS = {"balanced": pk.demos.balanced, "random": pk.demos.random, "random-each": pk.demos.random_each}


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Items to answer and the prompt that they are answered by; the demonstrations are drawn already."""

    rows: tuple[LabeledExample, ...]
    labels: tuple[str, ...]
    bound: BoundPredictor

    def render(self) -> list[Rendered]:
        """The prompt of every item and its label words, as text and as token ids."""
        return self.bound.apply([Example(id=row.id, inputs=row.inputs) for row in self.rows])

    def requests(self, rendered: list[Rendered]) -> list[Request]:
        """What the model is asked."""
        return [self.bound.request(row, shown) for row, shown in zip(self.rows, rendered, strict=True)]

    def label_logprobs(self, outputs: list[Output]) -> list[list[float]]:
        """One log-probability per label, in the declared order, for every item; empty where texts are written."""
        if not isinstance(self.bound.reading, Scorer):
            return []
        return [list(self.bound.reading.align(output)) for output in outputs if isinstance(output, ScoreOutput)]

    def texts(self, outputs: list[Output]) -> list[str]:
        """What the model wrote for every item; empty where labels are scored."""
        return [output.generations[0].text for output in outputs if isinstance(output, GenerateOutput)]


def load_model() -> Model:
    """The demo model, its tokenizer and its weights in memory."""
    model = pk.load(MODEL, device="cpu", dtype="float32")
    model.load()
    model.card  # noqa: B018 - reads the tokenizer the first time
    return model


def model_folder() -> str:
    """The folder of the demo model, as any tool that uses transformers can load it; made if it is not there yet."""
    return resolve(MODEL).location


def load_workload(model: Model, case: Case, *, data: str | None, split: str | None, items: int, shots: int) -> Workload:
    """Read the rows, and draw the demonstrations from the train split."""
    task = pk.task(case.task, data=data)
    prompt = pk.Prompt(task.spec.template, demos=SELECTORS[case.demos](k=shots, seed=SEED))
    predictor = pk.Predictor(model, prompt, reader_for(task))
    rows = by_hash(task.rows(split or task.spec.split), items)
    return Workload(rows=tuple(rows), labels=task.labels, bound=predictor.bind(task))


def answer(model: Model, requests: list[Request]) -> list[Output]:
    """The model's outputs, in the order of the requests."""
    outputs: dict[int, Output] = {}
    for indices, batch in model.answer(requests):
        outputs |= dict(zip(indices, batch, strict=True))
    return [outputs[index] for index in range(len(requests))]
