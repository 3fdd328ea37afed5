"""Trains the learnable manipulations of a predictor on a frozen model.

Training minimizes the aligner's own loss on rows of the pool, and selects the best step on the dev rows. It is a function
of the configuration, the predictor and the rows: resumed from a checkpoint, it learns exactly the same parameters.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from promptkit.core.arguments import check_arguments
from promptkit.core.arrays import parameters_digest
from promptkit.core.caller import engine_setting, setting, spelled
from promptkit.core.distributed import processes
from promptkit.core.errors import TrainingError
from promptkit.core.manipulation import Learnable, Manipulation, Modifier
from promptkit.core.model import Differentiable
from promptkit.core.paths import OUT
from promptkit.core.registry import spelling
from promptkit.core.version import __version__
from promptkit.display.progress import Bar, Progress
from promptkit.manipulate.compose import without_modifiers
from promptkit.manipulate.learned.base_model import base_of
from promptkit.metrics.requested import MetricLike, RequestedMetric, name_of
from promptkit.models.cache import ScoreCache
from promptkit.predictor.predictor import Predictor
from promptkit.runs.folder import RunFolder
from promptkit.tasks.single_table import training_task, uses_all_rows
from promptkit.tasks.task import Task
from promptkit.training import checkpoint
from promptkit.training.black_box import BlackBoxLosses
from promptkit.training.checkpoint import TrainingState
from promptkit.training.checks import check, check_model, dev_metrics
from promptkit.training.config import ResolvedConfig, TrainingConfig
from promptkit.training.dataset import TrainingData
from promptkit.training.evaluation import evaluate_dev, record, stop_reason
from promptkit.training.gradients import GradientLosses
from promptkit.training.learnables import trainable_manipulation
from promptkit.training.objective import BatchObjective, Losses
from promptkit.training.optimizers.base import Step
from promptkit.training.parameters import divided, owner
from promptkit.training.result import TrainingResult
from promptkit.training.rows import TrainingRows

_log = logging.getLogger(__name__)

ALL_ROWS = (
    "all labeled rows were used, so they cannot be evaluated: evaluate other rows, or train with "
    "{folds=1}, which holds out half of them"
)
"""The note on training on a single table."""


@check_arguments("train")
def train(
    predictor: Predictor,
    task: Task,
    *,
    split: str | None = None,
    folds: int | None = None,
    metrics: Sequence[MetricLike] | MetricLike | None = None,
    out: str | Path = OUT,
    cache: bool = True,
    progress: Progress | Literal[False] | None = None,
    **config: object,
) -> TrainingResult:
    """Trains the learnable manipulations of a predictor, such as a soft prompt.

    The rows are those of the task's pool, without inputs of the evaluated split; dev rows select the best step. A single table
    that is evaluated by folds, because it has few rows, is trained on completely (80% pool, 20% dev). The folder
    `out/train-TASK-<hash of the settings>` contains a checkpoint, from which the same call resumes, and finally the learned
    manipulations. Started in several processes, see `promptkit.core.distributed`, all of them train together.

    Args:
        predictor: A predictor with at least one learnable manipulation.
        task: The task to train on.
        split: The split that will be evaluated; the task's default split if None.
        folds: 1 to hold out half of a single table of few rows, so that it can be evaluated with {folds=1} afterwards.
        metrics: Metrics as for `pk.evaluate`. The first one, or else the main metric of the task, selects the best step, and
            the loss decides between equal values. For generated texts it is the loss alone.
        out: The folder of runs.
        cache: Whether to cache the model's answers to requests that building a prompt needs.
        progress: Called after each step with the steps done and the maximum number of steps; False shows nothing. By default a
            bar in a terminal or notebook, and otherwise a line every 30 seconds, is shown, with the current metrics.
        **config: The settings of the training run, see `TrainingConfig`, such as `steps=200`.

    Returns:
        The trained predictor, the learned manipulations and the metrics.

    Raises:
        PromptkitError: If the predictor cannot be trained on the task.
        TrainingError: If the loss is not finite.
    """
    requested = TrainingConfig.from_keywords(config)
    trainable_manipulation(predictor)
    task = training_task(task, split, folds, fits=predictor.chain.calibration is not None)
    rows, resolved = check(predictor, task, split=split, config=requested)
    compared = dev_metrics(predictor, task, metrics)
    _warn_of_accelerate_precision(resolved)
    with Bar(unit="step", hidden=progress is not None) as bar:
        report = bar if progress is None else progress or None
        return _Training(predictor, task, rows, resolved, compared, cache=cache, progress=report).run(out)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedManipulations:
    """The trained manipulations of a predictor, without the predictor."""

    learned: tuple[Learnable, ...]
    """The manipulations with the parameters of the best step, in the order of the predictor."""
    rows_computed: Mapping[str, int]
    """The number of rows that the model computed for `steps`, for evaluations on `dev`, and to fit a `label_map`."""


def train_manipulations(
    predictor: Predictor, task: Task, config: TrainingConfig, *, out: Path, cache: bool, progress: Progress | None = None
) -> TrainedManipulations:
    """Trains as `train` does, on the pool and dev parts of a task as they are, and returns the trained manipulations only.

    Args:
        predictor: A predictor with at least one learnable manipulation.
        task: The task, whose evaluated rows are not trained on.
        config: The settings of the training run.
        out: The folder that contains the folder of the training run, from which an interrupted one resumes.
        cache: Whether to cache the model's answers to requests that building a prompt needs.
        progress: As for `train`; no bar is shown.

    Raises:
        PromptkitError: If the predictor cannot be trained on the task.
        TrainingError: If the loss is not finite.
    """
    rows, resolved = check(predictor, task, split=None, config=config)
    compared = dev_metrics(predictor, task, None)
    return _Training(predictor, task, rows, resolved, compared, cache=cache, progress=progress).manipulations(out)


def _warn_of_accelerate_precision(config: TrainingConfig) -> None:
    requested = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if requested not in ("no", config.mixed_precision):
        _log.warning(
            "The mixed precision %s of accelerate is ignored; this training run uses mixed_precision=%r.",
            requested,
            config.mixed_precision,
        )


class _Training:
    """A training run, from its start or its checkpoint to its end."""

    def __init__(
        self,
        predictor: Predictor,
        task: Task,
        rows: TrainingRows,
        config: ResolvedConfig,
        metrics: Sequence[RequestedMetric],
        *,
        cache: bool,
        progress: Progress | None,
    ) -> None:
        self._clock = time.perf_counter()
        self._predictor, self._task, self._rows, self._config = predictor, task, rows, config
        self._uses_cache, self._metrics = cache, metrics
        self._data = TrainingData(predictor, task, rows, config, ScoreCache() if cache else None, metrics)
        self._losses = _losses(self._data, config)
        self._rates = [config.peak_learning_rate(learnable.learning_rate) for learnable in self._data.learnables]
        self._processes = processes()
        self._progress = progress if self._processes.is_main else None

    def run(self, out: str | Path) -> TrainingResult:
        """Trains, or resumes, or reads the result of a finished training run."""
        with self._folder(out) as folder:
            state, resumed = self._trained(folder)
            result = self._result(state, folder, resumed)
            if self._processes.is_main:
                result.save(folder)
        self._processes.total(np.zeros(1))  # every process waits until the folder is complete
        return result

    def manipulations(self, out: str | Path) -> TrainedManipulations:
        """Trains, or resumes, and returns the trained manipulations."""
        with self._folder(out) as folder:
            state, _ = self._trained(folder)
        learned = tuple(part for part in self._trained_modifiers(state) if isinstance(part, Learnable))
        return TrainedManipulations(learned=learned, rows_computed=dict(state.rows_computed))

    @contextmanager
    def _folder(self, out: str | Path) -> Iterator[Path]:
        """Locks the folder of the training run, and returns its path."""
        folder = RunFolder(out, f"train-{self._task.name}", self._settings())
        with folder.locked() if self._processes.is_main else nullcontext():
            yield folder.path

    def _trained(self, folder: Path) -> tuple[TrainingState, int]:
        """Trains to the end, from the last checkpoint on; returns the state, and the steps that had been done."""
        state = checkpoint.read(folder) or self._initial_state()
        resumed = state.step
        arrays = parameters_digest({**state.all_parameters, **state.optimizer_state})
        self._processes.check_same(f"{folder.name} after {resumed} steps, {arrays} {state.stop_reason}".rstrip())
        if not state.stop_reason:
            self._train(state, folder)
        return state, resumed

    def _settings(self) -> dict[str, object]:
        predictor = self._predictor
        return {
            "promptkit": __version__,
            "train": {**self._config.settings(), "rates": self._rates},
            "task": self._task.identity(),
            "rows": self._rows.digests(),
            "metrics": [name_of(each) for each in self._metrics[:1]],
            "model": dict(predictor.model.identity()),
            "manipulate": dict(predictor.manipulate.settings()),
            "align": predictor.chain.settings(),
        }

    def _initial_state(self) -> TrainingState:
        initial = self._data.initial_parameters()
        fixed = {name: array for name, array in initial.items() if self._data.is_fixed(name)}
        parameters = {name: array for name, array in initial.items() if name not in fixed}
        return TrainingState(parameters=parameters, best_parameters=dict(parameters), fixed_parameters=fixed)

    # ---- steps -------------------------------------------------------------------------------------

    def _train(self, state: TrainingState, folder: Path) -> None:
        weights = self._losses.weights_hash()
        if state.label_map:
            self._data.use_label_map(state.label_map)
        elif self._data.label_map:
            self._fit_label_map(state)
        if not state.dev_evaluations:
            self._evaluate(state, folder)
        step = self._config.optimizer.begin(state, self._config.seed)
        while not state.stop_reason:
            self._step(step, state)
            if state.step % self._config.eval_every == 0 or state.step == self._config.steps:
                self._evaluate(state, folder)
            self._report_progress(state)
        self._check_weights(weights)
        self._save_checkpoint(state, folder)

    def _fit_label_map(self, state: TrainingState) -> None:
        """Fits the label map under the current parameters, in one pass over the rows of the pool."""
        logprobs = self._losses.class_logprobs(state.all_parameters, self._data.pool)
        state.rows_computed["label_map"] = state.rows_computed.get("label_map", 0) + len(logprobs)
        state.label_map = self._data.fit_label_map(logprobs)
        self._data.use_label_map(state.label_map)

    def _step(self, step: Step, state: TrainingState) -> None:
        if self._starts_epoch(state.step) and self._data.label_map and self._data.label_map.is_refitted:
            self._fit_label_map(state)
        rows = self._data.batch(state.step)
        objective = BatchObjective(source=self._losses, rows=rows, fixed_parameters=state.fixed_parameters)
        with np.errstate(over="ignore", invalid="ignore"):  # a loss that is not finite is an error
            loss = step(objective, self._learning_rates(state))
        state.losses.append(loss)
        state.rows_computed["steps"] = state.rows_computed.get("steps", 0) + objective.rows_computed
        self._check_finite(loss, state)
        state.step += 1

    def _starts_epoch(self, step: int) -> bool:
        """Whether a step other than the first begins a new pass over the pool."""
        return step > 0 and self._data.epoch(step) > self._data.epoch(step - 1)

    def _learning_rates(self, state: TrainingState) -> dict[str, float]:
        """Returns the learning rate of each parameter in the next step."""
        factor = self._config.lr_factor(state.step)
        return {name: (self._rates[owner(name)] or 0.0) * factor for name in state.parameters}

    def _evaluate(self, state: TrainingState, folder: Path) -> None:
        """Evaluates on dev, and writes a checkpoint; the last one is written after the weights are checked."""
        evaluation = evaluate_dev(self._losses, self._data, state)
        self._check_finite(evaluation.loss, state)
        record(evaluation, state)
        state.stop_reason = stop_reason(state, self._config)
        if not state.stop_reason:
            self._save_checkpoint(state, folder)

    def _save_checkpoint(self, state: TrainingState, folder: Path) -> None:
        now = time.perf_counter()
        state.seconds += now - self._clock
        self._clock = now
        if self._processes.is_main:
            checkpoint.write(folder, state)

    def _report_progress(self, state: TrainingState) -> None:
        if not isinstance(self._progress, Bar):
            if self._progress is not None:
                self._progress(state.step, self._config.steps)
            return
        latest = state.dev_evaluations[-1]
        dev = f"loss {latest.loss:.3f}" if latest.value is None else f"{latest.metric} {latest.value:.3f}"
        self._progress(state.step, self._config.steps, f"loss {state.losses[-1]:.3f}, dev {dev}")

    # ---- checks ------------------------------------------------------------------------------------

    def _check_weights(self, weights_hash: str) -> None:
        """Raises TrainingError, in every process, if the frozen weights changed in one of them."""
        changed = self._losses.weights_hash() != weights_hash
        if self._processes.total(np.array([float(changed)]))[0]:
            reason = "The weights of the frozen model have changed during training: please report this"
            raise TrainingError(reason, code="frozen-weights-changed", model=self._predictor.model.name)

    def _check_finite(self, loss: float, state: TrainingState) -> None:
        if math.isfinite(loss):
            return
        optimizer = spelling(self._config.optimizer)
        rates = tuple(rate for rate in self._rates if rate is not None)
        narrow = f" and {setting('mixed_precision', 'bf16')}" if self._config.mixed_precision == "fp16" else ""
        raise TrainingError(
            f"The loss after {state.step} steps is {loss}: training has diverged",
            code="diverged",
            got=", ".join([optimizer, *(f"learning_rate={rate}" for rate in rates)]),
            hint=f"Use a lower {'learning rate' if rates else 'sigma'}, or {engine_setting('dtype', 'float32')}{narrow}",
            step=state.step,
            loss=loss,
            optimizer=optimizer,
            learning_rates=rates,
        )

    # ---- result ------------------------------------------------------------------------------------

    def _result(self, state: TrainingState, path: Path, resumed: int) -> TrainingResult:
        predictor = self._trained_predictor(state)
        all_rows = uses_all_rows(self._task)
        warnings = self._data.rows.row_warnings(self._task.labels, self._config.per_class)
        return TrainingResult(
            predictor=predictor,
            learned=tuple(part for part in predictor.manipulate.modifiers if isinstance(part, Learnable)),
            trainable=sum(math.prod(array.shape) for array in state.best_parameters.values()),
            task=self._task.name,
            config=self._config,
            learning_rates=tuple(self._rates),
            losses=tuple(state.losses),
            dev_evaluations=tuple(state.dev_evaluations),
            best=state.best,
            stop_reason=state.stop_reason,
            rows={"pool": len(self._data.rows.pool), "dev": len(self._data.rows.dev)},
            uses_all_rows=all_rows,
            notes=(
                *([spelled(ALL_ROWS)] if all_rows else []),
                *warnings,
                *self._rows.skipped_warnings(self._data.rows),
                *predictor.model.notes(),
            ),
            rows_computed=dict(state.rows_computed),
            resumed=resumed,
            seconds=state.seconds,
            path=path,
        )

    def _trained_modifiers(self, state: TrainingState) -> list[Manipulation | Modifier]:
        """Returns the modifiers of the predictor with the best parameters."""
        base = base_of(self._predictor.model)
        rows = self._predictor.rows_read(self._task).union(row.content for row in (*self._rows.pool, *self._rows.dev))
        learned = iter(divided({**state.fixed_parameters, **state.best_parameters}))
        return [
            modifier.with_parameters(next(learned), base, rows) if isinstance(modifier, Learnable) else modifier
            for modifier in self._predictor.manipulate.modifiers
        ]

    def _trained_predictor(self, state: TrainingState) -> Predictor:
        """Returns the predictor with the best parameters."""
        modifiers = self._trained_modifiers(state)
        chain = self._predictor.chain
        later = [chain.calibration] if chain.calibration else []
        trained = Predictor(
            self._predictor.model, [without_modifiers(self._predictor.manipulate), *modifiers], [chain.reader, *later]
        )
        return trained.fit(self._task, cache=self._uses_cache)


def _losses(data: TrainingData, config: ResolvedConfig) -> Losses:
    """Returns the source of losses that the optimizer needs; raises Unsupported if the model cannot provide it."""
    model = data.model
    check_model(model, config.optimizer, data.needed_features)
    if config.optimizer.uses_gradients and isinstance(model, Differentiable):
        return GradientLosses(data, model, checkpointing=config.gradient_checkpointing, precision=config.mixed_precision)
    return BlackBoxLosses(data)
