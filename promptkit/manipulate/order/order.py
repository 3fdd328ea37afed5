"""The base class of orders of demonstrations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from promptkit.core.arguments import checked
from promptkit.manipulate.prompting.context import SelectionContext
from promptkit.manipulate.prompting.rows import Arrange


class Order(ABC):
    """Orders the demonstrations of a row; one instance is one setting.

    A custom order is a frozen dataclass that inherits from this class, sets `name` and implements `bind`. Its fields are its
    keywords and are validated when it is created.
    """

    name: ClassVar[str]
    """The spelling on the command line and in YAML."""
    needs_ranking: ClassVar[bool] = False
    """Whether the selector must rank the demonstrations by similarity."""

    depends_on_row: ClassVar[bool] = True
    """Whether rows with the same demonstrations may have them in different orders."""

    def __post_init__(self) -> None:
        """Validates the values of the keywords."""
        checked(self)

    @abstractmethod
    def bind(self, context: SelectionContext) -> Arrange:
        """Returns a function that orders the demonstrations of any rows.

        Args:
            context: The model and the prompt layout.

        Returns:
            A function of rows and of the demonstrations chosen for them.
        """
