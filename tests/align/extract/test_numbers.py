"""Numbers in many notations are parsed to their value, by themselves and within text."""

from __future__ import annotations

import sys
import unicodedata
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.align.extract.normalize import number
from promptkit.align.extract.numbers import number_spans, parse_number, to_ascii

ZEROS = [chr(code) for code in range(sys.maxunicode + 1) if unicodedata.decimal(chr(code), None) == 0]
"""The digit zero of every script, followed by its other digits in Unicode."""
amounts = st.decimals(min_value=-(10**12), max_value=10**12, places=2, allow_nan=False, allow_infinity=False)


def indian(integer: int) -> str:
    """The Indian notation: groups of two digits before the last three."""
    head, tail = str(abs(integer))[:-3], str(abs(integer))[-3:]
    pairs = [head[max(0, end - 2) : end] for end in range(len(head), 0, -2)][::-1]
    return ("-" if integer < 0 else "") + ",".join([*pairs, tail])


def numbers_in(text: str) -> list[Fraction | None]:
    return [parse_number(text[start:end]) for start, end in number_spans(text)]


@given(amounts, st.sampled_from(",'’\u00a0\u202f\u2009"), st.sampled_from(["", "$", "€", "₹"]))
def test_thousands_separators_of_several_countries(amount: Decimal, separator: str, currency: str) -> None:
    written = f"{currency}{amount:,}".replace(",", separator)
    assert parse_number(written) == Fraction(amount)
    assert numbers_in(f"it is {written}, they say") == [Fraction(amount)]


@given(amounts.filter(lambda amount: abs(amount) >= 1000))
def test_comma_after_points_is_a_decimal_comma(amount: Decimal) -> None:
    assert parse_number(f"{amount:,}".translate(str.maketrans(",.", ".,"))) == Fraction(amount)


@given(st.integers(-(10**12), 10**12))
def test_indian_digit_groups(integer: int) -> None:
    assert parse_number(indian(integer)) == integer
    assert numbers_in(f"es {indian(integer)} rupees") == [integer]


@given(st.integers(0, 10**12), st.sampled_from(ZEROS))
def test_digits_of_every_script(integer: int, zero: str) -> None:
    written = "".join(chr(ord(zero) + int(digit)) for digit in str(integer))
    assert parse_number(written) == integer
    assert numbers_in(f"答案是{written}个") == [integer]
    assert len(to_ascii(written)) == len(written)


@given(st.integers(-999, 999), st.integers(1, 999), st.integers(1, 99))
def test_fractions(numerator: int, denominator: int, integer: int) -> None:
    assert parse_number(f"{numerator}/{denominator}") == Fraction(numerator, denominator)
    assert parse_number(f"\\frac{{{numerator}}}{{{denominator}}}") == Fraction(numerator, denominator)
    part = Fraction(abs(numerator) % denominator, denominator)
    assert parse_number(f"{integer} {part.numerator}/{part.denominator}") == integer + part
    assert parse_number(f"-{integer} {part.numerator}/{part.denominator}") == -(integer + part)


@given(amounts, st.integers(-30, 30), st.sampled_from(["{}e{}", "{}E{}", "{} × 10^{}", "{}x10^{{{}}}", "{}\\times 10**{}"]))
def test_powers_of_ten(amount: Decimal, power: int, form: str) -> None:
    assert parse_number(form.format(amount, power)) == Fraction(amount) * Fraction(10) ** power


@given(st.fractions(max_denominator=2000))
def test_normal_form_keeps_the_value_and_is_idempotent(value: Fraction) -> None:
    form = number(str(value))
    assert parse_number(form) == value
    assert number(form) == form
    assert ("/" in form) == (value.denominator % 3 == 0 or any(value.denominator % p == 0 for p in range(7, 2001, 2) if p % 5))


@given(st.lists(st.integers(-999, 999), max_size=6))
def test_all_numbers_are_found_in_order(integers: list[int]) -> None:
    assert numbers_in(" and ".join(map(str, integers))) == integers


@pytest.mark.parametrize(
    "text", ["", "abc", "1,2,3", "5 100", "5 km", "1/0", "2021-03-04", "10:30", "1.2.3", "NaN", "1e999", "1" * 401, "x5"]
)
def test_text_that_is_not_one_number_has_no_value(text: str) -> None:
    assert parse_number(text) is None
