"""The configuration of an evaluation: `promptkit eval`, a YAML file and `pk.EvalConfig` are three spellings of it."""

from __future__ import annotations

import shlex
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from promptkit.config.build import build_predictors, build_stages, predictor_builder
from promptkit.config.eval_options import EvalOptions
from promptkit.config.recognition import predictor_key, read_recognized, remember, run_key
from promptkit.config.saving import PredictorOptions, SavingOptions, predict_command, read_saved
from promptkit.config.seeds import SeedsOptions, of_part
from promptkit.core.errors import InputError, PromptkitError
from promptkit.core.paths import OUT
from promptkit.core.registry import spelling
from promptkit.runs.recorded import record_options
from promptkit.runs.words import command_words
from promptkit.tasks.resolve import resolve_task
from promptkit.tasks.strict_model import StrictModel

if TYPE_CHECKING:
    from promptkit.config.build import Stages
    from promptkit.core.model import Model
    from promptkit.display.progress import Progress
    from promptkit.predictor.predictor import Predictor
    from promptkit.runs.run import Run
    from promptkit.runs.shard import Shard
    from promptkit.runs.shard_run import ShardRun
    from promptkit.studies.seeds import SeedRuns
    from promptkit.tasks.task import Task


class BaselineOptions(StrictModel):
    """Baselines beside the results."""

    baselines: bool = True
    """Also evaluate baselines without a pretrained model, fitted on the same labeled rows."""


