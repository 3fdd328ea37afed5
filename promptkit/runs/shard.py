"""A shard: every n-th batch of a run."""

from __future__ import annotations

from typing import NamedTuple

from promptkit.core.errors import InputError


class Shard(NamedTuple):
    """One of the parts into which a run's batches are divided."""

    number: int
    """Number of the shard, from 1 to `of`."""
    of: int
    """Number of shards."""

    @classmethod
    def read(cls, spelling: str) -> Shard:
        """Returns the shard that a text such as `1/3` names.

        Raises:
            InputError: If the text is not `NUMBER/OF` with NUMBER from 1 to OF.
        """
        number, _, of = spelling.partition("/")
        if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
            raise InputError(
                f"{spelling!r} is not a shard",
                code="invalid-shard",
                hint="Write --shard 1/3, 2/3 and 3/3 for three shards",
                shard=spelling,
            )
        return cls(int(number), int(of))

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"
