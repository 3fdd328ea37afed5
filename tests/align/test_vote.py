"""The laws of a vote, and its accuracy at k against every subset there is."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import comb
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import promptkit as pk
from promptkit.align.chain import chain_from_settings, make_chain
from promptkit.align.vote import majority, vote_accuracy
from promptkit.core.errors import InputError
from promptkit.core.examples import Example
from tests.support.errors import refused

Forms = Sequence[str | None]
forms = st.lists(st.sampled_from([None, "a", "b", "c", "d"]), min_size=1, max_size=8)
right = st.sets(st.sampled_from("abcd"))


def voted(given_: Forms) -> str | None:
    """The winner, by taking the lead from whoever has had it until now."""
    best: str | None = None
    for form in given_:
        if form is not None and (best is None or given_.count(form) > given_.count(best)):
            best = form
    return best


def winner(given_: Forms) -> str | None:
    place = majority(given_)
    return None if place is None else given_[place]


@given(forms)
def test_the_winner_is_given_most_often_and_where_it_was_given_first(given_: list[str | None]) -> None:
    place = majority(given_)
    assert winner(given_) == voted(given_)
    assert place is None or given_.index(given_[place]) == place


@given(forms, st.randoms())
def test_the_order_matters_in_a_tie_alone(given_: list[str | None], random: Any) -> None:
    counts = [given_.count(form) for form in {*given_} - {None}]
    shuffled = random.sample(given_, len(given_))
    if counts and counts.count(max(counts)) == 1:
        assert winner(shuffled) == winner(given_)


@given(forms, st.integers(0, 12))
def test_texts_without_an_answer_never_win(given_: list[str | None], more: int) -> None:
    assert winner([None] * more + given_) == winner(given_)
    assert (majority(given_) is None) == (set(given_) == {None})


@given(forms, right)
def test_the_accuracy_at_k_is_the_mean_over_every_subset(given_: list[str | None], right_: set[str]) -> None:
    for k, found in enumerate(vote_accuracy(given_, right_), start=1):
        subsets = [voted(subset) in right_ for subset in combinations(given_, k)]
        assert found == sum(subsets) / len(subsets)


@given(forms, right)
def test_one_text_is_right_as_often_as_texts_are_and_all_texts_are_the_vote(given_: list[str | None], right_: set[str]) -> None:
    shares = vote_accuracy(given_, right_)
    assert shares[0] == sum(form in right_ for form in given_) / len(given_)
    assert shares[-1] == (winner(given_) in right_)


def test_of_many_texts_some_answer_wins_unless_there_is_none() -> None:
    given_ = [*"aabacbddca" * 4, *[None] * 10]
    each = [vote_accuracy(given_, form) for form in "abcd"]
    for k, shares in enumerate(zip(*each, strict=True), start=1):
        assert sum(shares) == pytest.approx(1 - comb(10, k) / comb(50, k), abs=1e-12)


# ---- chains -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("extraction", [pk.extract.final_number, pk.extract.final_number()])
def test_a_vote_draws_its_texts_at_its_temperature_by_the_extractions_seed(extraction: Any) -> None:
    chain = make_chain([extraction, pk.vote.Majority(samples=5, temperature=0.9)])
    reading: Any = chain.reader
    verb = reading.verb(Example(id="x", inputs={}), ())
    assert (verb.n, verb.temperature, chain.name) == (5, 0.9, "majority")
    assert verb.seed == pk.extract.final_number(temperature=0.9).verb(Example(id="x", inputs={}), ()).seed


def test_a_chain_with_a_vote_is_made_again_from_what_a_run_records() -> None:
    chain = make_chain([pk.extract.option(letters="ABCD", seed=3), pk.vote.Majority(samples=4)])
    assert chain_from_settings(chain.settings()) == chain


WORDS = {"no": "bad", "yes": "good"}


@pytest.mark.parametrize(
    ("align", "code", "fields"),
    [
        (lambda: [pk.Verbalizer(WORDS), pk.vote.Majority()], "vote-without-extraction", {"aligner": "Verbalizer"}),
        (lambda: [pk.vote.Majority()], "invalid-first-aligner", {"aligners": ("Majority",)}),
        (
            lambda: [pk.extract.boxed(), pk.vote.Majority(), pk.vote.Majority()],
            "invalid-second-aligner",
            {"aligners": ("boxed", "Majority")},
        ),
        (
            lambda: [pk.extract.boxed(temperature=0.5), pk.vote.Majority()],
            "conflicting-options",
            {"aligner": "boxed", "options": ("samples", "temperature")},
        ),
        (lambda: [pk.extract.boxed, pk.vote.Majority], "class-not-object", {"aligner": "Majority"}),
        (lambda: pk.vote.Majority(temperature=0.0), "identical-samples", {"samples": 8, "temperature": 0.0}),
        (lambda: pk.vote.Majority(samples=0), "out-of-range", {"samples": 0}),
        (
            lambda: pk.vote.Majority(samples="8"),  # type: ignore[arg-type]
            "invalid-value",
            {"of": "majority", "keyword": "samples", "value": "'8'"},
        ),
        (lambda: pk.extract.boxed(samples=2), "identical-samples", {"samples": 2, "temperature": 0.0}),
    ],
)
def test_what_is_no_vote_is_refused(align: Any, code: str, fields: dict[str, object]) -> None:
    with refused(InputError, code, **fields):
        make_chain(align())
