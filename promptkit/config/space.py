"""The space of tuning from a YAML file, in the grid language of studies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import Field, NonNegativeInt, model_validator
from pydantic_core import PydanticCustomError

from promptkit.config.answer import PMI
from promptkit.config.build import build_stages
from promptkit.config.calibrations import CalibrationOptions
from promptkit.config.evaluation import EvalConfig
from promptkit.config.grid import GridOptions
from promptkit.config.key_paths import name_key
from promptkit.config.learned import LearnedTraining
from promptkit.config.metrics import MetricOptions
from promptkit.config.model import ModelOptions
from promptkit.config.task import RowOptions, TaskOptions
from promptkit.config.values import Metavar, Several
from promptkit.tasks.field_descriptions import NamesFrom
from promptkit.tasks.options import DataOptions

if TYPE_CHECKING:
    from promptkit.core.calibration import Calibration
    from promptkit.core.examples import LabeledExample
    from promptkit.core.manipulation import Learnable
    from promptkit.core.model import Model
    from promptkit.tasks.task import Task
    from promptkit.tuning.space import Space
    from promptkit.tuning.space_builder import SpaceBuilder

OF_THE_COMMAND = frozenset(
    name for group in (TaskOptions, DataOptions, RowOptions, MetricOptions) for name in group.model_fields
)
"""The options that `promptkit tune` has itself, because they do not describe what is tried."""
OF_SPACES = frozenset({"default", "training"})
"""The keys of a space that describe no prompt."""
TASK = "task"
LoadModel = Callable[[ModelOptions], "Model"]
"""Returns the model that options describe, loaded or only planned."""


class SpaceConfig(GridOptions):
    """A space of tuning: options that all prompts share, and a grid over other options."""

    noun: ClassVar[str] = "space"
    example: ClassVar[str] = "It has a grid of options, such as grid: {shots: [0, 8], demos: [balanced, bm25]}"

    task: str = ""
    """Not an option of a space: it is the task of promptkit tune."""
    default: bool = False
    """Whether the default space is tried, too."""
    learned: Annotated[Several, Metavar("NAME"), NamesFrom("promptkit.manipulate.modifiers:LEARNABLE")] = None
    """Learned manipulations that are trained after each prompt without demonstrations, such as [soft:length=10, loreft]:
    {names}."""

    training: LearnedTraining = Field(default_factory=LearnedTraining)
    """How they are trained, such as {steps: 50, batch_size: 8}."""

    proposed: NonNegativeInt = 0
    """Number of instructions that the model proposes, each of which takes the place of the instruction of each prompt."""

    @model_validator(mode="before")
    @classmethod
    def _check_no_option_of_the_command(cls, values: Any) -> Any:  # pydantic passes whatever is given
        given = next((name for name in values if name in OF_THE_COMMAND), None) if isinstance(values, Mapping) else None
        if given is not None:
            message = "{option} is an option of promptkit tune, and not of a space"
            raise PydanticCustomError("option-of-the-command", message, {"option": given, "key": given})
        return values

    @model_validator(mode="after")
    def _check_there_is_something_to_try(self) -> Self:
        if not (self.default or self._describes_prompts):
            raise PydanticCustomError("no-values", "A space needs options or a grid", {"option": "grid", "key": "grid"})
        return self

    def build(
        self,
        task: Task,
        rows: Sequence[LabeledExample],
        models: Sequence[Model],
        load: LoadModel,
        *,
        seed: int = 0,
        template: str | None = None,
    ) -> Space:
        """Returns the space.

        Args:
            task: The task.
            rows: Its labeled rows.
            models: The models of the command, for prompts whose model the file does not name.
            load: Returns the model of options.
            seed: The seed of alignments, and of the demonstrations if the file names none.
            template: The template of prompts, if the file names none; that of the task if None.

        Raises:
            PromptkitError: An option is invalid, or cannot be tuned.
        """
        from promptkit.studies.grid import cells
        from promptkit.tuning.space import add_default_space, built
        from promptkit.tuning.space_builder import SpaceBuilder

        builder = SpaceBuilder(task, rows, seed, template=template or "")
        named: dict[str, Model] = {}
        for cell in cells(self.dimensions()) if self._describes_prompts else []:
            for model in self._models(self._config(cell, builder), models, named, load):
                name_key(self.file, partial(self._add, builder, cell, model), self.keys(cell))
        if self.default:
            add_default_space(builder, models)
        return built(builder)

    @property
    def _describes_prompts(self) -> bool:
        """Whether it has prompts besides the default ones."""
        return bool(self.grid or self.model_fields_set - OF_SPACES - {"grid"})

    def _config(self, cell: Mapping[str, object], builder: SpaceBuilder, without: str | None = None) -> EvalConfig:
        """Returns the configuration of a cell, with the seed and the template of the command if the file names none."""
        config = self.cell({**cell, TASK: builder.task.name}, without)
        given, own = config.changed(), {"seed": builder.seed, "template": builder.template}
        return config.model_copy(update={name: value for name, value in own.items() if name not in given})

    def _models(self, config: EvalConfig, models: Sequence[Model], named: dict[str, Model], load: LoadModel) -> Sequence[Model]:
        """Returns the models of a cell: its own one, or those of the command."""
        if "model" not in self.grid and "model" not in self.model_fields_set:
            return models
        key = f"{config.model} {config.engine_settings()}"
        if key not in named:
            named[key] = load(config)
        return [named[key]]

    def _add(self, builder: SpaceBuilder, cell: Mapping[str, object], model: Model, without: str | None) -> None:
        """Adds the prompt of a cell, and after it learned manipulations."""
        config = self._config(cell, builder, without).model_copy(update={"model": model.name})
        stages = build_stages(config, builder.task)
        from promptkit.manipulate.compose import composed
        from promptkit.manipulate.prompt import Prompt

        calibrations = self._calibrations(config)
        builder.add(model, stages.manipulations, reader=stages.reader, calibrations=calibrations)
        if self.proposed and isinstance(first := composed(stages.manipulations), Prompt):
            builder.add_proposed(model, first, self.proposed, reader=stages.reader, calibrations=calibrations)
        for learnable in self._learnables(builder) if not config.num_shots else []:
            builder.add_learned(
                model,
                [*stages.manipulations, learnable],
                training=self.training.build_config(seed=builder.seed),
                reader=stages.reader,
                calibrations=calibrations,
            )

    def _calibrations(self, config: EvalConfig) -> Sequence[Calibration] | None:
        """Returns the alignments that the file names; None for all that the answers allow."""
        from promptkit.align.chain import CALIBRATIONS

        if config.score == PMI:
            return [CALIBRATIONS[PMI]()]
        named = any(name in self.model_fields_set for name in CalibrationOptions.model_fields)
        return config.build_calibrations() if named else None

    def _learnables(self, builder: SpaceBuilder) -> Iterator[Learnable]:
        from promptkit.core.registry import build
        from promptkit.manipulate.modifiers import LEARNABLE

        for spelling in self.learned or ():
            yield build("learned manipulation", LEARNABLE, spelling, seed=builder.seed)
