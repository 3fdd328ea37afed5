"""How the train rows of a task are divided into parts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import get_args

from promptkit.core.caller import setting
from promptkit.core.errors import InputError, unknown
from promptkit.core.examples import Part

PARTS: tuple[Part, ...] = get_args(Part)
EXAMPLE = "pool=0.6,fit=0.2,dev=0.2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Division:
    """The fraction of the train rows in each part. Rows beyond the sum of the fractions are in no part.

    Raises:
        InputError: A fraction is not between 0 and 1, or their sum is greater than 1.
    """

    pool: float = 0.0
    """The rows that demonstrations are chosen from and learned prompts are trained on."""
    fit: float = 0.0
    """The rows that aligners are fitted on."""
    dev: float = 0.0
    """The rows that searches evaluate on and training selects the best step by."""

    def __post_init__(self) -> None:
        fractions = self.fractions.values()
        in_range = all(isinstance(value, float | int) and 0 <= value <= 1 for value in fractions)
        if not in_range or math.fsum(fractions) > 1 + 1e-9 or not any(fractions):
            raise InputError(
                "The fractions of the parts of the train rows must be from 0 to 1, with a sum above 0 and at most 1",
                code="invalid-division",
                got=str(self),
                hint=f"Write {setting('split_train', EXAMPLE)}; a part that is left out gets no rows",
                **self.fractions,
            )

    @classmethod
    def of(cls, fractions: Mapping[str, float]) -> Division:
        """Returns the division with the fraction of each part by name; a part that is left out gets no rows.

        Raises:
            InputError: There is no such part, or the fractions are invalid.
        """
        for name in fractions:
            if name not in PARTS:
                raise unknown("part", name, PARTS, hint=f"Write {setting('split_train', EXAMPLE)}")
        return cls(**fractions)

    @classmethod
    def parse(cls, text: str) -> Division:
        """Returns the division that is spelled like `pool=0.6,fit=0.2,dev=0.2`.

        Raises:
            InputError: The text is not of this form, there is no such part, or the fractions are invalid.
        """
        fractions: dict[str, float] = {}
        for item in filter(None, (item.strip() for item in text.split(","))):
            name, _, number = (word.strip() for word in item.partition("="))
            try:
                value = float(number)
            except ValueError:
                value = math.nan
            if name in fractions or math.isnan(value):
                raise InputError(
                    "The division of the train rows must give each part one fraction",
                    code="invalid-division",
                    got=item,
                    hint=f"Write {setting('split_train', EXAMPLE)}",
                    item=item,
                )
            fractions[name] = value
        return cls.of(fractions)

    @property
    def fractions(self) -> dict[str, float]:
        """The fraction of each part, by name."""
        return asdict(self)

    def __str__(self) -> str:
        return ",".join(f"{name}={value}" for name, value in self.fractions.items())

    def bounds(self, part: Part) -> tuple[float, float]:
        """Returns the interval of hashes, as fractions, of the rows of a part."""
        fractions = [self.fractions[name] for name in PARTS]
        position = PARTS.index(part)
        return math.fsum(fractions[:position]), math.fsum(fractions[: position + 1])


DEFAULT = Division(pool=0.6, fit=0.2, dev=0.2)
"""The division of a task that defines none."""
WITHOUT_DEV = Division(pool=0.5, fit=0.5)
"""The division of the train rows of a fold, if none is defined and nothing needs dev rows."""
ONLY_FIT = Division(fit=1.0)
"""The division of the train rows of a fold, if none is defined and the manipulation uses no rows."""
WITHOUT_FIT = Division(pool=0.8, dev=0.2)
"""The division of all rows of a single table for training, which fits no aligners on rows of their own."""


def division_of_fold(parts: tuple[Part, ...]) -> Division:
    """Returns the division of the train rows of a fold, if none is defined.

    Args:
        parts: The parts that the manipulation uses.
    """
    if "dev" in parts:
        return DEFAULT
    return WITHOUT_DEV if parts else ONLY_FIT


def division_text(value: object) -> object:
    """Returns a mapping of parts to fractions as `pool=0.6,fit=0.2`; other values are unchanged."""
    return ",".join(f"{name}={fraction}" for name, fraction in value.items()) if isinstance(value, Mapping) else value
