"""The options for the aligners that follow the first one: calibrations, probes and label maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import NonNegativeInt

from promptkit.config.values import Metavar, Spellings
from promptkit.core.caller import setting
from promptkit.core.errors import InputError
from promptkit.tasks.field_descriptions import NamesFrom
from promptkit.tasks.strict_model import StrictModel

if TYPE_CHECKING:
    from promptkit.core.calibration import Calibration

PER_CLASS = "per_class"
"""The keyword of aligners that are fitted on labeled rows: the number of these for each label."""


class CalibrationOptions(StrictModel):
    """The aligners that follow the first one. Each is one more result of the same pass of the model."""

    calibrate: Annotated[Spellings, Metavar("NAME"), NamesFrom("promptkit.align.chain:CALIBRATIONS")] = ()
    """Calibrations, probes and label maps, separated by commas, such as contextual,batch or knn:k=3: {names}."""
    labelmap: Annotated[Spellings, Metavar("NAME"), NamesFrom("promptkit.align.labelmap:LABEL_MAPPINGS")] = ()
    """Label maps, separated by commas, such as blm+ or iterative:tokens=50: {names}."""
    per_class: NonNegativeInt | None = None
    """Labeled rows of each label that probes and label maps are fitted on, unless their own per_class is given."""

    def build_calibrations(self) -> list[Calibration]:
        """Builds the calibrations, then the label maps.

        Raises:
            InputError: A name or a setting is invalid, a name in `labelmap` is not a label map, or `per_class` applies to none.
        """
        from promptkit.align.chain import CALIBRATIONS
        from promptkit.align.labelmap import LABEL_MAPPINGS
        from promptkit.core.registry import build, keywords_of

        for spelling in self.labelmap:
            _check_label_map(spelling)
        defaults = {} if self.per_class is None else {PER_CLASS: self.per_class}
        built = [build("calibration", CALIBRATIONS, spelling, **defaults) for spelling in self.calibrate]
        built += [build("label map", LABEL_MAPPINGS, spelling, **defaults) for spelling in self.labelmap]
        if defaults and not any(field.name == PER_CLASS for each in built for field in keywords_of(each)):
            raise InputError(
                f"{setting('per_class')} is for probes and label maps, and there are none",
                code="option-not-applicable",
                got=setting("per_class", self.per_class),
                hint=f"Add a label map or a probe, such as {setting('labelmap', 'blm+')} or {setting('calibrate', 'linear')}",
                option=PER_CLASS,
                value=self.per_class,
            )
        return built


def _check_label_map(spelling: str) -> None:
    """Raises InputError for a calibration or a probe that is not a label map."""
    from promptkit.align.chain import CALIBRATIONS
    from promptkit.align.labelmap import LABEL_MAPPINGS
    from promptkit.core.registry import parse

    name, _ = parse(spelling)
    if name in CALIBRATIONS and name not in LABEL_MAPPINGS:
        raise InputError(
            f"{name} is not a label map",
            code="not-a-label-map",
            got=setting("labelmap", spelling),
            hint=f"Use {setting('calibrate', spelling)}, or one of the label maps {', '.join(LABEL_MAPPINGS)}",
            name=name,
        )
