"""Numbers in every way of writing them are worth what they were made from, alone and in the midst of a text."""

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
"""The zero of every script; its other digits follow it."""
amounts = st.decimals(min_value=-(10**12), max_value=10**12, places=2, allow_nan=False, allow_infinity=False)


def indian(whole: int) -> str:
    """In groups of two, but for the last three digits."""
    head, tail = str(abs(whole))[:-3], str(abs(whole))[-3:]
    pairs = [head[max(0, end - 2) : end] for end in range(len(head), 0, -2)][::-1]
    return ("-" if whole < 0 else "") + ",".join([*pairs, tail])


def found(text: str) -> list[Fraction | None]:
    return [parse_number(text[start:end]) for start, end in number_spans(text)]


@given(amounts, st.sampled_from(",'’\u00a0\u202f\u2009"), st.sampled_from(["", "$", "€", "₹"]))
def test_thousands_are_set_apart_by_what_a_country_sets_them_apart_by(amount: Decimal, separator: str, currency: str) -> None:
    written = f"{currency}{amount:,}".replace(",", separator)
    assert parse_number(written) == Fraction(amount)
    assert found(f"it is {written}, they say") == [Fraction(amount)]


@given(amounts.filter(lambda amount: abs(amount) >= 1000))
def test_a_comma_behind_points_begins_the_decimals(amount: Decimal) -> None:
    assert parse_number(f"{amount:,}".translate(str.maketrans(",.", ".,"))) == Fraction(amount)


@given(st.integers(-(10**12), 10**12))
def test_thousands_are_set_apart_in_pairs_in_india(whole: int) -> None:
    assert parse_number(indian(whole)) == whole
    assert found(f"es {indian(whole)} rupees") == [whole]


@given(st.integers(0, 10**12), st.sampled_from(ZEROS))
def test_the_digits_of_every_script_are_read(whole: int, zero: str) -> None:
    written = "".join(chr(ord(zero) + int(digit)) for digit in str(whole))
    assert parse_number(written) == whole
    assert found(f"答案是{written}个") == [whole]
    assert len(to_ascii(written)) == len(written)


@given(st.integers(-999, 999), st.integers(1, 999), st.integers(1, 99))
def test_fractions_are_worth_their_quotient(upper: int, lower: int, whole: int) -> None:
    assert parse_number(f"{upper}/{lower}") == Fraction(upper, lower)
    assert parse_number(f"\\frac{{{upper}}}{{{lower}}}") == Fraction(upper, lower)
    part = Fraction(abs(upper) % lower, lower)
    assert parse_number(f"{whole} {part.numerator}/{part.denominator}") == whole + part
    assert parse_number(f"-{whole} {part.numerator}/{part.denominator}") == -(whole + part)


@given(amounts, st.integers(-30, 30), st.sampled_from(["{}e{}", "{}E{}", "{} × 10^{}", "{}x10^{{{}}}", "{}\\times 10**{}"]))
def test_a_power_of_ten_moves_the_point(amount: Decimal, power: int, form: str) -> None:
    assert parse_number(form.format(amount, power)) == Fraction(amount) * Fraction(10) ** power


@given(st.fractions(max_denominator=2000))
def test_a_normal_form_keeps_the_value_and_is_its_own(worth: Fraction) -> None:
    form = number(str(worth))
    assert parse_number(form) == worth
    assert number(form) == form
    assert ("/" in form) == (worth.denominator % 3 == 0 or any(worth.denominator % p == 0 for p in range(7, 2001, 2) if p % 5))


@given(st.lists(st.integers(-999, 999), max_size=6))
def test_every_number_of_a_text_is_found_in_its_order(wholes: list[int]) -> None:
    assert found(" and ".join(map(str, wholes))) == wholes


@pytest.mark.parametrize(
    "text", ["", "abc", "1,2,3", "5 100", "5 km", "1/0", "2021-03-04", "10:30", "1.2.3", "NaN", "1e999", "1" * 401, "x5"]
)
def test_what_is_no_one_number_has_no_value(text: str) -> None:
    assert parse_number(text) is None
