"""The grid language: options that all cells share, and a grid of lists of values, which studies and spaces of tuning use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import Field, PrivateAttr, model_validator
from pydantic_core import PydanticCustomError

from promptkit.config.calibrations import CalibrationOptions
from promptkit.config.eval_options import EvalOptions
from promptkit.config.evaluation import EvalConfig
from promptkit.config.metrics import MetricOptions
from promptkit.config.task import RowOptions, TaskOptions
from promptkit.core.caller import by_caller
from promptkit.core.errors import InputError, unknown
from promptkit.core.paths import expanded
from promptkit.tasks.options import DataOptions
from promptkit.tasks.yaml_file import errors_at

SHARED = frozenset(
    name for group in (DataOptions, RowOptions, MetricOptions, CalibrationOptions) for name in group.model_fields
)
"""The options that are the same for all cells."""
LISTED = (*TaskOptions.model_fields, "model")
"""The options whose lists may stand outside of the grid."""


class GridOptions(EvalOptions):
    """The options of an evaluation, some of which `grid` gives a list of values."""

    grid: dict[str, list[Any]] = Field(default_factory=dict)
    """Option -> list of values: the dimensions, in order."""
    _file: Path | None = PrivateAttr(None)

    @model_validator(mode="before")
    @classmethod
    def _move_lists_into_the_grid(cls, values: Any) -> Any:  # pydantic passes whatever is given
        grid = values.get("grid", {}) if isinstance(values, Mapping) else None
        if not isinstance(grid, Mapping):
            return values
        lists = {name: [*values[name]] for name in LISTED if isinstance(values.get(name), list | tuple) and values[name]}
        repeated = next((name for name in lists if name in grid), None)
        if repeated is not None:
            raise _duplicate(repeated)
        rest = {name: value for name, value in values.items() if name not in lists}
        return {**rest, "grid": {**lists, **grid}} if lists else values

    @model_validator(mode="after")
    def _check_no_option_is_given_twice(self) -> Self:
        repeated = next((name for name in self.grid if name in self.model_fields_set), None)
        if repeated is not None:
            raise _duplicate(repeated)
        return self

    @model_validator(mode="after")
    def _check_no_calibration_is_in_the_grid(self) -> Self:
        option = next((name for name in self.grid if name in CalibrationOptions.model_fields), None)
        if option is not None:
            message = (
                "{option} cannot be in the grid, because all calibrations, probes and label maps share one pass over the rows. "
                "List them at the top level, as in labelmap: [blm, blm+]: the study then has the dimension align. For "
                "figures at several numbers of labeled rows, use {curve}"
            )
            curve = by_caller(
                command="promptkit curve RUN --per-class 1,2,5", python="pk.learning_curve(RUN, per_class=[1, 2, 5])"
            )
            context = {"option": option, "key": f"grid.{option}", "curve": curve}
            raise PydanticCustomError("calibrate-in-grid", message, context)
        return self

    @property
    def file(self) -> Path | None:
        """The YAML file, which errors name; None for options that are not read from a file."""
        return self._file

    @classmethod
    def from_yaml(cls, path: str | Path) -> Self:
        """Reads the options from a YAML file. Paths are relative to the file.

        Raises:
            InputError: There is no such file, or its grid is invalid.
            TaskError: The file does not define such options.
        """
        spec = super().from_yaml(path)
        file = expanded(path)
        grid = {
            option: [_grid_value(file, option, index, value) for index, value in enumerate(values)]
            for option, values in spec.grid.items()
        }
        checked = spec.model_copy(update={"grid": grid})
        checked._file = file
        return checked

    def dimensions(self) -> Mapping[str, Sequence[object]]:
        """Returns the values of each dimension.

        Raises:
            InputError: An option cannot be in the grid, or a dimension has no values or repeated ones.
        """
        from promptkit.studies.grid import dimensions

        for option in self.grid:
            _check_grid_option(option)
        try:
            return dimensions(self.grid)
        except InputError as error:
            raise error.at(self.file, f"grid.{error.fields['dimension']}") if self.file else error from None

    def cell(self, values: Mapping[str, object], without: str | None = None) -> EvalConfig:
        """Returns the configuration of a cell, whose values take precedence over the shared options.

        Args:
            values: Option of the grid -> its value in the cell.
            without: An option that gets its default value instead.
        """
        options = EvalOptions.model_fields  # not the field `baselines`, which means other baselines in a study
        shared = {name: value for name, value in self if name in options and name in self.model_fields_set}
        given = {name: value for name, value in {**shared, **values}.items() if name != without}
        return EvalConfig(**given)

    def keys(self, cell: Mapping[str, object]) -> dict[str, str]:
        """Returns the path of the key that defines each given option of a cell, such as {"shots": "grid.shots[1]"}."""
        in_grid = {option: f"grid.{option}[{self.grid[option].index(value)}]" for option, value in cell.items()}
        shared = self.model_fields_set - {"grid", "task", "description", "limit", "folds", "baselines", "compare"} - cell.keys()
        return in_grid | {option: option for option in sorted(shared)}


def _duplicate(option: str) -> PydanticCustomError:
    message = "{option} is given both in the grid and outside of it"
    return PydanticCustomError("duplicate-option", message, {"option": option, "key": f"grid.{option}"})


def _check_grid_option(option: str) -> None:
    """Raises InputError if an option does not differ between the cells of a study."""
    known = [name for name in EvalOptions.model_fields if name not in SHARED]
    if option not in known:
        raise unknown("option of the grid", option, known)


def _grid_value(path: Path, option: str, index: int, value: object) -> object:
    """Validates one value of the grid."""
    with errors_at(path, f"grid.{option}"):
        _check_grid_option(option)
    config = EvalConfig._from_file(path, {"task": "", option: value}, key=f"grid.{option}[{index}]")
    return dict(config)[option]
