"""Tests of instructions derived from labels and answer formats."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

import promptkit as pk
from promptkit.core.errors import InputError
from promptkit.inputs.text.template import Template
from promptkit.manipulate import instructions
from tests.support.errors import refused

words = st.lists(st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8), min_size=2, max_size=12, unique=True)


@given(words)
def test_both_statements_list_every_word_in_order(labels: list[str]) -> None:
    for statement in (instructions.label_space(labels), instructions.answer_format(labels)):
        listed = statement.removesuffix(".").replace(" and ", ", ").replace(": ", ", ").replace("labels are ", "labels are, ")
        assert listed.split(", ")[-len(labels) :] == labels


def test_docstring_examples() -> None:
    assert doctest.testmod(instructions).failed == 0


def test_statements_are_joined_with_a_custom_instruction() -> None:
    format_ = pk.instructions.answer_format(["Negative", "Positive"])
    assert instructions.joined(" Judge it. ", "", format_) == "Judge it. Answer with one of: Negative, Positive."
    assert instructions.joined() == ""
    prompt = pk.Prompt("sentiment/review", instruction=format_)
    assert prompt.settings()["instruction"] == format_  # the recorded text is the shown text


@pytest.mark.parametrize("words", [[], ["one"], ["one", ""]])
def test_invalid_label_words_are_refused(words: list[str]) -> None:
    with refused(InputError, "invalid-label-words", words=tuple(words)):
        instructions.answer_format(words)


def test_a_text_instead_of_label_words_is_refused() -> None:
    with refused(InputError, "invalid-value", keyword="words", value="'ab'"):
        instructions.answer_format("ab")


def test_statements_depend_on_the_output_reader() -> None:
    several = pk.Verbalizer({"n": ["bad", "awful"], "p": "good"})
    assert instructions.statements(several) == ("The labels are bad and good.", "Answer with one of: bad, good.")
    assert instructions.statements(pk.extract.FinalNumber()) == ("Answer with a number.",)
    assert instructions.statements(pk.extract.FirstLine()) == instructions.statements(pk.Choices()) == ()


def test_an_instruction_is_not_rendered_as_a_template(bind_context, make_rows) -> None:
    prompt = pk.Prompt(Template.load("sentiment/review"), instruction="Say {{ text }}.")
    (rendered,) = prompt.bind(bind_context(words=("bad", "good")))(make_rows(1))
    assert "Say {{ text }}." in "".join(piece.text for piece in rendered.pieces)
