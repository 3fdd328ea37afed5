"""The formula, in one class: y = align(model(manipulate(x)))."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from promptkit.aligners import Calibration, Extractor, Scorer
from promptkit.chain import Reads, make_chain
from promptkit.errors import PromptkitError, Unsupported
from promptkit.types import Apply, Example, LabelledExample, Manipulation, Model, Rendered, Request, Score


class Predictor:
    """A frozen model, what is changed on its way in, and how its output is read."""

    def __init__(
        self, model: Model, manipulate: Manipulation, align: Reads | Mapping[str, str] | Sequence[Reads | Calibration]
    ) -> None:
        """`align` is an aligner or a chain of them: first the one that reads labels or answers, then calibrations.

        Raises PromptkitError for a chain that does not begin with a verbalizer, choices or an extraction, Unsupported for
        a model that cannot answer what the chain asks.
        """
        if isinstance(model, str) or isinstance(manipulate, str):
            raise PromptkitError(
                "A predictor takes a model and a manipulation, not their names",
                got=f"{model!r}, {manipulate!r}" if isinstance(model, str) else repr(manipulate),
                hint='Write pk.Predictor(pk.load("demo"), pk.Prompt("sentiment/review"), ...)',
            )
        if isinstance(manipulate, type):
            raise PromptkitError("A predictor takes objects, not classes", hint='Write Prompt("..."), with parentheses')
        chain = make_chain(align)
        needed = "Score" if isinstance(chain.reading, Scorer) else "Generate"
        if needed not in model.verbs:
            raise Unsupported(f"The model {model.name} does not answer {needed}", hint="Use an hf model")
        self.model = model
        self.manipulate = manipulate
        self.chain = chain

    @property
    def reading(self) -> Reads:
        """The first aligner of its chain."""
        return self.chain.reading

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

    def bind(self, pool: Sequence[LabelledExample]) -> BoundPredictor:
        """The predictor with a pool of demonstrations."""
        return BoundPredictor(model=self.model, reading=self.reading, apply=self.manipulate.bind(pool, self.reading.shown()))


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundPredictor:
    """A predictor that knows its pool: rows become requests."""

    model: Model
    reading: Reads
    apply: Apply

    def render(self, example: Example, *, like: Example | None = None) -> Rendered:
        """What the model reads for a row, with a continuation for each word that is scored; see `Apply`."""
        if isinstance(self.reading, Extractor):
            return self.apply(example, self.model.card, room=self.reading.max_tokens, like=like)
        return self.apply(example, self.model.card, self.reading.words(example), like=like)

    def request(self, example: Example, rendered: Rendered) -> Request:
        """The one request that answers it."""
        if isinstance(self.reading, Extractor):
            return Request(input=rendered.input, verb=self.reading.verb(example, rendered.stop))
        return Request(input=rendered.input, verb=Score(continuations=rendered.continuations))
