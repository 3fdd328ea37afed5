"""The work that is measured: SST-2 behind shared demonstrations, label words scored by the demo model in float32.

Knows promptkit, and nothing of clocks or of other tools.
"""

from __future__ import annotations

from dataclasses import dataclass

import promptkit as pk
from promptkit.aligners import Scorer
from promptkit.evaluation import by_hash
from promptkit.models.source import resolve
from promptkit.predictor import BoundPredictor
from promptkit.types import Example, LabelledExample, Model, Output, Rendered, Request

MODEL = "demo"
TASK = "sst2"
SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Items to classify and the prompt that they are classified by; the demonstrations are drawn already."""

    rows: tuple[LabelledExample, ...]
    labels: tuple[str, ...]
    bound: BoundPredictor

    def render(self) -> list[Rendered]:
        """The prompt of every item and its label words, as text and as token ids."""
        return [self.bound.render(Example(id=row.id, inputs=row.inputs)) for row in self.rows]

    def requests(self, rendered: list[Rendered]) -> list[Request]:
        """What the model is asked."""
        return [self.bound.request(row, shown) for row, shown in zip(self.rows, rendered, strict=True)]

    def label_logprobs(self, outputs: list[Output]) -> list[list[float]]:
        """One log-probability per label, in the declared order, for every item."""
        assert isinstance(self.bound.reading, Scorer)
        return [list(self.bound.reading.align(output)) for output in outputs]


def load_model() -> Model:
    """The demo model, its tokenizer and its weights in memory."""
    model = pk.load(MODEL, device="cpu", dtype="float32")
    model.load()
    model.card  # noqa: B018 - reads the tokenizer the first time
    return model


def model_folder() -> str:
    """The folder of the demo model, as any tool that uses transformers can load it; made if it is not there yet."""
    return resolve(MODEL).location


def load_workload(model: Model, *, data: str | None, split: str, items: int, shots: int) -> Workload:
    """Read the rows, and draw the demonstrations from the train split."""
    task = pk.task(TASK, data=data)
    prompt = pk.Prompt(task.spec.template, demos=pk.demos.balanced(k=shots, seed=SEED))
    predictor = pk.Predictor(model, prompt, pk.Verbalizer(task.spec.labels))
    return Workload(rows=tuple(by_hash(task.rows(split), items)), labels=task.labels, bound=predictor.bind(task.pool()))


def answer(model: Model, requests: list[Request]) -> list[Output]:
    """The model's outputs, in the order of the requests."""
    outputs: dict[int, Output] = {}
    for indices, batch in model.answer(requests):
        outputs |= dict(zip(indices, batch, strict=True))
    return [outputs[index] for index in range(len(requests))]