class EvalConfig(SavingOptions, PredictorOptions, BaselineOptions, SeedsOptions, EvalOptions):
    """The configuration of an evaluation.

    `pk.EvalConfig(task="sentiment", model="demo", shots=4, calibrate=["batch"]).run()` equals
    `promptkit eval sentiment --model demo --shots 4 --calibrate batch`.
    """

    def build(self, task: Task | None = None) -> list[Predictor]:
        """Builds the uncalibrated predictor and one for each calibration, after a dry run on the first row.

        Args:
            task: The loaded task; it is loaded if None.

        Raises:
            PromptkitError: An option is invalid, or the predictors cannot be evaluated on the task.
        """
        task = self.load_task() if task is None else task
        return [self.saved_predictor(task)] if self.predictor else build_predictors(self, task)

    def saved_predictor(self, task: Task) -> Predictor:
        """Loads the saved predictor, and checks that it can be evaluated on the task."""
        from promptkit.evaluation.evaluate import dry_run

        predictor = self.load_predictor(self, self.changed())
        dry_run([predictor], task, **self.selected_rows())
        return predictor

    def load_task(self) -> Task:
        """Loads the task; a data file is read with the template of the saved predictor, if there is one.

        Raises:
            PromptkitError: There is no such task, its data cannot be read, or an option does not apply to it.
        """
        self.check_no_other_options(self.changed())
        template = self.saved_template() if self.predictor and self.template is None else self.template
        return resolve_task(self.task, self, template=template)

    def run(
        self,
        *,
        task: Task | None = None,
        out: str | Path = OUT,
        cache: bool = True,
        progress: Progress | Literal[False] | None = None,
    ) -> Run:
        """Evaluates the predictors, as `promptkit eval` does.

        Args:
            task: The loaded task; it is loaded if None.
            out: The folder for run folders.
            cache: Whether to take answers from the score cache and to add new ones.
            progress: Called with the number of finished requests and of all requests; False shows nothing. By default a bar in
                a terminal or notebook, and otherwise a line every 30 seconds, is shown on standard error.

        Raises:
            PromptkitError: The configuration cannot be evaluated.
        """
        if self.seeds is not None:
            raise InputError(
                "Several seeds are several runs",
                code="several-seeds",
                got=f"seeds={self.seeds}",
                hint="Call run_seeds(), or give one seed",
                seeds=self.seeds,
            )
        started = time.perf_counter()
        self.check_save([spelling(calibration) for calibration in self.build_calibrations()])
        task = self.load_task() if task is None else task
        run, predictors = self._evaluated(task, started, out=out, cache=cache, progress=progress)
        self._record(run.path)
        return run if self.save is None else self._saved(run, predictors[-1], task, cache=cache)

    def _evaluated(
        self,
        task: Task,
        started: float,
        *,
        out: str | Path,
        cache: bool,
        progress: Progress | Literal[False] | None,
        model: Model | None = None,
    ) -> tuple[Run, list[Predictor]]:
        """Returns the run and its predictors; no predictors if a finished run is read. A given model is not loaded."""
        from promptkit.evaluation.baselines import with_baselines
        from promptkit.evaluation.metric_checks import check_metrics, requested_metrics, with_requested

        requested = requested_metrics(self.metric, task)
        if self.predictor is not None:
            saved, chain = read_saved(self.predictor)
            stages, reader, key = None, chain.reader, predictor_key(self, saved, chain, task)
        else:
            stages = build_stages(self, task)
            reader, key = stages.reader, run_key(self, stages, task)
        check_metrics(requested, reader, task)
        finished = read_recognized(out, task.name, key, started) if key and self.save is None else None
        if finished is not None:
            run = with_requested(finished, requested)
            return (with_baselines(run, task, reader) if self.baselines else run), []
        predictors = self._built(task, stages, model)
        from promptkit.evaluation.evaluate import evaluate

        rows, metrics = self.selected_rows(), self.metric or None
        run = evaluate(
            predictors, task, **rows, metrics=metrics, baselines=self.baselines, out=out, cache=cache, progress=progress
        )
        if key is not None:
            remember(run.path, key)
        return run, predictors

    def _built(self, task: Task, stages: Stages | None, model: Model | None) -> list[Predictor]:
        """Returns the predictors of the stages, or the saved one if there are none. A given model is not loaded."""
        if stages is None:
            return [self.saved_predictor(task)]
        return predictor_builder(self, task, stages)(model) if model else build_predictors(self, task, stages)

    def run_seeds(
        self, *, out: str | Path = OUT, cache: bool = True, progress: Progress | Literal[False] | None = None
    ) -> SeedRuns:
        """Evaluates the predictors once for each seed, as `promptkit eval --seeds` does.

        Each run is the one that `run` returns for its seed. The model is loaded once.

        Args:
            out: The folder for run folders.
            cache: Whether to take answers from the score cache and to add new ones.
            progress: Called with the number of finished requests and the number of all requests, of all seeds.

        Raises:
            InputError: No seeds are given, or an option applies to a single run.
            PromptkitError: The configuration cannot be evaluated.
        """
        from promptkit.studies.seeds import SeedRuns

        if self.seeds is None:
            raise InputError("No seeds are given", code="no-seeds", seeds=None, hint="Write EvalConfig(..., seeds='0:5')")
        self.check_seeds(save=self.save, seed=self.seed or None, predictor=self.predictor)
        started = time.perf_counter()
        task = self.load_task()
        runs: list[Run] = []
        model: Model | None = None
        for number, seed in enumerate(self.seed_values()):
            config = self.model_copy(update={"seed": seed, "seeds": None})
            of_seed = of_part(progress, number, len(self.seed_values()))
            run, predictors = config._evaluated(task, started, out=out, cache=cache, progress=of_seed, model=model)
            model = predictors[0].model if predictors else model
            same = next((other for other in runs if other.path == run.path), None)
            if same is None:
                config._record(run.path)
            runs.append(same or run)
        by_seed = dict(zip(self.seed_values(), runs, strict=True))
        return SeedRuns.of(by_seed, task, limit=self.limit, seconds=time.perf_counter() - started)

    def _saved(self, run: Run, predictor: Predictor, task: Task, *, cache: bool) -> Run:
        """Fits the predictor on all labeled rows, saves it with its results, and returns the run with a note of it."""
        from promptkit.evaluation.estimates import estimate_of, out_of_fold_of

        assert self.save is not None
        result = run.results[-1]
        command = self.model_copy(update={"save": Path("FOLDER")}).to_command()
        estimate = estimate_of(run, result, command=command)
        fitted = predictor.fit(task, split=run.split, folds=run.folds or 1, cache=cache)
        fitted = fitted.with_estimate(estimate, out_of_fold_of(run, result))
        folder = fitted.save(self.save, command=command)
        return replace(run, notes=(*run.notes, f"saved in {folder}; use it: {predict_command(folder)}"))

    def recorded(self) -> dict[str, object]:
        """Returns the options that are recorded with a run: all that differ from their defaults, except `save`."""
        return {name: value for name, value in self.changed().items() if name != "save"}

    def add_baselines(self, run: Run) -> Run:
        """Returns a finished run with the results of baselines, unless this configuration is without them.

        If the task cannot be loaded any more, the run has a note that says why.

        Args:
            run: A run that this configuration created, such as one that was merged from shards.
        """
        from promptkit.evaluation.baselines import missing_baselines, with_baselines

        if not self.baselines:
            return run
        try:
            task = self.load_task()
            return with_baselines(run, task, self.build_first_aligner(task, seed=self.seed))
        except PromptkitError as error:
            return missing_baselines(run, error)

    def run_shard(
        self, shard: Shard, *, out: str | Path = OUT, cache: bool = True, progress: Progress | Literal[False] | None = None
    ) -> ShardRun:
        """Evaluates one shard, which `promptkit merge` joins with the others. The other arguments are as in `run`."""
        from promptkit.evaluation.evaluate import evaluate_shard

        self.check_no_save(shard)
        task = self.load_task()
        run = evaluate_shard(self.build(task), task, shard, **self.selected_rows(), out=out, cache=cache, progress=progress)
        self._record(run.path)
        return run

    def _record(self, folder: Path) -> None:
        """Writes the options into the folder of a run."""
        record_options(folder, self.recorded())

    def to_command(self, *, out: str | Path = OUT) -> str:
        """Returns the `promptkit eval` command with the options that differ from their defaults.

        Args:
            out: The folder for run folders.
        """
        return shlex.join(command_words("eval", self.changed(), out=out))
