"""The configuration of tuning: `promptkit tune`, a YAML file and `pk.TuneConfig` are three spellings of it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator, Field, PositiveInt

from promptkit.config.budget import check_budget, read_budgets
from promptkit.config.eval_options import EvalOptions
from promptkit.config.model import EngineOptions, ModelOptions
from promptkit.config.options import Options
from promptkit.config.task import TaskOptions
from promptkit.config.values import EngineSettings, Metavar, RelativePath, Several
from promptkit.core.caller import setting
from promptkit.core.errors import InputError
from promptkit.core.paths import expanded
from promptkit.runs.words import command_words
from promptkit.tasks.field_descriptions import NamesFrom
from promptkit.tasks.options import DataOptions
from promptkit.tasks.resolve import resolve_task
from promptkit.tuning.folder import TUNED

if TYPE_CHECKING:
    from promptkit.core.examples import LabeledExample
    from promptkit.core.model import Model
    from promptkit.display.progress import Display, Progress
    from promptkit.metrics.requested import RequestedMetric
    from promptkit.tasks.task import Task
    from promptkit.tuning.budget import Budget
    from promptkit.tuning.plan import Plan
    from promptkit.tuning.result import Tuned
    from promptkit.tuning.space import Space
    from promptkit.tuning.tuning import TuningProgress

DEFAULT_SPACE = "default"
"""The name of the default space."""


class TuneConfig(DataOptions, EngineOptions, TaskOptions, Options):
    """The configuration of tuning."""

    model: Several = Field(default_factory=lambda: ["demo"])
    """Model as [engine:]name: a hub id, a folder, a .gguf file, demo, fake, or encoder:NAME for a sentence encoder with a
    logistic regression; may be given several times."""
    set: EngineSettings = Field(default_factory=dict)
    """Engine setting of all models, such as dtype=bfloat16; may be given several times."""
    budget: Annotated[str, BeforeValidator(check_budget), Metavar("LIMIT")] = "10m"
    """What tuning may spend: a time (10m, 90s, 1h), a number of requests (500 requests) or of tokens (200k tokens), or several
    of them, separated by commas."""
    max_requests: PositiveInt | None = None
    """Maximum number of requests to models, besides the budget."""
    metric: Annotated[str | None, RelativePath(before=":"), NamesFrom("promptkit.metrics:METRICS")] = None
    """Metric by which candidates are compared, or your own as FILE.py:NAME; by default the main metric of the task: {names}."""
    space: Annotated[str, RelativePath(or_name=True), Metavar("FILE")] = DEFAULT_SPACE
    """What is tried: default, or a YAML file with a grid of options, as for promptkit study."""
    template: Annotated[str | None, RelativePath(or_name=True)] = None
    """Template name, path of a .j2 file, or template text; by default the task's template."""
    test: Annotated[str | None, RelativePath(or_name=True), Metavar("FILE")] = None
    """Data file with further labeled rows, or the name of a split of the task, on which the chosen predictor is evaluated
    once."""
    limit: PositiveInt | None = None
    """Use only the N labeled rows with the smallest hash of their id."""
    seed: int = 0
    """Random seed of the order of the rows, the demonstrations and the alignments."""

    @property
    def budgets(self) -> tuple[Budget, ...]:
        """The limits, all of which hold.

        Raises:
            InputError: The number of requests is limited twice.
        """
        from promptkit.tuning.budget import Budget

        budgets = read_budgets(self.budget)
        if self.max_requests is None:
            return budgets
        if any(budget.unit == "requests" for budget in budgets):
            raise InputError(
                "The number of requests is limited twice",
                code="conflicting-options",
                got=f"{setting('budget', str(self.budget))} {setting('max_requests', self.max_requests)}",
                hint="Leave one of them out",
                options=("budget", "max_requests"),
            )
        return (*budgets, Budget(self.max_requests, "requests"))

    def load_task(self) -> Task:
        """Loads the task.

        Raises:
            PromptkitError: There is no such task, its data cannot be read, or an option does not apply to it.
        """
        return resolve_task(self.task, self, template=self.template)

    def labeled_rows(self, task: Task) -> list[LabeledExample]:
        """Returns the labeled rows, after a check that candidates can be compared on them.

        Raises:
            TaskError: The rows cannot be read, or are not suitable.
        """
        from promptkit.tuning.rows import check_rows, labeled_rows

        rows = labeled_rows(task, split=self.split, limit=self.limit)
        check_rows(task, rows)
        return rows

    def requested_metric(self, task: Task) -> RequestedMetric | None:
        """Returns the metric that is requested, after a check that it applies to the task; None for the task's main one.

        Raises:
            InputError: There is no such metric, or it does not apply.
        """
        from promptkit.align.chain import reader_for
        from promptkit.evaluation.metric_checks import check_metrics, requested_metrics

        requested = requested_metrics(self.metric, task)
        check_metrics(requested, reader_for(task), task)
        return next(iter(requested), None)

    def test_task(self, task: Task, rows: Sequence[LabeledExample]) -> Task | None:
        """Returns the task whose evaluated rows are those of `test`; None without `test`.

        Args:
            task: The task.
            rows: The labeled rows, from which these rows are predicted.

        Raises:
            TaskError: There is no such file or split, or a row is invalid.
        """
        from promptkit.tasks.folds import Fold
        from promptkit.tasks.readers import is_data, read_file

        if self.test is None:
            return None
        tested = task.labeled(read_file(expanded(self.test)), self.test) if is_data(self.test) else task.rows(self.test)
        held_out = Fold(number=0, of=0, split=task.spec.split, rows=tuple(tested), others=tuple(rows))
        return replace(task, held_out=held_out)

    def build_space(
        self, task: Task, rows: Sequence[LabeledExample], models: Sequence[Model] | None = None, *, planned: bool = False
    ) -> Space:
        """Returns what is tried.

        Args:
            task: The task.
            rows: The labeled rows.
            models: The models; those that the options name if None.
            planned: Whether the models are only described, so that nothing is loaded.

        Raises:
            PromptkitError: A model cannot be found, or an option of the space is invalid.
        """
        from promptkit.config.space import SpaceConfig
        from promptkit.models.planned import planned_model
        from promptkit.models.registry import load
        from promptkit.tuning.space import add_default_space, built
        from promptkit.tuning.space_builder import SpaceBuilder

        spec = None if self.space == DEFAULT_SPACE else SpaceConfig.from_yaml(self.space)

        def model_of(options: ModelOptions) -> Model:
            settings = options.engine_settings()
            return planned_model(options.model, settings) if planned else load(options.model, **settings)

        models = [model_of(options) for options in self._models()] if models is None else models
        if spec is not None:
            return spec.build(task, rows, models, model_of, seed=self.seed, template=self.template)
        builder = SpaceBuilder(task, rows, self.seed, template=self.template or "")
        add_default_space(builder, models)
        return built(builder)

    def plan(self, task: Task | None = None) -> Plan:
        """Returns what tuning will cost, without loading a model.

        Args:
            task: The loaded task; it is loaded if None.

        Raises:
            PromptkitError: The configuration is invalid.
        """
        from promptkit.models.planned import size_of
        from promptkit.tuning.folds import stratified
        from promptkit.tuning.plan import make_plan

        budgets = self.budgets
        task = self.load_task() if task is None else task
        rows = self.labeled_rows(task)
        self.requested_metric(task)
        self.test_task(task, rows)
        space = self.build_space(task, rows, planned=True)
        names = {each.predictor.model.name for each in (*space.prompts, *space.learned)}
        sizes = {name: size_of(name, self.set) for name in names}
        return make_plan(space, stratified(task, rows, self.seed, apart=space.apart), sizes, budgets)

    def run(
        self,
        *,
        task: Task | None = None,
        models: Sequence[Model] | None = None,
        out: str | Path = TUNED,
        cache: bool = True,
        progress: Progress | Display[TuningProgress] | Literal[False] | None = None,
    ) -> Tuned:
        """Tunes, as `promptkit tune` does.

        Args:
            task: The loaded task; it is loaded if None.
            models: The models; those that the options name if None.
            out: The folder of the results.
            cache: Whether to take answers from the score cache and to add new ones.
            progress: Called with the number of rows so far and of all rows, after each block of rows and in the first one after
                each prompt, or a `Display` of `TuningProgress`; False shows nothing. By default the best candidates are shown.

        Raises:
            PromptkitError: The configuration cannot be tuned.
        """
        from promptkit.display.progress import state_reporter
        from promptkit.models.planned import size_of
        from promptkit.tuning.folds import stratified
        from promptkit.tuning.live import shown_by_default
        from promptkit.tuning.plan import make_plan
        from promptkit.tuning.rows import row_numbers
        from promptkit.tuning.tune import tune_space
        from promptkit.tuning.tuning import Tuning

        budgets = self.budgets
        task = self.load_task() if task is None else task
        rows = self.labeled_rows(task)
        metric, test = self.requested_metric(task), self.test_task(task, rows)
        space = self.build_space(task, rows, models)
        names = {each.predictor.model.name for each in space.prompts}
        sizes = {} if models else {name: size_of(name, self.set) for name in names}
        make_plan(space.cheapest(), stratified(task, rows, self.seed, apart=space.apart), sizes, budgets).check_budgets()
        tuning = Tuning(
            task=task,
            rows=rows,
            space=space,
            budgets=budgets,
            metric=metric,
            test=test,
            seed=self.seed,
            row_numbers=row_numbers(task, self.split),
            command="" if task.source.memory is not None and task.data_options is None else self.to_command(out=out),
        )
        report = state_reporter(shown_by_default() if progress is None else progress)
        return tune_space(tuning, out=out, cache=cache, progress=report)

    def _models(self) -> list[ModelOptions]:
        """Returns the options of each model."""
        shared = {"set": self.set, "device": self.device, "batch_size": self.batch_size}
        return [EvalOptions(task=self.task, model=name, **shared) for name in dict.fromkeys(self.model or ())]

    def to_command(self, *, out: str | Path = TUNED) -> str:
        """Returns the `promptkit tune` command with the options that differ from their defaults.

        Args:
            out: The folder of tuning runs.
        """
        words = command_words("tune", self.changed())
        return shlex.join([*words, *([] if str(out) == TUNED else ["--out", str(out)])])
