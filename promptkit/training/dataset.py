"""What is trained, and on what: rows, the prompts made of them, and what is right of each. Knows nothing of optimizers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from promptkit.align.choices import Choices
from promptkit.align.loss import Target
from promptkit.core.alignment import Extractor, PerClass
from promptkit.core.arrays import Array
from promptkit.core.errors import TaskError, Unsupported
from promptkit.core.examples import Example, LabeledExample, Part
from promptkit.core.hashing import short_hash
from promptkit.core.inputs import TextInput
from promptkit.core.manipulation import BindContext, InputTransform, Learnable
from promptkit.core.rendered import Rendered
from promptkit.core.requests import Request
from promptkit.evaluation.support import chosen
from promptkit.manipulate.compose import Composed, in_turn
from promptkit.models.cache import ScoreCache
from promptkit.predictor.predictor import BoundPredictor, Predictor
from promptkit.tasks.sampling import by_hash
from promptkit.tasks.task import Task, untested
from promptkit.training.recipe import TrainingConfig

PARTS: tuple[Part, Part] = ("pool", "dev")
"""Trained on, and chosen by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What a training sees."""

    pool: Sequence[LabeledExample]
    """Trained on."""
    dev: Sequence[LabeledExample]
    """The step is chosen by them."""

    @classmethod
    def of(cls, task: Task, split: str | None, recipe: TrainingConfig) -> Rows:
        """Those of the pool and of dev whose inputs do not stand in the split; raises where there are none."""
        if recipe.per_class is not None and not task.labels:
            raise TaskError(
                f"per_class needs a task with labels, and {task.name} declares none",
                code="no-fixed-labels",
                got=f"per_class={recipe.per_class}",
                hint="Leave it out",
                task=task.name,
                per_class=recipe.per_class,
            )
        evaluated = task.rows(split or task.spec.split)
        pool, dev = (by_hash(untested(task.part(part), evaluated), None) for part in PARTS)
        for part, found in zip(PARTS, (pool, dev), strict=True):
            if not found:
                raise task.without_rows("to train by", part)
        return cls(pool=_drawn(pool, recipe), dev=dev[: recipe.dev])

    def scarce(self, labels: Sequence[str], per_class: int | None) -> tuple[str, ...]:
        """Where there are fewer rows of a label than a training has asked for, a note that says how many there are."""
        counts = Counter(row.label for row in self.pool)
        fewer = [f"{label} ({counts[label]})" for label in labels if counts[label] < (per_class or 0)]
        some = ", ".join(fewer[:5]) + (", ..." if len(fewer) > 5 else "")
        return (f"{len(fewer)} of {len(labels)} labels have fewer than {per_class} rows to train on: {some}",) if fewer else ()

    def digests(self) -> dict[str, str]:
        """A hash of each part."""
        return {"pool": _digest(self.pool), "dev": _digest(self.dev)}


class TrainingData:
    """The rows of a training as prompts: first those of the pool that some step sees, then dev's."""

    def __init__(self, predictor: Predictor, task: Task, rows: Rows, recipe: TrainingConfig, cache: ScoreCache | None) -> None:
        """`cache` answers what is asked while prompts are made."""
        self.model = predictor.model
        self.reading: Any = predictor.reading
        """The aligner that is trained for; see `bound` for a text that the model is to write."""
        self.learnables = learnables(predictor)
        self._predictor, self._task, self._rows, self._recipe, self._cache = predictor, task, rows, recipe, cache

    # ---- what is learned ---------------------------------------------------------------------------

    def initial_parameters(self) -> dict[str, Array]:
        """What it learns as it is: what was learned before, or what each begins as."""
        parts = [each.initial_parameters(self.around) for each in self.learnables]
        return {f"{place}.{name}": array for place, part in enumerate(parts) for name, array in part.items()}

    def is_constant(self, name: str) -> bool:
        """Whether no step changes it."""
        return name.partition(".")[2] in self.learnables[owner(name)].fixed_parameters

    def put(self, learned: Sequence[Learnable]) -> list[InputTransform]:
        """What all changes do to a prompt, with these in the place of those that are learned."""
        fixed, own = self.bound.apply.changes, iter(learned)
        changes = self._predictor.manipulate.modifiers
        pairs = zip(changes, fixed, strict=True)
        return [next(own).bind(self.around) if isinstance(change, Learnable) else put for change, put in pairs]

    def with_parameters(self, parameters: Mapping[str, Array]) -> list[Learnable]:
        """What is learned, with these parameters."""
        return [each.with_parameters(own, {}) for each, own in zip(self.learnables, divided(parameters), strict=True)]

    # ---- rows --------------------------------------------------------------------------------------

    def chosen(self, step: int) -> list[int]:
        """Where the rows that a step sees stand."""
        return [self._places[index] for index in self._recipe.batch(self._ids, step)]

    @property
    def dev(self) -> Sequence[int]:
        """Where dev's rows stand."""
        return range(len(self._places), len(self._examples))

    def requests(self, put: Sequence[InputTransform], chosen: Sequence[int]) -> list[Request]:
        """What the model is asked of these rows."""
        changed = in_turn(put)
        rows = [(self._examples[place], self._plain[place]) for place in chosen]
        return [self.bound.request(row, replace(plain, input=changed(plain.input))) for row, plain in rows]

    @property
    def everything(self) -> Sequence[int]:
        """Where all rows stand."""
        return range(len(self._examples))

    @cached_property
    def targets(self) -> list[Target]:
        """What is right of each row."""
        targets = []
        for row, example, rendered in zip(self._seen, self._examples, self._plain, strict=True):
            gold = None if self._written else _gold(row, self.reading.candidates(example))
            targets.append(Target(gold=gold, label_token_counts=rendered.label_token_counts))
        return targets

    @cached_property
    def around(self) -> BindContext:
        """What manipulations may see and ask."""
        return self._predictor.bind_context(self._task, cache=self._cache)

    @cached_property
    def bound(self) -> Any:
        """For a text that the model is to write, the right text is scored, to its end."""
        reading: Any = Choices() if self._written else self.reading
        around = replace(self.around, reading=reading, transform=refused, scores_end=self._written)
        return BoundPredictor(model=self.model, reading=reading, apply=self._predictor.manipulate.bind(around))

    @property
    def _written(self) -> bool:
        """Whether the model is to write texts."""
        return isinstance(self.reading, Extractor)

    @cached_property
    def _plain(self) -> list[Rendered]:
        """The prompts before any change, with room for them."""
        rendered: list[Rendered] = self.bound.apply.prompt(self._examples)
        return rendered

    @cached_property
    def _ids(self) -> tuple[str, ...]:
        return tuple(row.id for row in self._rows.pool)

    @cached_property
    def _places(self) -> dict[int, int]:
        """Of the pool's rows that some step sees: where each stands."""
        seen: set[int] = set()
        for step in range(self._recipe.steps):
            seen.update(self._recipe.batch(self._ids, step))
            if len(seen) == len(self._ids):
                break
        return {index: place for place, index in enumerate(sorted(seen))}

    @cached_property
    def _seen(self) -> list[LabeledExample]:
        return [*(self._rows.pool[index] for index in self._places), *self._rows.dev]

    @cached_property
    def _examples(self) -> list[Example]:
        """A right text stands as the one answer that is offered."""
        return [row.answered() if self._written else row.unlabeled() for row in self._seen]


