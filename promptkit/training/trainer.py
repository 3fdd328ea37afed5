"""Trains what a predictor learns on a frozen model: rows of the pool, the aligner's own objective, the best step on dev.

A training is a function of its recipe, the predictor and the rows: broken off and continued from its checkpoint, it comes to
the very same parameters.
"""

from __future__ import annotations

import logging
import math
import os
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from promptkit.core.arrays import parameters_digest
from promptkit.core.distributed import processes
from promptkit.core.errors import InputError, TrainingError, Unsupported
from promptkit.core.examples import LabeledExample
from promptkit.core.manipulation import Learnable
from promptkit.core.model import Differentiable
from promptkit.core.registry import spelling
from promptkit.core.version import __version__
from promptkit.manipulate.learned.trigger_tokens import TriggerTokens
from promptkit.models.cache import ScoreCache
from promptkit.models.client import DryRunModel, NeedsAnswer
from promptkit.models.registry import load
from promptkit.predictor.compatibility import base_of
from promptkit.predictor.predictor import Predictor
from promptkit.runs.folder import RunFolder
from promptkit.tasks.task import Task
from promptkit.training import checkpoint
from promptkit.training.checkpoint import DevEvaluation, TrainingState
from promptkit.training.dataset import Rows, TrainingData, divided, learnables, owner, parts_of, refused
from promptkit.training.fit import TrainingResult
from promptkit.training.losses import Batch, BlackBoxLosses, GradientLosses, Losses
from promptkit.training.optimizers.base import Optimizer
from promptkit.training.recipe import TrainingConfig

_log = logging.getLogger(__name__)

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
) -> TrainingResult:
    """Train what the predictor's list of manipulations learns, such as a soft prompt. `recipe`: the keywords of `Recipe`.

    Rows come from the pool, the best step is chosen by dev, and no row whose inputs stand in `split`, which is to be
    evaluated, is in either. The folder `out`/train-TASK-<hash of settings> holds a checkpoint, from which the same call
    continues, and at the end what was learned. Raises PromptkitError for what cannot be trained, and for a loss that is no
    number. Several processes train together, see `promptkit.core.distributed`: all of them call this, and learn the same.
    """
    told = TrainingConfig.of(recipe)
    if not learnables(predictor):
        hint = 'Write pk.Predictor(model, [pk.Prompt("sentiment/review"), pk.SoftPrompt(10)], ...)'
        raise TrainingError(
            "The predictor has no trainable parameters", code="nothing-to-train", hint=hint, predictor=predictor.name
        )
    rows, told = check(predictor, task, split=split, recipe=told)
    launched = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if launched not in ("no", told.mixed_precision):
        told_own = "accelerate was told mixed precision %s; this training has its own: mixed_precision=%r."
        _log.warning(told_own, launched, told.mixed_precision)
    return _Training(predictor, task, rows, told, cache=cache, progress=progress).run(out)


def check(predictor: Predictor, task: Task, *, split: str | None, recipe: TrainingConfig) -> tuple[Rows, TrainingConfig]:
    """The rows of a training and its settled recipe; raises whatever can be known before a model's weights load."""
    if not isinstance(task, Task):
        reason, hint = "A training needs a task object, not a name", 'Write pk.task("sentiment")'
        raise InputError(reason, code="not-a-task", got=repr(task)[:100], hint=hint, value=repr(task)[:100])
    learned = learnables(predictor)
    if predictor.chain.calibration:
        hint = "Train without the calibration, then evaluate with it"
        name = predictor.name
        raise InputError(
            "A training needs uncalibrated scores", code="calibrated-predictor", got=name, hint=hint, predictor=name
        )
    discrete = {isinstance(each, TriggerTokens) for each in learned}
    if len(discrete) > 1:
        found = tuple(each.name for each in learned)
        raise TrainingError(
            "Tokens and vectors cannot be trained together: no optimizer changes both",
            code="tokens-and-vectors",
            got=", ".join(found),
            hint="Train each of them alone",
            manipulations=found,
        )
    settled = recipe.resolved(discrete=discrete == {True})
    rows = Rows.of(task, split, settled)
    _check_asks_nothing(predictor, task, rows.pool[0])
    return rows, settled


