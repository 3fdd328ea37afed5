"""Domain-context calibration (Fei et al. 2023, 2305.19148): as contextual, but read with random words of the domain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from promptkit.align.calibrate.contextual import averaged
from promptkit.align.calibrate.probabilities import Shift
from promptkit.core.alignment import FitData, Needs, RandomWords
from promptkit.core.errors import InputError
from promptkit.core.registry import checked

if TYPE_CHECKING:
    from promptkit.core.arrays import Integers


@dataclass(frozen=True)
class Domain:
    """q = p / p_d, where p_d is the mean of p over bags of random in-domain words of mean length."""

    bags: int = 20
    """How many; the words are those of the fit part's inputs."""
    seed: int = 0
    name: ClassVar[str] = "domain"

    def __post_init__(self) -> None:
        """Refuse to calibrate on nothing."""
        checked(self)
        if self.bags < 1:
            raise InputError(
                "Domain calibration needs at least one bag of words",
                code="out-of-range",
                got=f"bags={self.bags}",
                aligner=self.name,
                bags=self.bags,
            )

    @property
    def needs(self) -> Needs:
        """The bags."""
        return Needs(stand_ins=self._bags)

    @property
    def _bags(self) -> tuple[RandomWords, ...]:
        return tuple(RandomWords(self.seed, number) for number in range(self.bags))

    def fit(self, support: FitData, labels: Integers | None = None) -> Shift:
        """A prior a context."""
        return averaged(support, self._bags)
