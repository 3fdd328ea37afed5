"""The formula, in one class: y = align(model(manipulate(x)))."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from promptkit.align.choices import Choices
from promptkit.align.extract import EXTRACTIONS
from promptkit.align.verbalizer import Verbalizer
from promptkit.aligners import Calibration, Extractor, Scorer
from promptkit.errors import PromptkitError, Unsupported
from promptkit.registry import build_from, parse, spelling
from promptkit.tasks import Task
from promptkit.types import Apply, Example, LabelledExample, Manipulation, Model, Rendered, Request, Score

Reads = Scorer | Extractor
"""What may begin a chain of aligners."""


class Predictor:
    """A frozen model, what is changed on its way in, and how its output is read."""

    def __init__(
        self, model: Model, manipulate: Manipulation, align: Reads | Mapping[str, str] | Sequence[Reads | Calibration]
    ) -> None:
        """`align` is an aligner or a chain of them: first the one that reads labels or answers, then calibrations.

        Raises PromptkitError for a chain that does not begin with a verbalizer, choices or an extraction, Unsupported for
        a model that cannot answer what the chain asks.
        """
        chain = [Verbalizer(align)] if isinstance(align, Mapping) else list(align) if isinstance(align, Sequence) else [align]
        if isinstance(model, str) or isinstance(manipulate, str):
            raise PromptkitError(
                "A predictor takes a model and a manipulation, not their names",
                got=f"{model!r}, {manipulate!r}" if isinstance(model, str) else repr(manipulate),
                hint='Write pk.Predictor(pk.load("demo"), pk.Prompt("sentiment/review"), ...)',
            )
        if any(isinstance(part, type) for part in (manipulate, *chain)):
            raise PromptkitError("A predictor takes objects, not classes", hint="Write Contextual(), with parentheses")
        if not chain or not isinstance(chain[0], (Scorer, Extractor)):
            raise PromptkitError(
                "The first aligner must score labels or extract answers",
                got=[type(a).__name__ for a in chain],
                hint="Begin with a Verbalizer, Choices or an extraction",
            )
        calibrations = tuple(aligner for aligner in chain[1:] if isinstance(aligner, Calibration))
        if len(calibrations) < len(chain) - 1:
            raise PromptkitError("Only calibrations may follow the first aligner", got=[type(a).__name__ for a in chain])
        if len(calibrations) > 1:
            raise PromptkitError(
                "A chain takes one calibration: a second would correct for what the first has corrected already",
                got=[type(a).__name__ for a in chain],
            )
        if calibrations and not chain[0].labels:
            raise PromptkitError(
                f"The calibration {calibrations[0].name} needs labels that are the same for every row",
                got=f"{chain[0].name}, whose answers each row has for itself",
                hint="Leave it out, or give the task labels",
            )
        needed = "Score" if isinstance(chain[0], Scorer) else "Generate"
        if needed not in model.verbs:
            raise Unsupported(f"The model {model.name} does not answer {needed}", hint="Use an hf model")
        self.model = model
        self.manipulate = manipulate
        self.reading: Reads = chain[0]
        self.calibrations = calibrations

    @property
    def name(self) -> str:
        """The chain's last word: `verbalizer`, or the calibration as the command line spells it."""
        return spelling(self.calibrations[0]) if self.calibrations else self.reading.name

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


def reading(task: Task, *, score: Literal["sum", "mean"] = "sum", extract: str | None = None, **keywords: object) -> Reads:
    """The first aligner that a task calls for: a verbalizer of its labels, choices, or an extraction.

    `score` is of label words and choices; `extract` (`name:key=value`) and `keywords` are of an extraction, and go before
    what the task says. Raises for what belongs to another kind of task.
    """
    spec = task.spec
    if spec.answer is None:
        foreign = next((name for name in ("extract", *keywords) if name != "extract" or extract is not None), None)
        if foreign is not None:
            reason = f"{foreign} belongs to texts that a model writes, and {task.name} scores its answers"
            raise PromptkitError(reason, hint="Leave it out")
        return Choices(score=score) if spec.labels is None else Verbalizer(spec.labels, score=score)
    if score != "sum":
        reason = f"score belongs to answers that are scored, and {task.name} has the model write a text"
        raise PromptkitError(reason, hint="Leave it out")
    (name, told), *_ = spec.answer.items() if isinstance(spec.answer, dict) else {spec.answer: None}.items()
    if extract is not None:
        other, more = parse(extract)
        name, told = other, {**(told or {}), **more} if other == name else more
    built: Reads = build_from("extraction", EXTRACTIONS, name, {**(told or {}), **keywords})
    return built


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
