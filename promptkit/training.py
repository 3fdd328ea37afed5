"""Trains what a predictor learns on a frozen model: rows of the pool, the aligner's own objective, the best step on dev.

A training is a function of its recipe, the predictor and the rows: broken off and continued from its checkpoint, it comes to
the very same parameters.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptkit import __version__, checkpoint
from promptkit.align.choices import Choices
from promptkit.aligners import Extractor
from promptkit.cache import ScoreCache
from promptkit.checkpoint import Look, Standing
from promptkit.composition import Composed, base_of
from promptkit.errors import PromptkitError, Unsupported
from promptkit.evaluation import by_hash
from promptkit.fit import Fit
from promptkit.manipulate.arrays import as_array, as_numpy
from promptkit.manipulations import Learnable
from promptkit.objective import Target, loss_of
from promptkit.predictor import BoundPredictor, Predictor
from promptkit.recipe import Recipe
from promptkit.store import RunFolder
from promptkit.tasks import Task, untested
from promptkit.types import Array, Differentiable, Example, LabelledExample, Request, Trains
from promptkit.within import Within

if TYPE_CHECKING:
    from torch import Tensor

BETAS, EPSILON = (0.9, 0.999), 1e-8
"""Adam's own (Kingma and Ba 2015, 1412.6980)."""
Progress = Callable[[int, int, str], None]
"""(steps made, steps in all, loss and dev accuracy)"""


def train(
    predictor: Predictor,
    task: Task,
    *,
    split: str | None = None,
    out: str | Path = "runs",
    cache: bool = True,
    progress: Progress | None = None,
    **recipe: Any,
) -> Fit:
    """Train what the predictor's list of manipulations learns, such as a soft prompt. `recipe`: the keywords of `Recipe`.

    Rows come from the pool, the best step is chosen by dev, and no row whose inputs stand in `split`, which is to be
    evaluated, is in either. The folder `out`/train-TASK-<hash of settings> holds a checkpoint, from which the same call
    continues, and at the end what was learned. Raises PromptkitError for what cannot be trained, and for a loss that is no
    number.
    """
    told = Recipe.of(recipe)
    if not learnables(predictor):
        hint = 'Write pk.Predictor(model, [pk.Prompt("sentiment/review"), pk.SoftPrompt(10)], ...)'
        raise PromptkitError("There is nothing to be learned in this predictor", hint=hint)
    rows = check(predictor, task, split=split, recipe=told)
    return _Training(predictor, task, rows, told, cache=cache, progress=progress).run(out)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What a training sees."""

    pool: Sequence[LabelledExample]
    """Trained on."""
    dev: Sequence[LabelledExample]
    """The step is chosen by them."""


def check(predictor: Predictor, task: Task, *, split: str | None, recipe: Recipe) -> Rows:
    """The rows of a training; raises whatever can be known before a model's weights load."""
    if not isinstance(task, Task):
        raise PromptkitError("A training takes a task, not its name", got=repr(task), hint='Write pk.task("sentiment")')
    if predictor.chain.calibration:
        hint = "Train without the calibration, then evaluate with it"
        raise PromptkitError("A training follows uncalibrated scores", got=predictor.name, hint=hint)
    if recipe.per_class is not None and not task.labels:
        reason = f"Rows are counted by label, and {task.name} declares no labels"
        raise PromptkitError(reason, got=f"per_class={recipe.per_class}", hint="Leave it out")
    split = split or task.spec.split
    evaluated = task.rows(split)
    pool, dev = by_hash(untested(task.part("pool"), evaluated), None), by_hash(untested(task.part("dev"), evaluated), None)
    for part, found in (("pool", pool), ("dev", dev)):
        if not found:
            raise PromptkitError(
                f"The task {task.name} has no rows to train by: the {part} part of its train split is empty",
                hint="Give it more train rows; hold_out: 0.5 makes them of a test split",
            )
    return Rows(pool=_first_of_each(pool, recipe.per_class), dev=dev[: recipe.dev])


def learnables(predictor: Predictor) -> tuple[Learnable, ...]:
    """What the predictor's manipulations learn, in their order."""
    whole = predictor.manipulate
    return tuple(each for each in whole.changes if isinstance(each, Learnable)) if isinstance(whole, Composed) else ()