def _check_asks_nothing(predictor: Predictor, task: Task, row: LabeledExample) -> None:
    """Raise for a prompt that the model is asked about while it is made; a text's likeness it may be asked for."""
    card = replace(predictor.model.card, context_length=sys.maxsize)
    around = predictor.bind_context(task, ask=DryRunModel(card), load_model=lambda name: load("fake"))
    with suppress(NeedsAnswer):
        parts_of(predictor)[0].bind(replace(around, transform=refused))([row.unlabeled()])


class _Training:
    """One training, from wherever it stands to its end."""

    def __init__(
        self, predictor: Predictor, task: Task, rows: Rows, recipe: TrainingConfig, *, cache: bool, progress: Progress | None
    ) -> None:
        assert recipe.optimizer is not None  # the recipe is settled
        self._optimizer: Optimizer = recipe.optimizer
        self._predictor, self._task, self._rows, self._recipe = predictor, task, rows, recipe
        self._material = TrainingData(predictor, task, rows, recipe, ScoreCache() if cache else None)
        self._losses = _losses(self._material, recipe)
        self._highest = [recipe.highest(each.learning_rate) for each in self._material.learnables]
        self._processes = processes()
        self._progress = progress if progress and self._processes.is_main else lambda done, total, told: None
        self._clock = time.perf_counter()
        self._settings = {
            "promptkit": __version__,
            "train": {**recipe.settings(), "rates": self._highest},
            "task": task.identity(),
            "rows": rows.digests(),
            "model": dict(predictor.model.identity()),
            "manipulate": dict(predictor.manipulate.settings()),
            "align": dict(predictor.reading.settings()),
        }

    def run(self, out: str | Path) -> TrainingResult:
        """Train, or go on with it, or read what has come of it."""
        folder = RunFolder(out, f"train-{self._task.name}", self._settings)
        with folder.locked() if self._processes.is_main else nullcontext():
            standing = checkpoint.read(folder.path) or self._begun()
            resumed = standing.step
            held = parameters_digest({**standing.fixed_parameters, **standing.parameters, **standing.state})
            self._processes.check_same(f"{folder.path.name} after {resumed} steps, {held} {standing.done}".rstrip())
            if not standing.done:
                self._trained(standing, folder.path)
            fit = self._fit(standing, folder.path, resumed)
            if self._processes.is_main:
                fit.save(folder.path)
        self._processes.total(np.zeros(1))  # for each process the folder is whole
        return fit

    def _begun(self) -> TrainingState:
        begun = self._material.initial_parameters()
        constants = {name: array for name, array in begun.items() if self._material.is_constant(name)}
        parameters = {name: array for name, array in begun.items() if name not in constants}
        return TrainingState(parameters=parameters, best=dict(parameters), fixed_parameters=constants)

    def _trained(self, standing: TrainingState, folder: Path) -> None:
        before = self._losses.weights_hash()
        if not standing.looks:
            self._look(standing, folder)
        make_step = self._optimizer.begin(standing, self._recipe.seed)
        while not standing.done:
            batch = Batch(self._losses, self._material.chosen(standing.step), standing.fixed_parameters)
            with np.errstate(over="ignore", invalid="ignore"):  # a loss that is no number is told
                loss = make_step(batch, self._rates(standing))
            standing.losses.append(loss)
            standing.evaluations["steps"] = standing.evaluations.get("steps", 0) + batch.evaluations
            self._check_finite(loss, standing)
            standing.step += 1
            if standing.step % self._recipe.eval_every == 0 or standing.step == self._recipe.steps:
                self._look(standing, folder)
            self._tell(standing)
        changed = self._losses.weights_hash() != before
        if self._processes.total(np.array([float(changed)]))[0]:
            reason = "The weights of the frozen model have changed during the training: please report this"
            raise TrainingError(reason, code="frozen-weights-changed", model=self._predictor.model.name)
        self._keep(standing, folder)

    def _keep(self, standing: TrainingState, folder: Path) -> None:
        """Write a checkpoint, which tells what all calls have taken."""
        now = time.perf_counter()
        standing.seconds += now - self._clock
        self._clock = now
        if self._processes.is_main:
            checkpoint.write(folder, standing)

    def _rates(self, standing: TrainingState) -> dict[str, float]:
        """The learning rate of each parameter in this step."""
        share = self._recipe.share(standing.step)
        return {name: (self._highest[owner(name)] or 0.0) * share for name in standing.parameters}

    def _check_finite(self, loss: float, standing: TrainingState) -> None:
        if not math.isfinite(loss):
            rates = ", ".join(f"learning_rate={rate}" for rate in self._highest if rate is not None)
            narrow = " and --mixed-precision bf16" if self._recipe.mixed_precision == "fp16" else ""
            raise TrainingError(
                f"The loss after {standing.step} steps is {loss}: the training has diverged",
                code="diverged",
                got=", ".join(filter(None, [spelling(self._optimizer), rates])),
                hint=f"Use a lower {'learning rate' if rates else 'sigma'}, or --set dtype=float32{narrow}",
                step=standing.step,
                loss=loss,
                optimizer=spelling(self._optimizer),
                learning_rates=tuple(rate for rate in self._highest if rate is not None),
            )

    def _look(self, standing: TrainingState, folder: Path) -> None:
        """See how good it is on dev, and write a checkpoint."""
        dev = self._material.dev
        (judged,) = self._losses.judged([{**standing.fixed_parameters, **standing.parameters}], dev)
        standing.evaluations["dev"] = standing.evaluations.get("dev", 0) + len(dev)
        right = [each for _, each in judged if each is not None]
        accuracy = sum(right) / len(right) if right else None
        mean = sum(loss for loss, _ in judged) / len(judged)
        self._check_finite(mean, standing)
        standing.looks.append(DevEvaluation(step=standing.step, loss=mean, accuracy=accuracy))
        if standing.chosen is standing.looks[-1]:
            standing.best = dict(standing.parameters)
        patience = self._recipe.patience
        if standing.step >= self._recipe.steps:
            standing.done = "it has made all its steps"
        elif patience is not None and len(standing.looks) - standing.looks.index(standing.chosen) > patience:
            standing.done = f"dev was no better in {patience} looks at it"
        if not standing.done:  # the last one is written when the weights are seen to be as they were
            self._keep(standing, folder)

    def _tell(self, standing: TrainingState) -> None:
        look = standing.looks[-1]
        dev = f"loss {look.loss:.3f}" if look.accuracy is None else f"accuracy {look.accuracy:.3f}"
        self._progress(standing.step, self._recipe.steps, f"loss {standing.losses[-1]:.3f}, dev {dev}")

    def _fit(self, standing: TrainingState, path: Path, resumed: int) -> TrainingResult:
        base = base_of(self._predictor.model)
        learned = iter(divided({**standing.fixed_parameters, **standing.best}))
        parts = [
            each.with_parameters(next(learned), base) if isinstance(each, Learnable) else each
            for each in parts_of(self._predictor)
        ]
        aligners = [self._predictor.reading]
        return TrainingResult(
            predictor=Predictor(self._predictor.model, parts, aligners),
            learned=tuple(each for each in parts if isinstance(each, Learnable)),
            trainable=sum(math.prod(array.shape) for array in standing.best.values()),
            task=self._task.name,
            recipe=self._recipe,
            rates=tuple(self._highest),
            losses=tuple(standing.losses),
            looks=tuple(standing.looks),
            chosen=standing.chosen,
            ended=standing.done,
            rows={"pool": len(self._rows.pool), "dev": len(self._rows.dev)},
            notes=(*self._rows.scarce(self._task.labels, self._recipe.per_class), *self._predictor.model.notes()),
            evaluations=dict(standing.evaluations),
            resumed=resumed,
            seconds=standing.seconds,
            path=path,
        )


def _losses(material: TrainingData, recipe: TrainingConfig) -> Losses:
    """The losses that an optimizer asks for; raises where the model cannot give them."""
    optimizer = recipe.optimizer
    assert optimizer is not None  # the recipe is settled
    if processes().count > 1 and not isinstance(material.model, Differentiable):
        raise Unsupported(
            f"Training in several processes needs an hf model, and this one is {material.model.name}",
            code="several-processes",
            hint="Start one process: an engine such as vllm uses several GPUs by itself, --set tensor_parallel_size=2",
            model=material.model.name,
        )
    if not optimizer.gradients:
        return BlackBoxLosses(material)
    if not isinstance(material.model, Differentiable):
        ways = (
            "Train on an hf model"
            if optimizer.discrete
            else "Train on an hf model, or without gradients: --optimizer spsa or cma-es"
        )
        name = material.model.name
        raise Unsupported(f"The model {name} does not provide gradients", code="no-gradients", hint=ways, model=name)
    return GradientLosses(
        material, material.model, checkpointing=recipe.gradient_checkpointing, precision=recipe.mixed_precision
    )
