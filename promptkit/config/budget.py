"""Reads budgets: a time, a number of requests, or a number of tokens, as `10m`, `500 requests` or `200k tokens`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pydantic_core import PydanticCustomError

if TYPE_CHECKING:
    from promptkit.tuning.budget import Budget, Unit

_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)\s*([kM]?)\s*([a-z]*)")
_SECONDS = {"s": 1, "sec": 1, "second": 1, "seconds": 1, "m": 60, "min": 60, "minute": 60, "minutes": 60}
_SECONDS |= {"h": 3600, "hour": 3600, "hours": 3600}
_COUNTED: dict[str, Unit] = {"request": "requests", "requests": "requests", "token": "tokens", "tokens": "tokens"}
_FACTORS = {"": 1, "k": 1000, "M": 1_000_000}


def read_budgets(text: str) -> tuple[Budget, ...]:
    """Returns the limits of a text such as `10m`, `500 requests` or `10m, 200k tokens`, all of which hold.

    A time is a number with s, m or h, such as `90s` or `1.5h`. A count may end with k or M.

    Raises:
        ValueError: The text is not of this form, an amount is 0, or a unit is given twice.
    """
    from promptkit.tuning.budget import Budget

    budgets = [Budget(*_amount(part.strip())) for part in text.split(",")]
    if len({budget.unit for budget in budgets}) < len(budgets):
        raise ValueError(text)
    return tuple(budgets)


def _amount(text: str) -> tuple[float, Unit]:
    match = _AMOUNT.fullmatch(text)
    if match is None:
        raise ValueError(text)
    number, factor, unit = match.groups()
    amount = float(number) * _FACTORS[factor]
    if amount <= 0:
        raise ValueError(text)
    if unit in _SECONDS and not factor:
        return amount * _SECONDS[unit], "seconds"
    if unit in _COUNTED:
        return amount, _COUNTED[unit]
    raise ValueError(text)


def check_budget(value: object) -> object:
    """Returns a text that is a budget; refuses any other text."""
    if not isinstance(value, str):
        return value
    try:
        read_budgets(value)
    except ValueError:
        message = (
            "The budget '{value}' is not a time (10m, 90s, 1h), a number of requests (500 requests) or of tokens (200k tokens)"
        )
        raise PydanticCustomError("invalid-budget", message, {"value": value[:100], "option": "budget"}) from None
    return value
