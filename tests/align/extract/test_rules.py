"""Extraction of answers from texts, and comparison of answers."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

import promptkit as pk
from promptkit.align.extract.normalize import exact, number, words
from promptkit.align.extract.rules import EXTRACTIONS
from promptkit.core.errors import InputError
from promptkit.core.examples import Example
from tests.support.errors import refused

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@pytest.mark.parametrize(
    ("text", "answer"), [(" Paris\nQ: next", "Paris"), ("\n\n  Rome ", "Rome"), ("", None), (" \n\t", None), ("a\r\nb", "a")]
)
def test_first_line_skips_blank_lines(text, answer):
    assert pk.extract.FirstLine().answer(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("3 + 4 = 7. The answer is 7.", "7"),
        ("it costs $1,234.50.", "$1,234.50"),
        ("from 5 to -3", "-3"),
        ("5-3", "3"),
        ("x = (-2)", "-2"),
        ("either 4, or 5, ", "5"),
        ("a half, .5", ".5"),
        ("3.", "3"),
        ("none at all", None),
        ("", None),
    ],
)
def test_final_number_has_sign_and_separators(text, answer):
    assert pk.extract.FinalNumber().answer(text) == answer


@pytest.mark.parametrize(
    ("regex", "text", "answer"),
    [
        (r"\(([A-Z])\)", "not (A) but (C)", "C"),
        ("yes|no", "yes and no", "no"),
        (r"answer is:?\s*(.*?)\.?\s*$", "So the answer is: forty two.\nQ:", "forty two"),
        ("(x)?y", "y", None),
        ("zzz", "no such thing", None),
    ],
)
def test_pattern_returns_group_of_last_match(regex, text, answer):
    assert pk.extract.Pattern(regex=regex).answer(text) == answer


FRAGMENTS = (
    'The answer is |Answer:|#### |\\boxed{|}|{"answer": |"|not |no|yes |(B)|A| or |\n|12|3/4|-|.|$|1,000|٣|%|**|Q: '
    "|I cannot say| = |because |’"
)
fragment_texts = st.lists(st.sampled_from(FRAGMENTS.split("|")), max_size=12).map("".join)


@given(st.one_of(texts, fragment_texts), st.sampled_from([(), ("(A)", "(B)"), ("red", "blue")]))
def test_answer_is_a_nonblank_substring_of_the_text(text, choices):
    for extraction in EXTRACTIONS.values():
        answer = extraction().answer(text, choices)
        assert answer is None or extraction().normalized(answer).strip()
        if extraction in (pk.extract.Option, pk.extract.YesNo):
            assert answer in (None, "yes", "no", *choices) if choices else answer is None or answer.isalpha()
        elif extraction not in (pk.extract.JsonField, pk.extract.Json):  # their values can contain escapes
            assert answer is None or answer in text


@given(st.dictionaries(st.text(max_size=3), st.one_of(st.text(max_size=9), st.integers(), st.lists(st.integers()))), texts)
def test_json_field_is_extracted_from_an_object_with_other_fields(others, answer):
    written = json.dumps({"first": [others], **others, "answer": answer})
    result = pk.extract.JsonField().find(f"Sure: ```json\n{written}\n``` {{}}")
    assert result == (answer.strip() or None)


@given(
    st.one_of(texts, fragment_texts), st.sampled_from([rule for rule in EXTRACTIONS.values() if rule is not pk.extract.Option])
)
def test_a_text_equal_to_the_gold_answer_is_correct_if_it_has_an_answer(text, extraction):
    rule = extraction()
    answer = rule.answer(text)
    if answer is not None and rule.find(text) == answer:  # not a text with thoughts, which gold answers do not have
        assert rule.is_correct(answer, [text])


def test_json_field_is_compared_with_the_same_field_of_the_gold_object():
    rule = pk.extract.JsonField(field="city")
    gold = '{"city": "Paris", "guests": 2}'
    assert rule.is_correct(rule.answer('{"city": "paris"}'), [gold])
    assert not rule.is_correct(rule.answer('{"city": "Rome", "guests": 2}'), [gold])
    assert rule.is_correct(rule.answer('{"city": "paris"}'), ["Paris"])


def test_other_rules_compare_with_the_same_part_of_the_gold_answer():
    assert pk.extract.Boxed().is_correct("5", [r"so \boxed{5}"])
    assert pk.extract.FinalNumber().is_correct("12", ["3 * 4 = 12"])
    assert pk.extract.Pattern(regex=r"\((\w)\)").is_correct("B", ["(B) is right"])
    assert pk.extract.Option().is_correct("the B side", ["the B side"])


nested = st.recursive(
    st.text("ab 1\\{}", max_size=4).map(lambda x: x.replace("\\", "").replace("{", "\\{").replace("}", "\\}")),
    lambda inner: st.lists(inner, max_size=3).map(lambda parts: "x".join(f"{{{part}}}" for part in parts)),
)


@given(nested)
def test_box_ends_at_its_closing_brace(content):
    result = pk.extract.Boxed().answer(f"{{so}} \\boxed{{{content}}} }} and {{more}}")
    assert result == (content.strip() or None)


@given(texts)
def test_normalization_is_idempotent(text):
    for normalization in (exact, words):
        assert normalization(normalization(text)) == normalization(text)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**9), max_value=10**9))
def test_numbers_are_compared_by_value(value):
    form = number(f"${value:,}")
    assert Decimal(form) == value
    assert number(f"{value}00") == form
    assert number(f" {value} ") == form


@pytest.mark.parametrize(
    ("one", "other"),
    [("The Hague", "hague"), ("Washington, D.C.", "washington dc"), ("St.  John's", "st johns"), ("ＡＢ", "ab")],
)
def test_words_ignore_case_punctuation_and_articles(one, other):
    assert words(one) == words(other)


@pytest.mark.parametrize(("one", "other"), [("été", "ete"), ("a cat", "a dog"), ("the", "a")])
def test_different_words_stay_different(one, other):
    assert words(one) != words(other)


def test_any_accepted_answer_is_correct_and_a_missing_answer_is_wrong():
    extraction = pk.extract.FirstLine()
    assert extraction.is_correct("kiev.", ("Kyiv", "Kiev"))
    assert not extraction.is_correct("Lviv", ("Kyiv", "Kiev"))
    assert not extraction.is_correct(None, ("Kyiv", ""))
    assert not pk.extract.FirstLine(normalize="exact").is_correct("kiev", ("Kyiv", "Kiev"))
    assert pk.extract.FinalNumber().is_correct("$1,200.0", ("1200",))


def test_sampling_seed_depends_on_seed_and_row():
    rows = [Example(id=name, inputs={}) for name in "ab"]
    seeds = {pk.extract.FirstLine(temperature=1.0, seed=s).generate(row, ()).seed for s in (0, 1) for row in rows}
    assert len(seeds) == 4
    assert {pk.extract.FirstLine(seed=s).generate(row, ()).seed for s in (0, 1) for row in rows} == {0}


def test_stop_strings_include_those_of_the_next_example():
    verb = pk.extract.FirstLine(stop=("\n", "###")).generate(Example(id="a", inputs={}), ("\n\n", ""))
    assert verb.stop == ("\n", "###", "\n\n")


@pytest.mark.parametrize(
    ("settings", "code", "fields"),
    [
        ({"max_tokens": 0}, "out-of-range", {"aligner": "first_line", "max_tokens": 0}),
        ({"temperature": -1.0}, "out-of-range", {"aligner": "first_line", "temperature": -1.0}),
        ({"temperature": float("nan")}, "not-finite", {"of": "first_line", "keyword": "temperature"}),
        ({"stop": ("",)}, "empty-stop", {"aligner": "first_line", "stop": ("",)}),
        ({"normalize": "squad"}, "unknown-name", {"kind": "normalize of first_line", "name": "squad"}),
        ({"seed": "x"}, "invalid-value", {"of": "first_line", "keyword": "seed", "value": "'x'"}),
    ],
)
def test_invalid_settings_are_refused(settings, code, fields):
    with refused(InputError, code, **fields):
        pk.extract.FirstLine(**settings)


def test_invalid_pattern_is_refused():
    with refused(InputError, "invalid-pattern", pattern="("):
        pk.extract.Pattern(regex="(")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I would say A or B", None),
        ("I would say A or B.", None),
        ("A or B", None),
        ("(A) or (B)", None),
        ("A, B", None),
        ("It could be A. It could be B.", None),
        ("(A) fits. (B) fits too.", None),
        ("Either A or B fits, so B.", "B"),
        ("Options (A) and (B) are tempting. It must be (C)", "C"),
        ("A and C are wrong. So B.", "B"),
        ("A/B", None),
        ("A\nB", None),
        ("I considered (A), (B) and (C) carefully, but only (D) fits.", "D"),
        ("Between A and B, I choose B.", "B"),
        ("B, not A.", "B"),
        ("**B**\n\nA is wrong because ...", "B"),
        ("B\n\n(A) is wrong since it barks. (C) is also wrong.", "B"),
        ("A", "A"),
        ("I'd go with C, although D is close.", "C"),
        ("Option A: red. Option B: blue.", None),
        ("It rests on vitamin C. So B.", "B"),
        ("(B) blue, as (A) red is excluded.", "B"),
        ("A) wrong\nB) right\nThe correct answer: B", "B"),
        ("Not A. Not C. It's B.", "B"),
        ("A seems right. Actually, B.", "B"),
        ("Possibly A or maybe B", None),
        ("A or B, most likely B.", "B"),
        ("So A or B.", None),
        ("I choose A or B.", None),
        ("B. A dog is wrong.", "B"),
        ("C because A and B are too small.", "C"),
        ("I choose B, A is wrong.", "B"),
        ("(A) red, (B) blue", None),
        ("It is either (A) or (B).", None),
        ("A and B are both correct.", None),
        ("B is correct, A is not.", "B"),
        ("I am torn: A? B?", None),
        ("C.", "C"),
        ("I think C", "C"),
        ("This rules out C, leaving D", "D"),
        ("This rules out (C), leaving D as the answer", "D"),
        ("Answer: rules out C, leaving D", "D"),
        ("Answer: C is ruled out, so D", "D"),
        ("The text eliminates (A) and (B).", None),
        ("(A) is ruled out", None),
        ("The evidence rules out options A, B, and (C), which leaves D.", "D"),
        ("The answer is C, leaving D out.", "C"),
        ("I pick C, which rules out D.", "C"),
        ("The answer is anything but C, leaving D", "D"),
    ],
)
def test_option_is_the_conclusion_or_the_only_option_named(text: str, expected: str | None) -> None:
    assert pk.extract.Option(letters="ABCD").answer(text) == expected