def learnables(predictor: Predictor) -> tuple[Learnable, ...]:
    """What the predictor's manipulations learn, in their order."""
    return tuple(each for each in parts_of(predictor)[1:] if isinstance(each, Learnable))


def parts_of(predictor: Predictor) -> list[Any]:
    """The prompt, and what changes it."""
    whole = predictor.manipulate
    return [whole.prompt, *whole.modifiers] if isinstance(whole, Composed) else [whole]


def divided(named: Mapping[str, Any]) -> list[dict[str, Any]]:
    """`place.name` -> value, as one mapping a place."""
    parts: dict[int, dict[str, Any]] = {}
    for key, value in named.items():
        parts.setdefault(owner(key), {})[key.partition(".")[2]] = value
    return [parts[place] for place in sorted(parts)]


def owner(key: str) -> int:
    """Which of those that are learned the parameter `place.name` is of."""
    return int(key.partition(".")[0])


def refused(prompt: TextInput) -> TextInput:
    """Of a prompt that the model is asked while another is made: what is learned would change the answers."""
    raise Unsupported(
        "A training cannot use a prompt that depends on the model's own answers, because every step would change them",
        code="prompt-depends-on-model",
        hint="Leave out the chain of thought, or choose and order the demonstrations at random or by similarity",
    )


def _drawn(rows: Sequence[LabeledExample], recipe: TrainingConfig) -> list[LabeledExample]:
    """At most so many rows of each label as the recipe says, drawn by its seed, in the order given."""
    if recipe.per_class is None:
        return [*rows]
    return [rows[place] for place in chosen(PerClass(recipe.per_class, recipe.seed), [(row.id, row.label) for row in rows])]


def _gold(row: LabeledExample, candidates: Sequence[str]) -> int:
    if row.label not in candidates:
        raise TaskError(
            f"Row {row.id} has the label {row.label}, for which the aligner has no word",
            code="label-without-word",
            got=", ".join(candidates),
            row=row.id,
            label=row.label,
        )
    return candidates.index(row.label)


def _digest(rows: Sequence[LabeledExample]) -> str:
    lines = "\n".join(f"{row.id} {row.label} {row.accepted} {dict(row.rationale)}" for row in rows)
    return short_hash(lines)
