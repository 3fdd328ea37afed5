"""The table of fixed manipulations: modifiers without trained parameters, which the option `--manipulation` names."""

from __future__ import annotations

from promptkit.core.class_table import ClassTable
from promptkit.core.manipulation import Modifier
from promptkit.manipulate.image.autocontrast import Autocontrast
from promptkit.manipulate.image.invert import Invert
from promptkit.manipulate.image.place import Place

FIXED: ClassTable[Modifier] = ClassTable("fixed manipulation", (Place, Autocontrast, Invert), group="promptkit.manipulations")
"""The fixed manipulations by name. A package adds its own by entry points, a notebook by `@FIXED.register`."""
