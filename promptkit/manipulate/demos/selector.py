"""The base class of demonstration selectors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from promptkit.core.arguments import checked
from promptkit.core.errors import InputError
from promptkit.core.examples import LabeledExample, Part
from promptkit.manipulate.prompting.context import SelectionContext
from promptkit.manipulate.prompting.rows import Choose, count_distinct


class Selector(ABC):
    """Chooses demonstrations from the pool; one instance is one setting.

    A custom selector is a frozen dataclass that inherits from this class, sets `name` and implements `bind`. Its fields are
    its keywords and are validated when it is created.
    """

    name: ClassVar[str]
    """The spelling on the command line and in YAML."""
    ranks_by_similarity: ClassVar[bool] = False
    """Whether the demonstrations are ordered from the most to the least similar to the row."""

    is_shared: ClassVar[bool] = False
    """Whether all rows have the same demonstrations, apart from a row that is among them."""

    def __post_init__(self) -> None:
        """Validates the values of the keywords."""
        checked(self)
        if self.k is not None and self.k < 0:
            raise InputError(
                "The number of demonstrations must not be negative", code="out-of-range", got=f"k={self.k}", k=self.k
            )

    @property
    def k(self) -> int | None:
        """The number of demonstrations per row, or None if it varies."""
        return None

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts of the train split that are read."""
        return ("pool",)

    @property
    def models(self) -> tuple[str, ...]:
        """The names of other models that are queried, such as a sentence encoder."""
        return ()

    def has_enough(self, pool: Sequence[LabeledExample], labels: Sequence[str]) -> bool:
        """Returns whether a pool has enough rows for the demonstrations.

        Args:
            pool: The rows to choose from.
            labels: The labels of the task in the declared order; empty if it has none.
        """
        return count_distinct(pool) >= (self.k or 0)

    @abstractmethod
    def bind(self, context: SelectionContext) -> Choose:
        """Returns a function that chooses the demonstrations of any rows.

        Args:
            context: The pool, the model and the prompt layout.

        Returns:
            A function of rows. Each row's demonstrations depend on that row's inputs only, not on the other rows.

        Raises:
            TaskError: The pool has too few rows.
        """
