"""The option that repeats an evaluation with several seeds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from promptkit.config.values import Metavar
from promptkit.core.caller import setting
from promptkit.core.errors import InputError
from promptkit.tasks.strict_model import StrictModel

if TYPE_CHECKING:
    from promptkit.display.progress import Progress

MAX_SEEDS = 1000
"""The most seeds of one evaluation."""


def to_seeds(value: object) -> object:
    """Returns `0:5`, `0,3,7` or a list or range of numbers as text, each seed once; None is unchanged."""
    if value is None:
        return None
    text = ",".join(map(str, value)) if isinstance(value, Iterable) and not isinstance(value, str | bytes) else str(value)
    seeds = read_seeds(text)
    if not seeds:
        message = "the seeds {value} are not of the form 0:5 (0 to 4) or 0,3,7, with two to {most} different numbers"
        raise PydanticCustomError("invalid-seeds", message, {"value": text, "most": MAX_SEEDS, "option": "seeds"})
    return text


def read_seeds(text: str) -> tuple[int, ...]:
    """Returns the seeds of a text such as `0:5` or `0,3,7`; empty if it is not of such a form."""
    try:
        if ":" in text:
            first, last = map(int, text.split(":"))
            seeds = tuple(range(first, min(last, first + MAX_SEEDS + 1)))
        else:
            seeds = tuple(map(int, text.split(",")))
    except ValueError:
        return ()
    valid = 2 <= len(seeds) <= MAX_SEEDS and len(set(seeds)) == len(seeds)
    return seeds if valid else ()


def of_part(progress: Progress | Literal[False] | None, part: int, parts: int) -> Progress | Literal[False] | None:
    """Returns the progress of one of several parts of equal size, as a part of the whole."""
    if not progress:
        return progress
    return lambda done, total: progress(part * total + done, parts * total)


class SeedsOptions(StrictModel):
    """Several seeds."""

    seeds: Annotated[str | None, BeforeValidator(to_seeds), Metavar("A:B")] = None
    """Evaluate once for each of these seeds, 0:5 (0 to 4) or 0,3,7, and show means over rows and seeds, instead of {seed}."""

    def check_seeds(self, **others: object) -> None:
        """Checks that no other option applies to a single run.

        Args:
            others: Option -> its value; None if it is not given.

        Raises:
            InputError: An option cannot be combined with several seeds (`conflicting-options`).
        """
        seed = setting("seed")
        hints = {
            "save": f"Every seed has its own predictor. Save that of one seed with {seed}, chosen before its figures are known",
            "shard": f"Give each seed its own shards, with {seed}",
            "plot": f"Plot the run of one seed with {seed}",
            "seed": "Leave one of them out",
            "predictor": "A saved predictor was fitted with one seed. Leave one of them out",
        }
        for option, hint in hints.items():
            value = others.get(option)
            if self.seeds is not None and value is not None:
                raise InputError(
                    f"{setting(option)} applies to one run, and {setting('seeds')} evaluates several",
                    code="conflicting-options",
                    got=f"{setting('seeds', self.seeds)} {setting(option, str(value))}",
                    hint=hint,
                    options=("seeds", option),
                )

    def seed_values(self) -> tuple[int, ...]:
        """Returns the seeds; empty if only one is evaluated."""
        return () if self.seeds is None else read_seeds(self.seeds)
