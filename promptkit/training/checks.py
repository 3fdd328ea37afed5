"""Checks a training run before the model's weights load."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import replace

from promptkit.core.caller import engine_setting, setting
from promptkit.core.capabilities import Feature
from promptkit.core.distributed import processes
from promptkit.core.errors import InputError, TrainingError, Unsupported, needs_single_label
from promptkit.core.examples import LabeledExample
from promptkit.core.manipulation import Learnable
from promptkit.core.model import Model
from promptkit.evaluation.metric_checks import check_metrics, requested_metrics
from promptkit.manipulate.compose import without_modifiers
from promptkit.metrics.requested import RequestedMetric, name_of
from promptkit.models.client import DryRunModel, NeedsAnswer
from promptkit.models.registry import load
from promptkit.models.support import check_supports
from promptkit.predictor.predictor import Predictor
from promptkit.tasks.task import Task
from promptkit.training.config import ResolvedConfig, TrainingConfig
from promptkit.training.dataset import refuse_model_calls
from promptkit.training.label_map import joint_label_map
from promptkit.training.learnables import learnables
from promptkit.training.optimizers.base import Optimizer
from promptkit.training.rows import TrainingRows


def check(
    predictor: Predictor, task: Task, *, split: str | None, config: TrainingConfig
) -> tuple[TrainingRows, ResolvedConfig]:
    """Checks everything that is known before the model's weights load.

    Args:
        predictor: The predictor to train.
        task: The task to train it on.
        split: The split that will be evaluated; the task's default split if None.
        config: The configuration.

    Returns:
        The rows of the training run, and its configuration with the optimizer and the learning rate filled in.

    Raises:
        PromptkitError: If the predictor cannot be trained on the task with this configuration.
    """
    if config.per_class is not None and predictor.reader.task_kind == "multi-label":
        raise needs_single_label("Training on rows by label (per_class)", per_class=config.per_class)
    joint_label_map(predictor)
    resolved = config.resolved(discrete=_is_discrete(learnables(predictor)))
    rows = TrainingRows.from_task(task, split, resolved)
    _check_prompt(predictor, task, rows.pool[0])
    return rows, resolved


def dev_metrics(predictor: Predictor, task: Task, metrics: object) -> tuple[RequestedMetric, ...]:
    """Returns the requested metrics, the first of which selects the best step; none for generated texts.

    Args:
        predictor: The predictor to train.
        task: The task.
        metrics: The metrics that a user requests; those of the task if None.

    Raises:
        InputError: There is no such metric, or it does not apply to the predictions on dev rows.
    """
    requested = requested_metrics(metrics, task)
    if predictor.reader.task_kind != "generation":
        check_metrics(requested, predictor.reader, task)
        return requested
    if metrics is not None and metrics != ():
        raise InputError(
            "The best step of training on generated texts is selected by the loss of the correct text, and by no metric",
            code="metric-not-applicable",
            got=", ".join(map(name_of, requested)),
            hint=f"Leave out {setting('metric', python='metrics')}",
            metric=name_of(requested[0]),
            kind="texts",
        )
    return ()


def _is_discrete(learned: Sequence[Learnable]) -> bool:
    """Returns whether all parameters are discrete; raises TrainingError if only some are."""
    kinds = {learnable.is_discrete for learnable in learned}
    if len(kinds) > 1:
        names = tuple(learnable.name for learnable in learned)
        raise TrainingError(
            "Tokens and vectors cannot be trained together: no optimizer changes both",
            code="tokens-and-vectors",
            got=", ".join(names),
            hint="Train each of them alone",
            manipulations=names,
        )
    return kinds == {True}


def _check_prompt(predictor: Predictor, task: Task, row: LabeledExample) -> None:
    """Raises Unsupported for a prompt that depends on the model's answers, by rendering one; embeddings are allowed."""
    context = predictor.bind_context(
        task, ask=DryRunModel(predictor.model.card.unlimited()), load_model=lambda name: load("fake")
    )
    with suppress(NeedsAnswer):
        without_modifiers(predictor.manipulate).bind(replace(context, transform=refuse_model_calls))([row.unlabeled()])


def check_model(model: Model, optimizer: Optimizer, needed: Collection[Feature]) -> None:
    """Checks that a model can be trained on with an optimizer, in this number of processes.

    Args:
        model: The model.
        optimizer: The optimizer.
        needed: The features that the predictor needs, for the hint.

    Raises:
        Unsupported: If it provides no gradients and the optimizer needs them, or several processes were started.
    """
    if model.capabilities.gradients:
        return
    if processes().count > 1:
        raise Unsupported(
            f"Training in several processes needs an hf model, and this one is {model.name}",
            code="several-processes",
            hint="Start one process: an engine such as vllm uses several GPUs by itself, "
            f"{engine_setting('tensor_parallel_size', 2)}",
            model=model.name,
        )
    if optimizer.uses_gradients:
        alternative = "" if optimizer.is_discrete else f"train without gradients: {setting('optimizer', 'spsa')} or cma-es"
        check_supports(model.name, model.capabilities, "gradients", together=needed, alternative=alternative)