def _first_of_each(rows: Sequence[LabelledExample], count: int | None) -> list[LabelledExample]:
    """At most `count` rows of each label, in the order given."""
    seen: dict[str, int] = {}
    kept = []
    for row in rows:
        seen[row.label] = seen.get(row.label, 0) + 1
        if count is None or seen[row.label] <= count:
            kept.append(row)
    return kept


class _Training:
    """One training, from wherever it stands to its end."""

    def __init__(
        self, predictor: Predictor, task: Task, rows: Rows, recipe: Recipe, *, cache: bool, progress: Progress | None
    ) -> None:
        if not isinstance(predictor.model, Trains):
            raise Unsupported(f"No gradients flow through the model {predictor.model.name}", hint="Train on an hf model")
        self._predictor, self._task, self._rows, self._recipe = predictor, task, rows, recipe
        self._model: Trains = predictor.model
        self._cache = ScoreCache() if cache else None
        self._progress = progress or (lambda done, total, told: None)
        self._learnables = learnables(predictor)
        self._settings = {
            "promptkit": __version__,
            "train": recipe.settings(),
            "task": task.identity(),
            "rows": {"pool": _digest(rows.pool), "dev": _digest(rows.dev)},
            "model": dict(predictor.model.identity()),
            "manipulate": dict(predictor.manipulate.settings()),
            "align": dict(predictor.reading.settings()),
        }

    def run(self, out: str | Path) -> Fit:
        """Train, or go on with it, or read what has come of it."""
        began = time.perf_counter()
        folder = RunFolder(out, f"train-{self._task.name}", self._settings)
        with folder.locked():
            standing = checkpoint.read(folder.path)
            resumed = standing.step if standing else 0
            if standing is None or not standing.done:
                standing = self._trained(standing or self._begun(), folder.path)
            fit = self._fit(standing, folder.path, resumed, time.perf_counter() - began)
            fit.save(folder.path)
        return fit

    # ---- the loop ---------------------------------------------------------------------------------

    def _trained(self, standing: Standing, folder: Path) -> Standing:
        before = self._forward.weights_hash()
        if not standing.looks:
            self._look(standing, folder)
        while not standing.done:
            self._step(standing)
            if standing.step % self._recipe.every == 0 or standing.step == self._recipe.steps:
                self._look(standing, folder)
            self._tell(standing)
        if self._forward.weights_hash() != before:
            raise PromptkitError("The weights of the frozen model have changed while it was trained on: please report this")
        checkpoint.write(folder, standing)
        return standing

    def _step(self, standing: Standing) -> None:
        """One step of AdamW; keeps the loss before it."""
        parameters = {
            name: _tensor(array, self._forward.device).requires_grad_() for name, array in standing.parameters.items()
        }
        chosen = [self._places[index] for index in self._recipe.batch(self._ids, standing.step)]
        total = 0.0
        for part in self._forward.batches(chosen):
            losses = [loss for loss, _ in self._losses(part, parameters)]
            mean = sum(losses[1:], losses[0]) / len(chosen)
            mean.backward()  # type: ignore[no-untyped-call]
            total += float(mean.detach())
        standing.losses.append(total)
        self._check_finite(total, standing)
        gradients = {name: tensor.grad for name, tensor in parameters.items() if tensor.grad is not None}
        adamw(standing, gradients, self._recipe, self._rates)
        standing.step += 1

    def _check_finite(self, loss: float, standing: Standing) -> None:
        if not math.isfinite(loss):
            raise PromptkitError(
                f"The loss after {standing.step} steps is {loss}: the training has diverged",
                got=f"learning_rate={', '.join(map(str, self._rates.values()))}",
                hint="Use a lower learning rate, or --set dtype=float32",
            )

    def _losses(self, chosen: Sequence[int], parameters: Mapping[str, Tensor]) -> list[tuple[Tensor, bool | None]]:
        """Of rows that are computed at once: each one's loss, and whether it is answered right."""
        reading, targets = self._bound.reading, self._targets
        scores = self._forward.scores(chosen, self._within(parameters))
        return [loss_of(reading, targets[index], rows) for index, rows in zip(chosen, scores, strict=True)]

    def _within(self, parameters: Mapping[str, Tensor]) -> Within[Tensor]:
        """What every prompt holds that is learned."""
        import torch

        parts = [each.within(own) for each, own in zip(self._learnables, _divided(parameters), strict=True)]
        rows = [part.vectors for part in parts if part.vectors is not None]
        return Within(
            vectors=torch.cat(rows) if rows else None,
            prefixes=tuple(prefix for part in parts for prefix in part.prefixes),
            edits=tuple(edit for part in parts for edit in part.edits),
        )

    def _look(self, standing: Standing, folder: Path) -> None:
        """See how good it is on dev, and write a checkpoint."""
        import torch

        parameters = {name: _tensor(array, self._forward.device) for name, array in standing.parameters.items()}
        first, end = len(self._places), len(self._examples)
        losses, right = [], []
        with torch.no_grad():
            for part in self._forward.batches(range(first, end)):
                for loss, correct in self._losses(part, parameters):
                    losses.append(float(loss))
                    right.append(correct)
        accuracy = None if None in right else sum(map(bool, right)) / len(right)
        mean = sum(losses) / len(losses)
        self._check_finite(mean, standing)
        standing.looks.append(Look(step=standing.step, loss=mean, accuracy=accuracy))
        if standing.chosen is standing.looks[-1]:
            standing.best = dict(standing.parameters)
        patience = self._recipe.patience
        if standing.step >= self._recipe.steps:
            standing.done = "it has made all its steps"
        elif patience is not None and len(standing.looks) - standing.looks.index(standing.chosen) > patience:
            standing.done = f"dev was no better in {patience} looks at it"
        if not standing.done:  # the last one is written when the weights are seen to be as they were
            checkpoint.write(folder, standing)

    def _tell(self, standing: Standing) -> None:
        look = standing.looks[-1]
        dev = f"loss {look.loss:.3f}" if look.accuracy is None else f"accuracy {look.accuracy:.3f}"
        self._progress(standing.step, self._recipe.steps, f"loss {standing.losses[-1]:.3f}, dev {dev}")

    # ---- what is trained, and on what --------------------------------------------------------------

    def _begun(self) -> Standing:
        """What it learns as it is: what was learned before, or what each begins as."""
        around = self._predictor.surroundings(self._task, cache=self._cache)
        parts = [each.begun(around) for each in self._learnables]
        named = {f"{place}.{name}": array for place, part in enumerate(parts) for name, array in part.items()}
        return Standing(parameters=named, best=dict(named))

    @cached_property
    def _rates(self) -> dict[int, float]:
        """The learning rate of each that is learned, by its place: the recipe's, or its own."""
        told = self._recipe.learning_rate
        return {place: told or each.learning_rate for place, each in enumerate(self._learnables)}

    @cached_property
    def _bound(self) -> BoundPredictor:
        """For a text that the model is to write, the right text is scored."""
        predictor = self._predictor
        if isinstance(predictor.reading, Extractor):
            predictor = Predictor(predictor.model, [*_parts(predictor)], Choices())
        return predictor.bind(self._task, cache=self._cache)

    @cached_property
    def _requests(self) -> list[Request]:
        return [
            self._bound.request(example, rendered) for example, rendered in zip(self._examples, self._rendered, strict=True)
        ]

    @cached_property
    def _rendered(self) -> list[Any]:
        return self._bound.apply(self._examples)

    @cached_property
    def _ids(self) -> tuple[str, ...]:
        return tuple(row.id for row in self._rows.pool)

    @cached_property
    def _places(self) -> dict[int, int]:
        """Of the pool's rows that some step sees: where each stands among the requests."""
        seen = {index for step in range(self._recipe.steps) for index in self._recipe.batch(self._ids, step)}
        return {index: place for place, index in enumerate(sorted(seen))}

    @cached_property
    def _seen(self) -> list[LabelledExample]:
        """The pool's rows that some step sees, then dev's."""
        return [*(self._rows.pool[index] for index in self._places), *self._rows.dev]

    @cached_property
    def _examples(self) -> list[Example]:
        """A right text stands as the one answer that is offered."""
        written = isinstance(self._predictor.reading, Extractor)
        return [_example(row, written=written) for row in self._seen]

    @cached_property
    def _targets(self) -> list[Target]:
        reading: Any = self._predictor.reading
        targets = []
        for row, example, rendered in zip(self._seen, self._examples, self._rendered, strict=True):
            gold = None if isinstance(reading, Extractor) else _gold(row, reading.candidates(example))
            targets.append(Target(gold=gold, given=rendered.given))
        return targets

    @cached_property
    def _forward(self) -> Differentiable:
        return self._model.differentiable(self._requests)

    def _fit(self, standing: Standing, path: Path, resumed: int, seconds: float) -> Fit:
        base = base_of(self._predictor.model)
        learned = iter(_divided(standing.best))
        parts = [each.learned(next(learned), base) if isinstance(each, Learnable) else each for each in _parts(self._predictor)]
        aligners = [self._predictor.reading]
        return Fit(
            predictor=Predictor(self._predictor.model, parts, aligners),
            learned=tuple(each for each in parts if isinstance(each, Learnable)),
            task=self._task.name,
            recipe=self._recipe,
            losses=tuple(standing.losses),
            looks=tuple(standing.looks),
            chosen=standing.chosen,
            ended=standing.done,
            rows={"pool": len(self._rows.pool), "dev": len(self._rows.dev)},
            resumed=resumed,
            seconds=seconds,
            path=path,
        )


