"""The configuration of a training run: `promptkit train`, a YAML file and `pk.TrainConfig` are three spellings of it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import NonNegativeInt, PositiveInt

from promptkit.config.answer import AnswerOptions
from promptkit.config.calibrations import CalibrationOptions
from promptkit.config.evaluation import EvalConfig
from promptkit.config.manipulations import build_fixed, is_fixed
from promptkit.config.modality import build_first_stages
from promptkit.config.model import ModelOptions
from promptkit.config.options import Options
from promptkit.config.prompt import PromptOptions
from promptkit.config.saving import SavingOptions
from promptkit.config.task import TaskOptions
from promptkit.config.training import TrainingOptions
from promptkit.config.values import Metavar, RelativePath, Several, Spelled, Spellings
from promptkit.core.distributed import processes
from promptkit.core.inputs import Modality
from promptkit.core.paths import OUT
from promptkit.runs.words import command_words
from promptkit.tasks.field_descriptions import NamesFrom
from promptkit.tasks.options import DataOptions
from promptkit.tasks.resolve import resolve_task

if TYPE_CHECKING:
    from promptkit.align.chain import Aligners
    from promptkit.core.calibration import Calibration
    from promptkit.core.manipulation import Learnable, Modifier
    from promptkit.display.progress import Progress
    from promptkit.predictor.predictor import Predictor
    from promptkit.tasks.task import Task
    from promptkit.training.result import TrainingResult

_TABLES = NamesFrom("promptkit.manipulate.modifiers:LEARNABLE", "promptkit.manipulate.modifiers:FIXED")

DEFAULT: Mapping[Modality, str] = {"text": "soft", "image": "watermark"}
"""What is trained by default."""


class TrainConfig(  # pydantic orders the fields from the last group to the first
    SavingOptions, DataOptions, PromptOptions, TrainingOptions, ModelOptions, TaskOptions, Options
):
    """The configuration of a training run."""

    manipulation: Annotated[Several, Metavar("NAME"), _TABLES] = None
    """Manipulation to train, or fixed one before it, with settings as in soft:length=20:init=random: {names}; may be given
    several times; by default soft, or watermark for images."""
    labelmap: Annotated[Spelled | None, Metavar("NAME"), NamesFrom("promptkit.align.labelmap:LABEL_MAPPINGS")] = None
    """Label map that is fitted on the training rows while the manipulation is trained: {names}."""
    shots: NonNegativeInt | None = 0
    """Number of demonstrations."""
    seed: int = 0
    """Random seed for the initialization, the row order and the demonstrations."""
    train: Path | None = None
    """For a data file: file with the rows to train on; by default all rows, or half of them from 500 rows on."""
    metric: Annotated[Spellings, Metavar("NAME"), RelativePath(before=":"), NamesFrom("promptkit.metrics:METRICS")] = ()
    """Metrics, separated by commas, the first of which selects the best step, or your own as FILE.py:NAME; by default the main
    metric of the task: {names}."""
    folds: PositiveInt | None = None
    """1 to hold out half of a data file of fewer than 500 rows, so that it can be evaluated with {folds=1} afterwards."""

    def load_task(self) -> Task:
        """Loads the task.

        Raises:
            PromptkitError: There is no such task, its data cannot be read, or an option does not apply to it.
        """
        return resolve_task(self.task, self, template=self.template)

    def build(self, task: Task | None = None) -> Predictor:
        """Builds the predictor to train, after a dry run on the first row.

        Args:
            task: The loaded task; it is loaded if None.

        Raises:
            PromptkitError: An option is invalid, or the predictor cannot be trained on the task.
        """
        from promptkit.evaluation.evaluate import dry_run
        from promptkit.models.registry import load
        from promptkit.predictor.compatibility import check_engine
        from promptkit.predictor.predictor import Predictor
        from promptkit.tasks.single_table import training_task
        from promptkit.training.checks import check, dev_metrics

        task = self.load_task() if task is None else task
        first = build_first_stages(task, self, AnswerOptions())
        fixed, learnables = self.build_fixed(), self.build_learnables(task.spec.modality)
        label_map = self.build_label_map()
        aligners: Aligners = [first.reader, *label_map]
        config = self.build_config(seed=self.seed)
        check_engine(self.model, first.encoder, [*fixed, *learnables], first.reader, label_map, config.needed_features)
        is_text = task.spec.modality == "text"
        model = load("fake") if is_text else self.load_model()
        # the fake model has no layers, so manipulations of hidden states are not part of the dry run
        checked = [learnable for learnable in learnables if not is_text or learnable.kind.location != "hidden"]
        trial = Predictor(model, [first.encoder, *fixed, *checked], aligners)
        trained = training_task(task, self.split, self.folds, fits=trial.chain.calibration is not None)
        check(trial, trained, split=self.split, config=config)
        dev_metrics(trial, trained, self.metric)
        dry_run([trial], task, split=self.split, folds=self.folds)
        return Predictor(self.load_model(), [first.encoder, *fixed, *learnables], aligners) if is_text else trial

    def build_fixed(self) -> list[Modifier]:
        """Builds the fixed manipulations, which come before the trained ones."""
        return build_fixed([spelling for spelling in self.manipulation or () if is_fixed(spelling)])

    def build_learnables(self, modality: Modality) -> list[Learnable]:
        """Builds the manipulations to train. `seed` is the seed of random initializations that define none.

        Args:
            modality: What kind of inputs the task has.
        """
        from promptkit.core.registry import build
        from promptkit.manipulate.modifiers import LEARNABLE

        learnable = [spelling for spelling in self.manipulation or () if not is_fixed(spelling)] or [DEFAULT[modality]]
        return [build("learned manipulation", LEARNABLE, spelling, seed=self.seed) for spelling in learnable]

    def build_label_map(self) -> list[Calibration]:
        """Builds the label map: a list of one, or an empty list."""
        return CalibrationOptions(labelmap=self.labelmap or (), per_class=self.label_rows).build_calibrations()

    @property
    def label_rows(self) -> int | None:
        """The labeled rows of each label that the label map is fitted on; None without a label map."""
        return self.per_class if self.labelmap else None

    def run(
        self, *, out: str | Path = OUT, cache: bool = True, progress: Progress | Literal[False] | None = None
    ) -> TrainingResult:
        """Trains the manipulations, as `promptkit train` does.

        Args:
            out: The folder for the training runs.
            cache: Whether to use the score cache.
            progress: As for `pk.train`.

        Raises:
            PromptkitError: The configuration cannot be trained.
        """
        from promptkit.training import trainer

        self.check_save()
        task = self.load_task()
        keywords = self.build_config(seed=self.seed).keywords()
        result = trainer.train(
            self.build(task),
            task,
            split=self.split,
            folds=self.folds,
            metrics=self.metric,
            out=out,
            cache=cache,
            progress=progress,
            **keywords,
        )
        if self.save is not None and processes().is_main:
            command = self.model_copy(update={"save": Path("FOLDER")}).to_command()
            result.predictor.save(self.save, command=command)
        return result

    def evaluation(self, folders: Sequence[str | Path], *, other_rows: bool = False) -> EvalConfig:
        """Returns the configuration that evaluates what was trained.

        Args:
            folders: The folders of the trained manipulations.
            other_rows: Whether all rows of the task were used for training, so that another file must be evaluated.
        """
        of_training = {"manipulation", "labelmap", *TrainingOptions.model_fields, *SavingOptions.model_fields}
        shared = {name: value for name, value in self if name not in of_training and name in EvalConfig.model_fields}
        if not self.shots:
            shared = {**shared, "seed": 0, "shots": None}  # without demonstrations the seed affects only the training
        fixed = [spelling for spelling in self.manipulation or () if is_fixed(spelling)]
        if other_rows:
            shared = {**shared, "task": f"OTHER{Path(self.task).suffix}"}
        return EvalConfig(
            **shared,
            prompt=[str(folder) for folder in folders],
            manipulation=fixed or None,
            labelmap=self.labelmap or (),
            per_class=self.label_rows,
        )

    def to_command(self, *, out: str | Path = OUT) -> str:
        """Returns the `promptkit train` command with the options that differ from their defaults.

        Args:
            out: The folder for the training runs.
        """
        return shlex.join(command_words("train", self.changed(), out=out))
