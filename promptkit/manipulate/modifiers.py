"""The table of manipulations that follow a prompt or an image: fixed ones, and learned ones with trained parameters.

The command line and YAML name them by `--manipulation`. A fixed one is a dataclass with the attributes of `Modifier`; a learned
one derives from `LearnedManipulation`, so that its parameters are trained, saved and loaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from promptkit.core.class_table import ClassTable, PartOfTable, named_attributes
from promptkit.core.manipulation import Modifier
from promptkit.manipulate.image.affine import Affine
from promptkit.manipulate.image.autocontrast import Autocontrast
from promptkit.manipulate.image.border import Border
from promptkit.manipulate.image.filter import Filter
from promptkit.manipulate.image.invert import Invert
from promptkit.manipulate.image.mask import SampleMask
from promptkit.manipulate.image.place import Place
from promptkit.manipulate.image.watermark import Watermark
from promptkit.manipulate.learned.base import LearnedManipulation
from promptkit.manipulate.learned.loreft import LoReFT
from promptkit.manipulate.learned.prefix import Prefix
from promptkit.manipulate.learned.soft_prompt import SoftPrompt
from promptkit.manipulate.learned.steering import SteeringVector
from promptkit.manipulate.learned.trigger_tokens import TriggerTokens

if TYPE_CHECKING:
    from collections.abc import Mapping


def _is_learnable(cls: object) -> bool:
    return isinstance(cls, type) and issubclass(cls, LearnedManipulation)


def _is_fixed(cls: object) -> bool:
    return not _is_learnable(cls)


MODIFIERS: ClassTable[Modifier] = ClassTable(
    "manipulation",
    (
        *(SoftPrompt, TriggerTokens, Prefix, SteeringVector, LoReFT),
        *(Place, Autocontrast, Invert),
        *(Border, Watermark, SampleMask, Affine, Filter),
    ),
    group="promptkit.manipulations",
)
"""The manipulations by name."""
FIXED: Mapping[str, type[Modifier]] = PartOfTable(MODIFIERS, _is_fixed)
"""The manipulations without trained parameters."""
LEARNABLE: Mapping[str, type[LearnedManipulation]] = PartOfTable(MODIFIERS, _is_learnable)
"""The manipulations with trained parameters."""
register = MODIFIERS.register
"""Registers the class of a manipulation; `--manipulation`, YAML, training and saved folders then know its name."""

# the registered names (see `named_attributes`)
soft = SoftPrompt
trigger_tokens = TriggerTokens
prefix = Prefix
steering = SteeringVector
loreft = LoReFT
place = Place
autocontrast = Autocontrast
invert = Invert
border = Border
watermark = Watermark
mask = SampleMask
affine = Affine
filter = Filter
if not TYPE_CHECKING:  # type checkers report unknown names
    __getattr__ = named_attributes(__name__, MODIFIERS)
