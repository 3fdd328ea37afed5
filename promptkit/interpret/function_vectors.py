"""Function vectors: what a few attention heads carry of a task, told by patching (Todd et al. 2023, 2310.15213).

A head's mean output at the last token behind demonstrations is put into prompts whose demonstrations have one another's
answers. Its effect is how much likelier that makes the right answer, on average. The function vector is the sum, over the
heads of greatest effect, of what their mean outputs add to the residual stream. Other than in the paper, the effect is of the
whole answer and not of its first token, and heads are chosen for the task itself and not over several.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import PositiveInt

from promptkit.align.choices import Choices
from promptkit.core.alignment import Extractor, Scorer
from promptkit.core.errors import InputError, Unsupported
from promptkit.core.examples import Example, LabeledExample
from promptkit.core.model import ExposesHeads
from promptkit.core.registry import as_python, check_value
from promptkit.core.seeding import hash_rank
from promptkit.interpret.steering_vectors import check_layer, chosen_rows, scaled, shown_by
from promptkit.manipulate.learned.steering import SteeringVector
from promptkit.manipulate.order.order import Order
from promptkit.manipulate.prompting.context import SelectionContext
from promptkit.manipulate.prompting.rows import Arrange, Demonstrations
from promptkit.models.cache import ScoreCache
from promptkit.predictor.compatibility import base_of
from promptkit.predictor.predictor import Predictor
from promptkit.tasks.task import Task

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats

SHARE = 0.02
"""Of a model's heads, as the paper's 10 of the 448 of GPT-J. Of the 72 of Gemma 3 270M ten are too many, for among them are
heads far behind the layer, which drown the others (`benchmarks/function_vectors`)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeadEffects:
    """What each attention head of a model is worth to a task, and what it adds."""

    effects: Floats
    """How much likelier the right answer is by the head's mean output alone: a difference of probabilities, (layers, heads)."""
    added: Floats
    """What its mean output adds to the residual stream, (layers, heads, d_model)."""
    base: Mapping[str, str | int]
    """The model."""

    def best(self, heads: int | float = SHARE, *, up_to: int | None = None) -> list[tuple[int, int]]:
        """(layer, head), each counted from 1, of those of greatest effect, greatest first: so many, or a share of all.

        `up_to` leaves out the heads of the layers behind that one.
        """
        heads, up_to = as_python(heads), as_python(up_to)
        check_value("heads", heads, float, of="a function vector")
        check_value("up_to", up_to, int | None, of="a function vector")
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
        return [(place // width + 1, place % width + 1) for place in order]

    def vector(self, heads: int | float = SHARE, *, up_to: int | None = None) -> Floats:
        """The function vector of these heads, (d_model,); see `best`."""
        summed: Floats = sum(self.added[layer - 1, head - 1] for layer, head in self.best(heads, up_to=up_to))
        return summed

    def shift(
        self, *, layer: int, heads: int | float = SHARE, up_to: int | None = None, strength: float = 1.0
    ) -> SteeringVector:
        """The function vector times `strength`, added behind a layer at a prompt's last token; see `best`."""
        layer, strength = as_python(layer), as_python(strength)
        check_layer(layer, len(self.effects))
        check_value("strength", strength, float, of="a steering vector")
        vectors = scaled(self.vector(heads, up_to=up_to), strength)
        return SteeringVector((layer,)).with_parameters({"vectors": vectors}, self.base)


def head_effects(
    predictor: Predictor,
    task: Task,
    *,
    rows: int = 64,
    patched: int = 25,
    seed: int = 0,
    split: str | None = None,
    cache: bool = True,
) -> HeadEffects:
    """What the attention heads carry of a task, by the predictor's prompt with demonstrations.

    Mean outputs are over at most so many `rows` of the pool, and effects over the first `patched` of them; none whose inputs
    stand in `split`, which is to be evaluated. `seed` says which demonstrations change answers. No label is seen but those of
    the demonstrations and of the rows that are patched. Raises PromptkitError for a prompt without demonstrations and for one
    by the channel, and Unsupported for a model whose heads cannot be told apart.
    """
    prompt, model = shown_by(predictor), predictor.model
    if not isinstance(model, ExposesHeads):
        reason = f"The model {model.name} does not give access to its attention heads"
        raise Unsupported(reason, code="no-attention-heads", hint="Use an hf model, by its name alone", model=model.name)
    check_value("patched", patched, PositiveInt, of="the head effects")
    check_value("seed", seed, int, of="the head effects")
    chosen = chosen_rows(task, split, rows, of="the head effects")
    scored = Choices() if isinstance(predictor.reading, Extractor) else predictor.reading
    score_cache = ScoreCache() if cache else None
    right = _asked(Predictor(model, prompt, scored), task, chosen, score_cache)
    wrong = replace(prompt, order=Swapped(prompt.resolved_order, seed=seed))
    corrupted = _asked(Predictor(model, wrong, scored), task, chosen[:patched], score_cache)
    if corrupted == right[:patched]:
        raise InputError(
            "Swapping the answers of the demonstrations changes no prompt, so the effect of a head cannot be measured",
            code="same-answers",
            hint="Show at least two demonstrations with different answers: demos=pk.demos.balanced(k=8)",
            predictor=predictor.name,
        )
    heads = model.heads()
    mean = np.mean([heads.outputs(ids) for ids, _ in right], axis=0)
    effects = np.mean([heads.effects(ids, answer, mean) for ids, answer in corrupted], axis=0)
    return HeadEffects(effects=effects, added=heads.projected(mean), base=base_of(model))


@dataclass(frozen=True, slots=True)
class Swapped(Order):
    """An order in which demonstrations have one another's answers: each the next one's, in a circle by chance."""

    order: Order
    seed: int

    name: ClassVar[str] = "swapped"

    def bind(self, bench: SelectionContext) -> Arrange:
        """The order, and then the answers."""
        arrange = self.order.bind(bench)

        def swapped(examples: Sequence[Example], chosen: Sequence[Demonstrations]) -> list[Demonstrations]:
            return [self._swapped(each) for each in arrange(examples, chosen)]

        return swapped

    def _swapped(self, rows: Demonstrations) -> Demonstrations:
        circle = sorted(rows, key=lambda row: hash_rank(self.seed, "answers", row.id))
        givers = dict(zip((row.id for row in circle), [*circle[1:], *circle[:1]], strict=True))
        return tuple(
            replace(row, label=giver.label, accepted=giver.accepted, rationale=giver.rationale)
            for row in rows
            for giver in [givers[row.id]]
        )


def _asked(
    predictor: Predictor, task: Task, rows: Sequence[LabeledExample], cache: ScoreCache | None
) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Of each row, what the model reads, and the right answer behind it."""
    reading = predictor.reading
    assert isinstance(reading, Scorer)
    plain = [row.unlabeled() for row in rows]
    offered = [row.choices or ((row.label,) if isinstance(reading, Choices) else ()) for row in rows]
    answered = [
        Example(id=row.id, inputs={**row.inputs, **row.rationale}, choices=choices)
        for row, choices in zip(rows, offered, strict=True)
    ]
    shown = predictor.bind(task, cache=cache).apply(answered, context_of=plain)
    asked = []
    for row, example, rendered in zip(rows, answered, shown, strict=True):
        place = reading.words(example).index(reading.label_words().get(row.label, row.label))
        asked.append((rendered.input.ids, rendered.continuations[place]))
    return asked
