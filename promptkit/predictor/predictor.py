"""The formula in one class: y = align(model(manipulate(x)))."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import TypeVar

from promptkit.align.chain import Aligners, make_chain
from promptkit.collect.queries import all_skipped
from promptkit.core.errors import InputError
from promptkit.core.examples import Example
from promptkit.core.manipulation import Ask, BindContext, Encode
from promptkit.core.model import HasCapabilities, Model
from promptkit.core.output_reader import OutputReader
from promptkit.core.rendered import Rendered
from promptkit.core.requests import Request
from promptkit.manipulate.compose import Manipulations, composed
from promptkit.models.cache import ScoreCache
from promptkit.models.client import CachedModel
from promptkit.models.registry import load
from promptkit.predictor.compatibility import check, check_aligners, check_features, needed_features
from promptkit.predictor.estimate import Estimate
from promptkit.predictor.out_of_fold import OutOfFold
from promptkit.tasks.task import Task

T = TypeVar("T")


class Predictor:
    """A frozen model with a manipulation of its input and an alignment of its output."""

    def __init__(self, model: Model, manipulate: Manipulations, align: Aligners) -> None:
        """Creates a predictor; no weights are loaded.

        Args:
            model: A model from `load`.
            manipulate: A prompt, or a list of a prompt and modifiers of it, such as a soft prompt.
            align: An aligner, or a list of aligners. The first one is a verbalizer, choices or an extraction; a calibration,
                probe, label mapping or vote may follow.

        Raises:
            InputError: The manipulations or aligners cannot be combined.
            Unsupported: The model cannot answer what the aligners request, or does not accept the modifiers.
            CheckpointError: A modifier was trained on another model.
        """
        _check_objects(model, manipulate)
        manipulation = composed(manipulate)
        chain = make_chain(align)
        needed = needed_features(manipulation, manipulation.modifiers, chain.reader, chain.calibrations)
        check_features(manipulation.requires, model.name, model.capabilities, needed)
        check_aligners(chain.reader, chain.calibrations, model.name, model.capabilities, needed)
        chain = replace(chain, reader=chain.reader.for_model(model.card))
        check(manipulation, model, needed)
        self.model = model
        self.manipulate = manipulation
        self.chain = chain
        self.needed_features = needed
        """The features that it needs from its model."""
        self.estimate: Estimate | None = None
        """Its results on labeled rows that it was not fitted on, if they are known."""
        self.out_of_fold: OutOfFold | None = None
        """The probabilities of these rows, on which statements about new rows rest."""

    def with_estimate(self, estimate: Estimate, out_of_fold: OutOfFold | None = None) -> Predictor:
        """Returns the predictor with its results on labeled rows that it was not fitted on.

        Args:
            estimate: The results.
            out_of_fold: The probabilities of these rows; None for generated texts and answer choices.
        """
        predictor = copy(self)
        predictor.estimate, predictor.out_of_fold = estimate, out_of_fold
        return predictor

    @property
    def reader(self) -> OutputReader:
        """The first aligner of the chain, which reads the model's output."""
        return self.chain.reader

    @property
    def name(self) -> str:
        """The name of the last aligner of the chain."""
        return self.chain.name

    def shares_pass_with(self, other: Predictor) -> bool:
        """Whether two predictors send the same requests, so that one pass of the model serves both."""
        return (
            self.model is other.model
            and self.manipulate.settings() == other.manipulate.settings()
            and self.reader.settings() == other.reader.settings()
        )

    def bind(
        self, task: Task, *, ask: Ask | None = None, cache: ScoreCache | None = None, load_model: Callable[[str], Model] = load
    ) -> BoundPredictor:
        """Returns the predictor for the rows of a task. Demonstrations that are searched or fitted once are chosen now.

        Args:
            task: The task.
            ask: Replaces the model while prompts are rendered, for example in a dry run.
            cache: The score cache for requests that are sent while prompts are rendered.
            load_model: Loads other models that the manipulation needs, such as a sentence encoder, by name.
        """
        bind_context = self.bind_context(task, ask=ask, cache=cache, load_model=load_model)
        return BoundPredictor(model=self.model, reader=self.reader, encode=self.manipulate.bind(bind_context))

    def bind_context(
        self, task: Task, *, ask: Ask | None = None, cache: ScoreCache | None = None, load_model: Callable[[str], Model] = load
    ) -> BindContext:
        """Returns what the manipulation may use for a task. The arguments are those of `bind`."""
        return BindContext(
            ask=ask or CachedModel(self.model, cache),
            reader=self.reader,
            rows={part: task.part(part) for part in self.manipulate.parts},
            other_models={name: CachedModel(load_model(name), cache) for name in self.manipulate.models},
        )


def _check_objects(model: object, manipulate: object) -> None:
    """Raises InputError if names or other values were given in place of a model and a manipulation."""
    is_model = isinstance(model, HasCapabilities) and not isinstance(model, type)
    if not is_model or isinstance(manipulate, str):
        value = repr(manipulate if is_model else model)[:100]
        raise InputError(
            "A predictor needs a model and a manipulation, not their names or other values",
            code="not-a-manipulation" if is_model else "not-a-model",
            got=value,
            hint='Write pk.Predictor(pk.load("demo"), pk.Prompt("sentiment/review"), ...)',
            value=value,
        )


def sent_rows(rows: Sequence[T], rendered: Sequence[Rendered]) -> list[tuple[T, Rendered]]:
    """Returns the rows that are not skipped, with their prompts.

    Args:
        rows: The rows.
        rendered: The prompt of each row.

    Raises:
        TaskError: All rows are skipped.
    """
    sent = [(row, prompt) for row, prompt in zip(rows, rendered, strict=True) if not prompt.skipped]
    if rendered and not sent:
        raise all_skipped([len(prompt.text.ids) for prompt in rendered])
    return sent


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundPredictor:
    """A predictor for one task: turns rows into requests."""

    model: Model
    reader: OutputReader
    """The first aligner of the chain, which reads the model's output."""
    encode: Encode
    """Renders the prompt of each row, with a continuation for each word to score."""

    def requests(self, examples: Sequence[Example]) -> list[Request]:
        """Returns the request of each row."""
        return [self.request(example, rendered) for example, rendered in zip(examples, self.encode(examples), strict=True)]

    def request(self, example: Example, rendered: Rendered) -> Request:
        """Returns the request for the answer to one row.

        Args:
            example: The row.
            rendered: The row's prompt.
        """
        return rendered.request(self.reader.request(example, rendered))
