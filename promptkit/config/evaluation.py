"""The configuration of an evaluation: `promptkit eval`, a YAML file and `pk.EvalConfig` are three spellings of it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from promptkit.config.build import build_predictors
from promptkit.config.eval_options import EvalOptions
from promptkit.core.errors import PromptkitError
from promptkit.core.paths import OUT
from promptkit.runs.recorded import record_options
from promptkit.runs.words import command_words
from promptkit.tasks.strict_model import StrictModel

if TYPE_CHECKING:
    from promptkit.evaluation.execution import Progress
    from promptkit.predictor.predictor import Predictor
    from promptkit.runs.run import Run, ShardRun
    from promptkit.runs.shard import Shard
    from promptkit.tasks.task import Task


class BaselineOptions(StrictModel):
    """Baselines beside the results."""

    baselines: bool = True
    """Also evaluate baselines without a pretrained model, fitted on the same labeled rows."""


class EvalConfig(BaselineOptions, EvalOptions):
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
        return build_predictors(self, self.load_task() if task is None else task)

    def run(self, *, out: str | Path = OUT, cache: bool = True, progress: Progress | None = None) -> Run:
        """Evaluates the predictors, as `promptkit eval` does.

        Args:
            out: The folder for run folders.
            cache: Whether to take answers from the score cache and to add new ones.
            progress: Called with the number of finished requests and the number of all requests.

        Raises:
            PromptkitError: The configuration cannot be evaluated.
        """
        from promptkit.evaluation.baselines import with_baselines
        from promptkit.evaluation.evaluate import evaluate

        task = self.load_task()
        predictors = self.build(task)
        run = evaluate(predictors, task, **self.selected_rows(), out=out, cache=cache, progress=progress)
        record_options(run.path, self.changed())
        return with_baselines(run, task, predictors[0].reader) if self.baselines else run

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
        self, shard: Shard, *, out: str | Path = OUT, cache: bool = True, progress: Progress | None = None
    ) -> ShardRun:
        """Evaluates one shard, which `promptkit merge` joins with the others. The other arguments are as in `run`."""
        from promptkit.evaluation.evaluate import evaluate_shard

        task = self.load_task()
        run = evaluate_shard(self.build(task), task, shard, **self.selected_rows(), out=out, cache=cache, progress=progress)
        record_options(run.path, self.changed())
        return run

    def to_command(self, *, out: str | Path = OUT) -> str:
        """Returns the `promptkit eval` command with the options that differ from their defaults.

        Args:
            out: The folder for run folders.
        """
        return shlex.join(command_words("eval", self.changed(), out=out))
