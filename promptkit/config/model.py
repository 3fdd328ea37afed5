"""The options for the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, PositiveInt

from promptkit.config.values import EngineSettings, Metavar
from promptkit.core.caller import setting
from promptkit.core.errors import InputError, unknown
from promptkit.tasks.strict_model import StrictModel

if TYPE_CHECKING:
    from promptkit.core.model import Model


class DeviceOptions(StrictModel):
    """The device of the model."""

    device: Annotated[str | None, Metavar("DEVICE")] = None
    """Device of the model: auto, cpu, cuda, cuda:1 or mps; a setting of the engine."""

    def own_settings(self) -> dict[str, object]:
        """Returns the settings of the engine that are options of their own."""
        return {} if self.device is None else {"device": self.device}


class EngineOptions(DeviceOptions):
    """The device of the model and the size of its batches."""

    batch_size: PositiveInt | None = None
    """Images computed at once, or tokens for language models; a setting of the engine."""

    def own_settings(self) -> dict[str, object]:
        """Returns the settings of the engine that are options of their own."""
        return {**super().own_settings(), **({} if self.batch_size is None else {"batch_size": self.batch_size})}


class ModelOptions(DeviceOptions):
    """The model and the settings of its engine."""

    model: str = "demo"
    """Model as [engine:]name: a hub id, a folder, a .gguf file, demo or fake."""
    set: EngineSettings = Field(default_factory=dict)
    """Engine setting, such as dtype=bfloat16; may be given several times."""

    def engine_settings(self) -> dict[str, object]:
        """Returns the settings of the engine, of all options.

        Raises:
            InputError: A setting is given twice.
        """
        own = self.own_settings()
        twice = next((name for name in own if name in self.set), None)
        if twice is not None:
            raise InputError(
                f"The setting {twice} is given twice",
                code="duplicate-setting",
                got=f"{own[twice]} and {self.set[twice]}",
                hint="Give it once",
                setting=twice,
                values=(str(own[twice]), self.set[twice]),
            )
        self._check_supported(own)
        return {**self.set, **own}

    def _check_supported(self, own: Mapping[str, object]) -> None:
        """Raises InputError if the engine has no such setting as an option of its own."""
        from promptkit.models.registry import ENGINES, split

        engine, _ = split(self.model)
        known = ENGINES[engine].settings().model_fields
        missing = next((name for name in ENGINES[engine].renamed(own) if name not in known), None)
        if missing is not None:
            hint = f"Leave out {setting(missing)}"
            raise unknown(f"setting of the {engine} engine", missing, known, hint=hint)

    def load_model(self) -> Model:
        """Loads the model.

        Raises:
            InputError: The engine has no such setting, or a value is invalid.
            ModelError: The model cannot be found or read.
        """
        from promptkit.models.registry import load

        return load(self.model, **self.engine_settings())