def adamw(standing: Standing, gradients: Mapping[str, Any], recipe: Recipe, rates: Mapping[int, float]) -> None:
    """One step on the standing's parameters, counted from its `step`; `rates`: the highest, by place."""
    count = standing.step + 1
    for name, gradient in gradients.items():
        rate = rates[int(name.partition(".")[0])] * recipe.share(standing.step)
        held = standing.parameters[name]
        p, g = _tensor(held, "cpu"), gradient.cpu()
        m, v = (_tensor(old[name], "cpu") if name in old else 0 * g for old in (standing.first, standing.second))
        m = BETAS[0] * m + (1 - BETAS[0]) * g
        v = BETAS[1] * v + (1 - BETAS[1]) * g * g
        p = p - rate * recipe.weight_decay * p
        p = p - rate * (m / (1 - BETAS[0] ** count)) / ((v / (1 - BETAS[1] ** count)).sqrt() + EPSILON)
        for kind, x in (("parameters", p), ("first", m), ("second", v)):
            getattr(standing, kind)[name] = as_array(x.numpy())


def _tensor(array: Array, device: Any) -> Tensor:
    import torch

    return torch.from_numpy(as_numpy(array).copy()).to(device)


def _divided(named: Mapping[str, Any]) -> list[dict[str, Any]]:
    """`place.name` -> value, as one mapping a place."""
    parts: dict[int, dict[str, Any]] = {}
    for key, value in named.items():
        place, _, name = key.partition(".")
        parts.setdefault(int(place), {})[name] = value
    return [parts[place] for place in sorted(parts)]


def _parts(predictor: Predictor) -> list[Any]:
    whole = predictor.manipulate
    return [whole.prompt, *whole.changes] if isinstance(whole, Composed) else [whole]


def _example(row: LabelledExample, *, written: bool) -> Example:
    if written:
        return Example(id=row.id, inputs={**row.inputs, **row.working}, choices=(row.label,))
    return Example(id=row.id, inputs=row.inputs, choices=row.choices)


def _gold(row: LabelledExample, candidates: Sequence[str]) -> int:
    if row.label not in candidates:
        raise PromptkitError(
            f"Row {row.id} is labelled {row.label}, for which the aligner has no word", got=", ".join(candidates)
        )
    return candidates.index(row.label)


def _digest(rows: Sequence[LabelledExample]) -> str:
    lines = "\n".join(f"{row.id} {row.label} {row.accepted} {dict(row.working)}" for row in rows)
    return hashlib.sha256(lines.encode("utf-8", "surrogatepass")).hexdigest()[:16]
