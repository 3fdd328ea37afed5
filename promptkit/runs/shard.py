"""A shard: every n-th batch of a run."""

from __future__ import annotations

from dataclasses import dataclass

from promptkit.core.arguments import check_arguments, checked
from promptkit.core.caller import by_caller
from promptkit.core.errors import InputError


@dataclass(frozen=True, slots=True)
class Shard:
    """One of the parts into which a run's batches are divided.

    Raises:
        InputError: If the number is not from 1 to `of`.
    """

    number: int
    """Number of the shard, from 1 to `of`."""
    of: int
    """Number of shards."""

    def __post_init__(self) -> None:
        checked(self, "a shard")
        if not 1 <= self.number <= self.of:
            raise _invalid_shard(str(self))

    @classmethod
    @check_arguments("Shard.read")
    def read(cls, spelling: str) -> Shard:
        """Returns the shard that a text such as `1/3` names.

        Raises:
            InputError: If the text is not `NUMBER/OF` with NUMBER from 1 to OF.
        """
        number, _, of = spelling.partition("/")
        if not (number.isdecimal() and of.isdecimal()):
            raise _invalid_shard(spelling)
        return cls(int(number), int(of))

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


def _invalid_shard(spelling: str) -> InputError:
    return InputError(
        f"{spelling!r} is not a shard",
        code="invalid-shard",
        hint="For three shards write "
        + by_caller(command="1/3, 2/3 and 3/3", python="Shard(1, 3), Shard(2, 3) and Shard(3, 3)"),
        shard=spelling,
    )
