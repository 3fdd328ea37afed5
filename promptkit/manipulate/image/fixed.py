"""The base class of fixed programs: operations on images without trained parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from promptkit.core.arguments import checked
from promptkit.core.arrays import Array
from promptkit.core.capabilities import Feature
from promptkit.core.fingerprints import Fingerprint
from promptkit.core.interventions import InputOperation
from promptkit.core.manipulation import BindContext, Transform
from promptkit.core.model import image_card
from promptkit.core.registry import settings_of
from promptkit.core.taxonomy import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedProgram:
    """A modifier that adds one operation on pixels."""

    name: ClassVar[str]
    """Its name on the command line, which is also that of its operation."""
    kind: ClassVar[Kind]
    requires: ClassVar[frozenset[Feature]] = frozenset({"image", "operations"})
    slots: ClassVar[Mapping[str, int]] = {}
    context_tokens: ClassVar[int] = 0
    base: ClassVar[Mapping[str, str | int]] = {}
    fitted_on: ClassVar[frozenset[Fingerprint]] = frozenset()

    def __post_init__(self) -> None:
        checked(self)

    def settings(self) -> Mapping[str, object]:
        """Returns the name and the settings."""
        return settings_of(self)

    def bind(self, bind_context: BindContext) -> Transform:
        """Returns the transform that adds the operation to an image.

        Raises:
            Unsupported: The model does not read images.
        """
        image_card(bind_context.ask.card)
        operation: InputOperation[Array] = InputOperation(name=self.name, settings=tuple(self._operation_settings().items()))
        return lambda prepared: prepared.adding(operations=(operation,))

    def _operation_settings(self) -> Mapping[str, str | float]:
        """Returns the settings of the operation; none by default."""
        return {}
