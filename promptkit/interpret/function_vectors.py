"""Function vectors: the output of a few attention heads, found by patching (Todd et al. 2023, arXiv:2310.15213).

A head's mean output at the last token of prompts with demonstrations replaces its output in prompts whose demonstrations have
swapped answers. Its effect is the mean increase of the gold answer's probability. The function vector is the sum of the
contributions of the heads with the largest effects to the residual stream, each from its mean output. Unlike in the paper, the
effect is measured on the whole answer instead of its first token, and heads are selected for the task itself instead of over
several tasks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import PositiveInt

from promptkit.collect.queries import sent_rows
from promptkit.core.arguments import check_arguments
from promptkit.core.errors import InputError, needs_single_label
from promptkit.core.examples import Example, LabeledExample
from promptkit.core.fingerprints import Fingerprint
from promptkit.core.heads import ExposesHeads
from promptkit.core.seeding import hash_rank
from promptkit.interpret.checks import check_layer, demonstration_prompt, pool_rows, scaled_vector
from promptkit.manipulate.learned.base_model import base_of
from promptkit.manipulate.learned.steering import SteeringVector
from promptkit.manipulate.order.order import Order
from promptkit.manipulate.prompt import Prompt
from promptkit.manipulate.prompting.context import SelectionContext
from promptkit.manipulate.prompting.rows import Arrange, Demonstrations
from promptkit.models.cache import ScoreCache
from promptkit.models.support import check_supports
from promptkit.predictor.predictor import Predictor
from promptkit.tasks.single_table import training_task
from promptkit.tasks.task import Task

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats

Scored = tuple[tuple[int, ...], tuple[int, ...]]
"""The token ids of a prompt and of the gold answer after it."""
SHARE = 0.02
"""The default share of heads, as the paper's 10 of the 448 heads of GPT-J. Ten of the 72 heads of Gemma 3 270M are too many:
they include heads far after the layer, whose contribution dominates (see `benchmarks/function_vectors`)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeadEffects:
    """The effect of each attention head on a task, and its contribution to the residual stream."""

    effects: Floats
    """The increase of the gold answer's probability by the head's mean output, shape (layers, heads)."""
    added: Floats
    """The contribution of the head's mean output to the residual stream, shape (layers, heads, d_model)."""
    base: Mapping[str, str | int]
    """The identity of the model."""
    fitted_on: frozenset[Fingerprint] = frozenset()
    """The labeled rows of the pool that they were measured on."""

    @check_arguments("HeadEffects.best")
    def best(self, heads: int | float = SHARE, *, up_to: int | None = None) -> list[tuple[int, int]]:
        """Returns the heads with the largest effects as (layer, head), each counted from 1, the largest first.

        Args:
            heads: The number of heads, or as a float the share of all heads.
            up_to: The last layer whose heads are considered; all layers if None.

        Raises:
            InputError: If there are not as many heads.
        """
        total, width = self.effects.size, self.effects.shape[1]
        effects = self.effects if up_to is None else self.effects[: max(0, up_to)]
        count = max(1, round(heads * total)) if isinstance(heads, float) else heads
        if heads <= 0 or not 1 <= count <= effects.size:
            raise InputError(
                "The number of attention heads in a function vector is out of range",
                code="out-of-range",
                got=f"heads={heads}" + ("" if up_to is None else f", up_to={up_to}"),
                hint=f"There are {effects.size} heads to choose from; a number below 1 is a share of all heads",
                heads=heads,
                up_to=up_to,
                available=effects.size,
            )
        order = np.argsort(-effects, axis=None, kind="stable")[:count].tolist()
        return [(index // width + 1, index % width + 1) for index in order]

    def vector(self, heads: int | float = SHARE, *, up_to: int | None = None) -> Floats:
        """Returns the function vector of the best heads, shape (d_model,); the arguments are those of `best`."""
        summed: Floats = sum(self.added[layer - 1, head - 1] for layer, head in self.best(heads, up_to=up_to))
        return summed

    @check_arguments("HeadEffects.steering_vector")
    def steering_vector(
        self, *, layer: int, heads: int | float = SHARE, up_to: int | None = None, strength: float = 1.0
    ) -> SteeringVector:
        """Returns a steering vector that adds the function vector at a prompt's last token.

        Args:
            layer: The layer, counted from 1, after which it is added.
            heads: The number or share of heads, see `best`.
            up_to: The last layer whose heads are considered, see `best`.
            strength: A factor of the vector.

        Raises:
            InputError: If an argument is out of range.
        """
        check_layer(layer, len(self.effects))
        vectors = scaled_vector(self.vector(heads, up_to=up_to), strength)
        return SteeringVector((layer,)).with_parameters({"vectors": vectors}, self.base, self.fitted_on)


@check_arguments("head_effects")
def head_effects(
    predictor: Predictor,
    task: Task,
    *,
    rows: PositiveInt = 64,
    patched: PositiveInt = 25,
    seed: int = 0,
    split: str | None = None,
    cache: bool = True,
) -> HeadEffects:
    """Measures the effect of each attention head on a task, with the predictor's demonstrations.

    Only the labels of the demonstrations and of the patched rows are used.

    Args:
        predictor: A predictor with a prompt that shows demonstrations.
        task: The task; rows come from its pool. Of a single table that is evaluated by folds, all rows are used.
        rows: The maximum number of rows that the mean outputs are computed from.
        patched: The number of these rows, from the first, that effects are measured on.
        seed: The seed of the swapped answers.
        split: The split that will be evaluated, whose inputs are excluded; the task's default split if None.
        cache: Whether to cache the model's answers.

    Raises:
        InputError: If the prompt shows no demonstrations or scores by the channel, or an argument is out of range.
        Unsupported: If the model does not expose its attention heads.
    """
    prompt, model = demonstration_prompt(predictor), predictor.model
    check_supports(model.name, model.capabilities, "heads", together=predictor.needed_features)
    assert isinstance(model, ExposesHeads)
    task = training_task(task, split)
    selected = pool_rows(task, split, rows, of="the head effects")
    score_cache = ScoreCache() if cache else None
    clean = _with_answers(predictor, prompt, task, selected, score_cache)
    swapped = replace(prompt, order=SwappedAnswers(prompt.resolved_order, seed=seed))
    corrupted = _with_answers(predictor, swapped, task, selected[:patched], score_cache)
    if corrupted == clean[:patched]:
        raise InputError(
            "Swapping the answers of the demonstrations changes no prompt, so the effect of a head cannot be measured",
            code="same-answers",
            hint="Show at least two demonstrations with different answers: demos=pk.demos.Balanced(k=8)",
            predictor=predictor.name,
        )
    heads = model.heads()
    mean = np.mean([heads.outputs(ids) for ids, _ in clean], axis=0)
    effects = np.mean([heads.effects(ids, answer, mean) for ids, answer in corrupted], axis=0)
    return HeadEffects(effects=effects, added=heads.projected(mean), base=base_of(model), fitted_on=predictor.rows_read(task))


@dataclass(frozen=True, slots=True)
class SwappedAnswers(Order):
    """An order that also gives each demonstration the answer of the next one in a pseudo-random cycle."""

    order: Order
    """The order of the demonstrations."""
    seed: int
    """The seed of the cycle."""

    name: ClassVar[str] = "swapped"

    def bind(self, context: SelectionContext) -> Arrange:
        """Returns the function that orders the demonstrations and swaps their answers."""
        arrange = self.order.bind(context)

        def swapped(examples: Sequence[Example], chosen: Sequence[Demonstrations]) -> list[Demonstrations]:
            return [self._swapped(demonstrations) for demonstrations in arrange(examples, chosen)]

        return swapped

    def _swapped(self, rows: Demonstrations) -> Demonstrations:
        cycle = sorted(rows, key=lambda row: hash_rank(self.seed, "answers", row.id))
        sources = dict(zip((row.id for row in cycle), [*cycle[1:], *cycle[:1]], strict=True))
        return tuple(
            replace(row, label=source.label, accepted=source.accepted, rationale=source.rationale)
            for row, source in ((row, sources[row.id]) for row in rows)
        )


def _with_answers(
    predictor: Predictor, prompt: Prompt, task: Task, rows: Sequence[LabeledExample], cache: ScoreCache | None
) -> list[Scored]:
    """Returns the rendered prompt of each row that is not skipped, and the gold answer after it."""
    reader = predictor.reader.gold_scorer
    if reader.task_kind == "multi-label":
        raise needs_single_label("The analysis of heads")
    offered = [row.choices or (() if reader.labels else (row.label,)) for row in rows]
    answered = [
        Example(id=row.id, inputs={**row.inputs, **row.rationale}, choices=choices)
        for row, choices in zip(rows, offered, strict=True)
    ]
    bound = Predictor(predictor.model, prompt, reader).bind(task, cache=cache)
    rendered = bound.encode(answered, context_of=[row.unlabeled() for row in rows])
    scored = []
    for (row, example), result in sent_rows([*zip(rows, answered, strict=True)], rendered):
        gold = reader.words(example).index(reader.label_words().get(row.label, row.label))
        scored.append((result.text.ids, result.continuations[gold]))
    return scored
