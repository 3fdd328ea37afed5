"""Different answers have different normal forms, and numbers are extracted completely."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.align.extract.normalize import number, words
from promptkit.align.extract.rules import FinalNumber, FirstLine, Pattern

DIFFERENT = ["1.5 15", "-5 5", "3/4 34", "C++ C#", "+ -", "! ?", "10:30 1030", "3-5 35", ".5 5"]


@pytest.mark.parametrize("pair", DIFFERENT)
def test_answers_with_meaningful_punctuation_differ(pair: str) -> None:
    one, other = pair.split()
    assert not FirstLine().is_correct(one, [other])


@pytest.mark.parametrize("pair", ["Paris.|paris", "the U.S.A.|usa", "1,000|1000", "“x”|“X”", "well-known|well‐known", "A|a"])
def test_answers_with_different_decoration_are_equal(pair: str) -> None:
    one, other = pair.replace("‐", "-").split("|")
    assert FirstLine().is_correct(one, [other])


@given(st.text(min_size=1))
def test_normal_form_is_empty_only_for_blank_answer(text: str) -> None:
    assert bool(words(text)) == bool(text.strip())


@given(st.integers(), st.integers())
def test_integers_are_compared_by_value(one: int, other: int) -> None:
    assert (number(str(one)) == number(f"{other:,}")) == (one == other)
    assert number(f"{one}.00") == number(str(one))


@pytest.mark.parametrize("text", ["1e999999999", "-1e-999999999", "NaN", "inf", "1e"])
def test_text_that_is_not_a_number_is_compared_as_words(text: str) -> None:
    assert number(text) == words(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1\u00a0000\u202f000", "1000000"),
        ("1’000", "1000"),
        ("-.5", "-0.5"),
        ("3.5e3", "3500"),
        ("1,2,3", "3"),
        ("1,234,5", "5"),
        ("5 100", "100"),
        ("$1,234.50.", "1234.5"),
        ("it is 12", "12"),
    ],
)
def test_last_number_is_extracted_completely(text: str, expected: str) -> None:
    answer = FinalNumber().answer(text)
    assert answer is not None
    assert number(answer) == number(expected)


def test_pattern_with_alternatives_returns_the_matching_group() -> None:
    rule = Pattern(regex=r"answer is (\d+)|result (\d+)")
    assert [rule.answer(text) for text in ("answer is 4", "the result 5", "nothing")] == ["4", "5", None]
