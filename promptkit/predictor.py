"""The formula, in one class: y = align(model(manipulate(x)))."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from promptkit.align.verbalizer import Verbalizer
from promptkit.errors import PromptkitError, Unsupported
from promptkit.registry import spelling
from promptkit.types import Apply, Calibration, Example, LabelledExample, Manipulation, Model, Rendered, Request, Score, Scorer


class Predictor:
    """A frozen model, what is changed on its way in, and how its output is read."""

    def __init__(
        self, model: Model, manipulate: Manipulation, align: Scorer | Mapping[str, str] | Sequence[Scorer | Calibration]
    ) -> None:
        """`align` is an aligner or a chain of them: first the one that scores labels, then calibrations.

        Raises PromptkitError for a chain that does not begin with a verbalizer, Unsupported for a model that cannot
        answer what the chain asks.
        """
        chain = [Verbalizer(align)] if isinstance(align, Mapping) else list(align) if isinstance(align, Sequence) else [align]
        if isinstance(model, str) or isinstance(manipulate, str):
            raise PromptkitError(
                "A predictor takes a model and a manipulation, not their names",
                got=f"{model!r}, {manipulate!r}" if isinstance(model, str) else repr(manipulate),
                hint='Write pk.Predictor(pk.load("demo"), pk.Prompt("sentiment/review"), ...)',
            )
        if not chain or not isinstance(chain[0], Scorer):
            raise PromptkitError(
                "The first aligner must score labels", got=[type(a).__name__ for a in chain], hint="Begin with a Verbalizer"
            )
        calibrations = tuple(aligner for aligner in chain[1:] if isinstance(aligner, Calibration))
        if len(calibrations) < len(chain) - 1:
            raise PromptkitError("Only calibrations may follow the first aligner", got=[type(a).__name__ for a in chain])
        if len(calibrations) > 1:
            raise PromptkitError(
                "A chain takes one calibration: a second would correct for what the first has corrected already",
                got=[type(a).__name__ for a in chain],
            )
        if any(isinstance(part, type) for part in (manipulate, *chain)):
            raise PromptkitError("A predictor takes objects, not classes", hint="Write Contextual(), with parentheses")
        if "Score" not in model.verbs:
            raise Unsupported(f"The model {model.name} cannot score continuations", hint="Use an hf model")
        self.model = model
        self.manipulate = manipulate
        self.scorer = chain[0]
        self.calibrations = calibrations

    @property
    def name(self) -> str:
        """The chain's last word: `verbalizer`, or the calibration as the command line spells it."""
        return spelling(self.calibrations[0]) if self.calibrations else self.scorer.name

    def shares_pass_with(self, other: Predictor) -> bool:
        """Whether both read the same outputs, so that one pass of the model serves both."""
        return (
            self.model is other.model
            and self.manipulate.settings() == other.manipulate.settings()
            and self.scorer.settings() == other.scorer.settings()
        )

    def bind(self, pool: Sequence[LabelledExample]) -> BoundPredictor:
        """The predictor with a pool of demonstrations."""
        return BoundPredictor(model=self.model, scorer=self.scorer, apply=self.manipulate.bind(pool, self.scorer.first_words()))


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundPredictor:
    """A predictor that knows its pool: rows become requests."""

    model: Model
    scorer: Scorer
    apply: Apply

    def render(self, example: Example, *, like: Example | None = None) -> Rendered:
        """What the model reads for a row, with a continuation for each label word; see `Apply`."""
        return self.apply(example, self.model.card, self.scorer.words(), like=like)

    def request(self, rendered: Rendered) -> Request:
        """The one request that answers it."""
        return Request(input=rendered.input, verb=Score(continuations=rendered.continuations))
