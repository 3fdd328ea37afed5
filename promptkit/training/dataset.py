"""The rows of a training run as prompts, requests and targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from promptkit.collect.queries import sent_rows
from promptkit.core.arrays import Array
from promptkit.core.errors import Unsupported
from promptkit.core.examples import Example, LabeledExample
from promptkit.core.manipulation import BindContext, Learnable, Transform
from promptkit.core.model import image_card
from promptkit.core.output_reader import OutputReader, Target
from promptkit.core.rendered import Rendered
from promptkit.core.requests import Prepared, Request
from promptkit.manipulate.compose import BoundComposed, chain_transforms
from promptkit.metrics.base import Metric
from promptkit.metrics.requested import RequestedMetric, chosen
from promptkit.metrics.table import value_of
from promptkit.models.cache import ScoreCache
from promptkit.predictor.bound import BoundPredictor
from promptkit.predictor.predictor import Predictor
from promptkit.tasks.task import Task
from promptkit.training.config import TrainingConfig
from promptkit.training.label_map import MapLoss, RowScorer, joint_label_map
from promptkit.training.learnables import learnables, trainable_manipulation
from promptkit.training.parameters import divided, joined, local_name, owner
from promptkit.training.rows import TrainingRows

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats


class TrainingData:
    """The rows of a training run as prompts.

    A row is addressed by its index: first the rows of the pool that some step uses, then the dev rows. Rows that the prompt
    skips, because they are too long, are left out.
    """

    def __init__(
        self,
        predictor: Predictor,
        task: Task,
        rows: TrainingRows,
        config: TrainingConfig,
        cache: ScoreCache | None,
        requested: Sequence[RequestedMetric] = (),
    ) -> None:
        """Stores the arguments; prompts are rendered when they are first needed.

        Args:
            predictor: The predictor that is trained.
            task: The task that the rows belong to.
            rows: The rows.
            config: Its seed, batch size and number of steps determine the rows of each step.
            cache: A cache of the model's answers to requests that building a prompt needs.
            requested: The requested metrics, the first of which selects the best step.
        """
        self.model = predictor.model
        self.needed_features = predictor.needed_features
        self.learnables = learnables(predictor)
        self._predictor, self._task, self._given_rows, self._config, self._cache = predictor, task, rows, config, cache
        self._manipulation, self._requested = trainable_manipulation(predictor), requested
        self.label_map = joint_label_map(predictor)
        self._map_loss: MapLoss | None = None

    # ---- parameters --------------------------------------------------------------------------------

    def initial_parameters(self) -> dict[str, Array]:
        """Returns the parameters of all learnable manipulations that training starts from."""
        return joined([learnable.initial_parameters(self.bind_context) for learnable in self.learnables])

    def is_fixed(self, name: str) -> bool:
        """Returns whether training leaves a parameter unchanged."""
        return local_name(name) in self.learnables[owner(name)].fixed_parameters

    def with_parameters(self, parameters: Mapping[str, Array]) -> list[Learnable]:
        """Returns the learnable manipulations with these parameters."""
        parts = zip(self.learnables, divided(parameters), strict=True)
        return [learnable.with_parameters(named, {}) for learnable, named in parts]

    def transform(self, replacements: Sequence[Learnable]) -> Transform:
        """Returns the transform of all modifiers, with these in place of the learnable ones."""
        remaining = iter(replacements)
        modifiers = zip(self._manipulation.modifiers, self._bound.transforms, strict=True)
        return chain_transforms(
            [
                next(remaining).bind(self.bind_context) if isinstance(modifier, Learnable) else transform
                for modifier, transform in modifiers
            ]
        )

    # ---- label map ---------------------------------------------------------------------------------

    @property
    def scorer(self) -> RowScorer:
        """The first aligner, or the label map that follows it; computes the loss of each row."""
        return self._map_loss or self.reader

    @property
    def classes(self) -> int:
        """The number of classes of a classifier."""
        return len(image_card(self.model.card).class_names)

    @property
    def pool(self) -> Sequence[int]:
        """The indices of the rows of the pool that training uses."""
        return range(len(self._pool_rows))

    def epoch(self, step: int) -> int:
        """Returns the number of complete passes over the pool before a step."""
        return step * self._config.batch_size // len(self._pool_ids)

    def fit_label_map(self, logprobs: Floats) -> dict[str, Array]:
        """Fits the label map on the log-probabilities of all classes for the rows of the pool, shape (rows, classes)."""
        assert self.label_map is not None
        return self.label_map.fit(logprobs, np.array([self.targets[row].gold for row in self.pool]))

    def use_label_map(self, numbers: Mapping[str, Array]) -> None:
        """Sets the fitted label map that losses are computed with."""
        assert self.label_map is not None
        self._map_loss = self.label_map.loss(numbers)

    # ---- rows --------------------------------------------------------------------------------------

    def dev_metric(self, scores: Sequence[Sequence[float]]) -> tuple[Metric, float]:
        """Returns the main metric and its value, given the scores of the candidates of each dev row."""
        inputs = self.reader.scored_input(self.rows.dev, scores)
        metric = next(iter(chosen(self._requested, inputs).values()))
        return metric, value_of(metric, inputs)

    @cached_property
    def score_counts(self) -> list[int]:
        """The number of scores from which the loss of each row is computed; 0 for generated texts."""
        return [0 if self._generates else len(self.reader.candidates(example)) for example in self._examples]

    def batch(self, step: int) -> list[int]:
        """Returns the rows of a step."""
        return [self._pool_rows[index] for index in self._config.batch(self._pool_ids, step)]

    @property
    def dev(self) -> Sequence[int]:
        """The dev rows."""
        return range(len(self._pool_rows), len(self._examples))

    @property
    def all_rows(self) -> Sequence[int]:
        """All rows."""
        return range(len(self._examples))

    def requests(self, transform: Transform, rows: Sequence[int]) -> list[Request]:
        """Returns the requests that score the rows' answers, with the transform applied to their prompts."""
        return [self._request(row, transform) for row in rows]

    def _request(self, row: int, transform: Transform) -> Request:
        rendered = self._rendered[row]
        return self._bound_predictor.request(self._examples[row], rendered.modified(transform))

    @cached_property
    def targets(self) -> list[Target]:
        """The correct answer of each row."""
        rows = zip(self._labeled, self._examples, self._rendered, strict=True)
        return [self.reader.target(labeled, example, rendered.label_token_counts) for labeled, example, rendered in rows]

    @cached_property
    def bind_context(self) -> BindContext:
        """The context that manipulations are bound with."""
        return self._predictor.bind_context(self._task, cache=self._cache)

    @cached_property
    def reader(self) -> OutputReader:
        """The aligner whose loss is trained; for generated texts, one that scores the gold text."""
        return self._predictor.reader.gold_scorer

    @property
    def _generates(self) -> bool:
        """Whether answers are generated texts: training then scores the gold text up to its end."""
        return self._predictor.reader.task_kind == "generation"

    @cached_property
    def _bound(self) -> BoundComposed:
        context = replace(self.bind_context, reader=self.reader, transform=refuse_model_calls, scores_end=self._generates)
        return self._manipulation.bind(context)

    @cached_property
    def _bound_predictor(self) -> BoundPredictor:
        return BoundPredictor(model=self.model, reader=self.reader, encode=self._bound)

    @cached_property
    def rows(self) -> TrainingRows:
        """The rows that are not skipped.

        Raises:
            TaskError: All rows of a part are skipped.
        """
        rows = self._given_rows
        if self._predictor.manipulate.settings().get("on_too_long") != "skip":
            return rows
        return TrainingRows(pool=self._sent(rows.pool), dev=self._sent(rows.dev))

    def _sent(self, rows: Sequence[LabeledExample]) -> list[LabeledExample]:
        return [row for row, _ in sent_rows(rows, self._bound.prompt([*map(self._example, rows)]))]

    def _example(self, row: LabeledExample) -> Example:
        """The row without its label; a gold text is the only choice."""
        return row.answered() if self._generates else row.unlabeled()

    @cached_property
    def _rendered(self) -> list[Rendered]:
        """The prompts without modifiers, with context reserved for them."""
        return self._bound.prompt(self._examples)

    @cached_property
    def _pool_ids(self) -> tuple[str, ...]:
        return tuple(row.id for row in self.rows.pool)

    @cached_property
    def _pool_rows(self) -> dict[int, int]:
        """The row of each index into the pool that some step uses."""
        used: set[int] = set()
        for step in range(self._config.steps):
            used.update(self._config.batch(self._pool_ids, step))
            if len(used) == len(self._pool_ids):
                break
        return {index: row for row, index in enumerate(sorted(used))}

    @cached_property
    def _labeled(self) -> list[LabeledExample]:
        return [*(self.rows.pool[index] for index in self._pool_rows), *self.rows.dev]

    @cached_property
    def _examples(self) -> list[Example]:
        """The rows without labels."""
        return [*map(self._example, self._labeled)]


def refuse_model_calls(prepared: Prepared) -> Prepared:
    """Raises Unsupported: a prompt that depends on the model's answers would change with the trained parameters."""
    raise Unsupported(
        "Training cannot use a prompt that depends on the model's own answers, because every step would change them",
        code="prompt-depends-on-model",
        hint="Leave out the chain of thought, or choose and order the demonstrations at random or by similarity",
        tokens=prepared.input.cost,
    )
