"""The formula, in one class: y = align(model(manipulate(x)))."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from promptkit.align.chain import Aligners, Reader, make_chain
from promptkit.core.alignment import Extractor, Needs, Scorer
from promptkit.core.errors import InputError, Unsupported
from promptkit.core.examples import Example
from promptkit.core.manipulation import Apply, Ask, BindContext
from promptkit.core.model import Model
from promptkit.core.rendered import Rendered
from promptkit.core.requests import Read, Request, Score
from promptkit.manipulate.compose import Manipulations, composed
from promptkit.models.cache import ScoreCache
from promptkit.models.client import CachedModel
from promptkit.models.registry import load
from promptkit.predictor.compatibility import check
from promptkit.tasks.task import Task


class Predictor:
    """A frozen model, what is changed on its way in, and how its output is read."""

    def __init__(self, model: Model, manipulate: Manipulations, align: Aligners) -> None:
        """`manipulate` is a prompt, or a list of one and what changes it, such as a soft prompt.

        `align` is an aligner or a chain of them: first the one that reads labels or answers, then a calibration or a vote.

        Raises PromptkitError for a chain that does not begin with a verbalizer, choices or an extraction, Unsupported for
        a model that cannot answer what the chain asks.
        """
        if isinstance(model, str) or isinstance(manipulate, str):
            raise InputError(
                "A predictor needs a model and a manipulation, not their names",
                code="not-a-model" if isinstance(model, str) else "not-a-manipulation",
                got=f"{model!r}, {manipulate!r}" if isinstance(model, str) else repr(manipulate),
                hint='Write pk.Predictor(pk.load("demo"), pk.Prompt("sentiment/review"), ...)',
                value=model if isinstance(model, str) else manipulate,
            )
        whole = composed(manipulate)
        chain = make_chain(align)
        needed = "Score" if isinstance(chain.reader, Scorer) else "Generate"
        if needed not in model.verbs:
            raise Unsupported(
                f"The model {model.name} does not support the request {needed}",
                code=f"cannot-{needed.lower()}",
                hint="Use an hf model",
                model=model.name,
            )
        needs = chain.calibration.needs if chain.calibration else Needs()
        if (needs.layers or needs.named) and not model.hidden_states:
            raise Unsupported(
                f"{chain.name} needs hidden states, which the model {model.name} does not provide",
                code="no-hidden-states",
                hint="Use an hf model: the name alone",
                model=model.name,
                aligner=chain.name,
            )
        check(whole, model)
        self.model = model
        self.manipulate = whole
        self.chain = chain

    @property
    def reading(self) -> Reader:
        """The first aligner of its chain."""
        return self.chain.reader

    @property
    def name(self) -> str:
        """The chain's last word."""
        return self.chain.name

    def shares_pass_with(self, other: Predictor) -> bool:
        """Whether both read the same outputs, so that one pass of the model serves both."""
        return (
            self.model is other.model
            and self.manipulate.settings() == other.manipulate.settings()
            and self.reading.settings() == other.reading.settings()
        )

    def bind(
        self, task: Task, *, ask: Ask | None = None, cache: ScoreCache | None = None, others: Callable[[str], Model] = load
    ) -> BoundPredictor:
        """The predictor over a task's rows.

        `ask` stands in for the model while prompts are made. `others` loads, by name, what the manipulation asks besides it.
        """
        bind_context = self.bind_context(task, ask=ask, cache=cache, others=others)
        return BoundPredictor(model=self.model, reading=self.reading, apply=self.manipulate.bind(bind_context))

    def bind_context(
        self, task: Task, *, ask: Ask | None = None, cache: ScoreCache | None = None, others: Callable[[str], Model] = load
    ) -> BindContext:
        """What its manipulations may see and ask, over a task's rows; see `bind`."""
        return BindContext(
            ask=ask or CachedModel(self.model, cache),
            reading=self.reading,
            rows={part: task.part(part) for part in self.manipulate.parts},
            others={name: CachedModel(others(name), cache) for name in self.manipulate.models},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundPredictor:
    """A predictor over a task's rows: rows become requests."""

    model: Model
    reading: Reader
    apply: Apply
    """What the model reads for rows, with a continuation for each word that is scored."""

    def requests(self, examples: Sequence[Example]) -> list[Request]:
        """The request of each row."""
        return [self.request(example, rendered) for example, rendered in zip(examples, self.apply(examples), strict=True)]

    def request(self, example: Example, rendered: Rendered, read: Read | None = None) -> Request:
        """The one request that answers it, or the one that reads something else of it."""
        if read is not None:
            return Request(input=rendered.input, verb=read)
        if isinstance(self.reading, Extractor):
            return Request(input=rendered.input, verb=self.reading.verb(example, rendered.stop))
        return Request(input=rendered.input, verb=Score(continuations=rendered.continuations))
