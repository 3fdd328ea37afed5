"""The options for the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from promptkit.config.values import EngineSettings
from promptkit.tasks.strict_model import StrictModel

if TYPE_CHECKING:
    from promptkit.core.model import Model


class ModelOptions(StrictModel):
    """The model and the settings of its engine."""

    model: str = "demo"
    """Model as [engine:]name: a hub id, a folder, a .gguf file, demo or fake."""
    set: EngineSettings = Field(default_factory=dict)
    """Engine setting, such as dtype=bfloat16; may be given several times."""

    def load_model(self) -> Model:
        """Loads the model."""
        from promptkit.models.registry import load

        return load(self.model, **self.set)
