"""Evaluates predictors on the rows of a task. Predictors that differ only in calibration share one pass of the model."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

from promptkit.collect.collected import Collected
from promptkit.collect.read_outputs import outputs_by_fold
from promptkit.core.arguments import check_arguments
from promptkit.core.paths import OUT
from promptkit.display.progress import Progress, reporting
from promptkit.evaluation.baselines import prepare_baselines, with_baselines
from promptkit.evaluation.early_loading import EarlyLoading, can_load_early
from promptkit.evaluation.execution import CompletedRun, execute, read_completed
from promptkit.evaluation.fitted_chains import FITTED_CHAINS, fitted_to_bytes
from promptkit.evaluation.identity import run_settings
from promptkit.evaluation.metric_checks import check_metrics, requested_metrics, with_requested
from promptkit.evaluation.origin import record_sources
from promptkit.evaluation.plan import RunPlan, plan_run
from promptkit.evaluation.results import compute_results, finish_run, results_summary, run_title
from promptkit.metrics.requested import MetricLike
from promptkit.models.cache import ScoreCache
from promptkit.models.client import DryRunModel, NeedsAnswer
from promptkit.models.registry import load
from promptkit.predictor.predictor import Predictor
from promptkit.runs.executor import Executor, InProcess
from promptkit.runs.folder import RunFolder
from promptkit.runs.load import read_run, run_of_results
from promptkit.runs.rows import EvaluatedRow
from promptkit.runs.run import Run
from promptkit.runs.schema import RunTitle
from promptkit.runs.shard import Shard
from promptkit.runs.shard_run import ShardRun
from promptkit.tasks.task import Task


@check_arguments("evaluate")
def evaluate(
    predictors: Predictor | Sequence[Predictor],
    task: Task,
    *,
    split: str | None = None,
    limit: int | None = None,
    allow_seen: bool = False,
    folds: int | None = None,
    metrics: Sequence[MetricLike] | MetricLike | None = None,
    baselines: bool = True,
    out: str | Path = OUT,
    cache: bool = True,
    progress: Progress | Literal[False] | None = None,
    executor: Executor | None = None,
) -> Run:
    """Evaluates predictors on a split of a task, in one pass of the model.

    The run has the folder `out`/TASK-<hash of settings>. A finished run is read, and an interrupted one continues.

    Args:
        predictors: One predictor, or several that share their model, manipulation and first aligner.
        task: The task.
        split: The split to evaluate; the task's default if None.
        limit: Evaluate only the `limit` rows with the smallest hash of id.
        allow_seen: Whether to evaluate rows that the predictors were fitted on; the figures are then marked.
        folds: Number of folds, each predicted from the others; by default 5 for one table of fewer than 500 rows; 1 for none.
        metrics: Metrics besides the default ones: names, `FILE.py:NAME`, metrics, or functions of a prediction and the accepted
            answers. The first is the main metric. By default those of the task. The folder does not depend on them.
        baselines: Whether to evaluate baselines without a pretrained model, too, fitted on the same labeled rows.
        out: The folder for run folders.
        cache: Whether to take answers from the score cache and to add new ones.
        progress: Called with the number of finished requests and of all requests; False shows nothing. By default a bar in
            a terminal or notebook, and otherwise a line every 30 seconds, is shown on standard error.
        executor: Computes the batches of requests; in this process if None. The run does not depend on the executor.

    Returns:
        The finished run, with one result per predictor.

    Raises:
        TaskError: If a row was used to fit a predictor (`seen-rows`).
        PromptkitError: If the predictors cannot be evaluated on the task, or the folder cannot be used.
    """
    started = time.perf_counter()
    requested = requested_metrics(metrics, task)
    plan = plan_run(predictors, task, split=split, limit=limit, folds=folds, allow_seen=allow_seen)
    check_metrics(requested, plan.reader, task)
    settings = run_settings(plan)
    folder = RunFolder(out, task.name, settings)
    with folder.locked():
        record_sources(folder.path, plan)
        if folder.finished():
            run = replace(read_run(Run, folder.path, baselines=False), examples_per_second=0.0, resumed=len(plan.rows))
        else:
            meanwhile = partial(prepare_baselines, plan, folder.path) if baselines else _nothing
            with reporting(progress) as report:
                completed = _execute(plan, folder, settings["model"], _cache(cache), report, executor, meanwhile)
            run = _finish(plan, folder, completed.marked(plan.seen), run_title(settings, len(plan.rows)))
        run = with_requested(run, requested)
    run = replace(run, seconds=time.perf_counter() - started)
    return with_baselines(run, task, plan.reader) if baselines else run


@check_arguments("evaluate_shard")
def evaluate_shard(
    predictors: Predictor | Sequence[Predictor],
    task: Task,
    shard: Shard,
    *,
    split: str | None = None,
    limit: int | None = None,
    allow_seen: bool = False,
    folds: int | None = None,
    out: str | Path = OUT,
    cache: bool = True,
    progress: Progress | Literal[False] | None = None,
) -> ShardRun:
    """Evaluates one shard of a run: every n-th of its batches.

    `merge` joins the shards into the run that `evaluate` would have written, byte for byte.

    Args:
        shard: The shard, such as `Shard(1, 3)`. The other arguments are those of `evaluate`.

    Raises:
        PromptkitError: If the predictors cannot be evaluated on the task, or the folder cannot be used.
    """
    started = time.perf_counter()
    plan = plan_run(predictors, task, split=split, limit=limit, folds=folds, allow_seen=allow_seen)
    folder = RunFolder(out, task.name, settings := run_settings(plan), shard)
    fitted = fitted_to_bytes(plan.chains)
    with folder.locked():
        record_sources(folder.path, plan)
        if folder.finished():
            completed = read_completed(plan, folder)
        else:
            with reporting(progress) as report:
                completed = execute(
                    plan,
                    folder,
                    settings["model"],
                    cache=_cache(cache),
                    progress=report,
                    executor=InProcess(plan.model, shard),
                    shard=shard,
                )
            _finish_shard(plan, folder, completed.marked(plan.seen), shard, fitted)
    return ShardRun(
        task=task.name,
        split=plan.split,
        model=plan.model.name,
        path=folder.path,
        shard=str(shard),
        rows=len(completed.samples),
        n=len(plan.rows),
        seconds=time.perf_counter() - started,
        examples_per_second=completed.timing["examples_per_second"],
        resumed=completed.timing["resumed"],
        notes=tuple(completed.timing["notes"]),
    )


def dry_run(
    predictors: Sequence[Predictor],
    task: Task,
    *,
    split: str | None = None,
    limit: int | None = None,
    folds: int | None = None,
    allow_seen: bool = False,
) -> None:
    """Raises the errors that a run would raise before it queries a model. Nothing is written.

    The first row's prompt is rendered as far as that needs no answer of a model, with an unlimited context: whether a prompt
    is too long is not checked, since it depends on the model. Predictors with a fake model can replace those whose models
    are slow to load.

    Raises:
        PromptkitError: If the predictors cannot be evaluated on the task.
    """
    plan = plan_run(predictors, task, split=split, limit=limit, folds=folds, allow_seen=allow_seen)
    run_settings(plan)  # loading the models that the manipulation names can fail
    fold = plan.folds[0]
    example = fold.rows[0].unlabeled()
    try:
        bound = plan.predictor.bind(
            fold.task, ask=DryRunModel(plan.model.card.unlimited()), load_model=lambda name: load("fake")
        )
        for need in plan.needs:
            need.dry_run(bound.encode, example)
        bound.encode([example])
    except NeedsAnswer:
        return


def _execute(
    plan: RunPlan,
    folder: RunFolder,
    identity: Mapping[str, object],
    cache: ScoreCache | None,
    progress: Progress,
    executor: Executor | None,
    meanwhile: Callable[[], None],
) -> CompletedRun:
    """Executes a whole run. Without an executor its weights load in the background, where that is possible."""
    own = InProcess(plan.model)
    early = EarlyLoading(executor=own, meanwhile=meanwhile) if executor is None and can_load_early(plan) else None
    return execute(plan, folder, identity, cache=cache, progress=progress, executor=executor or own, early=early)


def _nothing() -> None:
    pass


def _finish(plan: RunPlan, folder: RunFolder, completed: CompletedRun, title: RunTitle) -> Run:
    """Computes the results of a run, writes its final files and returns it."""
    collected = Collected(samples=completed.samples, support=completed.support, read_outputs=outputs_by_fold(completed.outputs))
    results = compute_results(plan.chains, collected)
    summary, rows = results_summary(title, plan.chains, collected, results), _evaluated_rows(plan, completed)
    finish_run(folder, summary, rows, collected, results)
    return run_of_results(Run, folder.path, summary, rows, results, completed.timing)


def _finish_shard(plan: RunPlan, folder: RunFolder, completed: CompletedRun, shard: Shard, fitted: bytes | None) -> None:
    records = {
        "samples": completed.samples,
        "support": completed.support,
        "outputs": completed.outputs,
        "rows": [row.to_record() for row in _evaluated_rows(plan, completed)],
    }
    tensors = {} if fitted is None else {FITTED_CHAINS: fitted}
    folder.finish(records, {"shard": [shard.number, shard.of], "order": completed.order}, tensors)


def _evaluated_rows(plan: RunPlan, completed: CompletedRun) -> list[EvaluatedRow]:
    """Returns the evaluated rows that have records, in the order of the records."""
    rows, shown = {row.id: row for row in plan.rows}, plan.task.shown_variables
    return [EvaluatedRow.of(rows[record["id"]], shown, record.get("fold", 0)) for record in completed.samples]


def _cache(use: bool) -> ScoreCache | None:
    return ScoreCache() if use else None
