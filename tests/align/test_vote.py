"""Properties of the majority vote, and its accuracy at k compared with all subsets."""

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

Answers = Sequence[str | None]
answers = st.lists(st.sampled_from([None, "a", "b", "c", "d"]), min_size=1, max_size=8)
accepted_answers = st.sets(st.sampled_from("abcd"))


def sequential_vote(texts: Answers) -> str | None:
    """Computes the majority answer by comparing answers one after another."""
    best: str | None = None
    for answer in texts:
        if answer is not None and (best is None or texts.count(answer) > texts.count(best)):
            best = answer
    return best


def winner(texts: Answers) -> str | None:
    index = majority(texts)
    return None if index is None else texts[index]


@given(answers)
def test_winner_is_most_frequent_answer_and_first_on_ties(texts: list[str | None]) -> None:
    index = majority(texts)
    assert winner(texts) == sequential_vote(texts)
    assert index is None or texts.index(texts[index]) == index


@given(answers, st.randoms())
def test_order_matters_only_for_ties(texts: list[str | None], random: Any) -> None:
    counts = [texts.count(answer) for answer in {*texts} - {None}]
    shuffled = random.sample(texts, len(texts))
    if counts and counts.count(max(counts)) == 1:
        assert winner(shuffled) == winner(texts)


@given(answers, st.integers(0, 12))
def test_texts_without_answer_do_not_win(texts: list[str | None], extra: int) -> None:
    assert winner([None] * extra + texts) == winner(texts)
    assert (majority(texts) is None) == (set(texts) == {None})


@given(answers, accepted_answers)
def test_accuracy_at_k_is_mean_over_all_subsets(texts: list[str | None], accepted: set[str]) -> None:
    for k, accuracy in enumerate(vote_accuracy(texts, accepted), start=1):
        subsets = [sequential_vote(subset) in accepted for subset in combinations(texts, k)]
        assert accuracy == sum(subsets) / len(subsets)


@given(answers, accepted_answers)
def test_accuracy_of_one_text_and_of_all_texts(texts: list[str | None], accepted: set[str]) -> None:
    shares = vote_accuracy(texts, accepted)
    assert shares[0] == sum(answer in accepted for answer in texts) / len(texts)
    assert shares[-1] == (winner(texts) in accepted)


def test_accuracies_of_all_answers_add_up_for_many_texts() -> None:
    texts = [*"aabacbddca" * 4, *[None] * 10]
    by_answer = [vote_accuracy(texts, {answer}) for answer in "abcd"]
    for k, shares in enumerate(zip(*by_answer, strict=True), start=1):
        assert sum(shares) == pytest.approx(1 - comb(10, k) / comb(50, k), abs=1e-12)


# ---- chains -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("extraction", [pk.extract.FinalNumber, pk.extract.FinalNumber()])
def test_vote_sets_samples_and_temperature_and_keeps_the_seed(extraction: Any) -> None:
    chain = make_chain([extraction, pk.vote.Majority(samples=5, temperature=0.9)])
    reader: Any = chain.reader
    verb = reader.generate(Example(id="x", inputs={}), ())
    assert (verb.n, verb.temperature, chain.name) == (5, 0.9, "majority")
    assert verb.seed == pk.extract.FinalNumber(temperature=0.9).generate(Example(id="x", inputs={}), ()).seed


def test_chain_with_vote_is_rebuilt_from_recorded_settings() -> None:
    chain = make_chain([pk.extract.Option(letters="ABCD", seed=3), pk.vote.Majority(samples=4)])
    assert chain_from_settings(chain.settings()) == chain


WORDS = {"no": "bad", "yes": "good"}


@pytest.mark.parametrize(
    ("align", "code", "fields"),
    [
        (lambda: [pk.Verbalizer(WORDS), pk.vote.Majority()], "vote-without-extraction", {"aligner": "Verbalizer"}),
        (lambda: [pk.vote.Majority()], "invalid-first-aligner", {"aligners": ("Majority",)}),
        (
            lambda: [pk.extract.Boxed(), pk.vote.Majority(), pk.vote.Majority()],
            "invalid-second-aligner",
            {"aligners": ("Boxed", "Majority")},
        ),
        (
            lambda: [pk.extract.Boxed(temperature=0.5), pk.vote.Majority()],
            "conflicting-options",
            {"aligner": "boxed", "options": ("samples", "temperature")},
        ),
        (lambda: [pk.extract.Boxed, pk.vote.Majority], "class-not-object", {"aligner": "Majority"}),
        (lambda: pk.vote.Majority(temperature=0.0), "identical-samples", {"samples": 8, "temperature": 0.0}),
        (lambda: pk.vote.Majority(samples=0), "out-of-range", {"samples": 0}),
        (lambda: pk.vote.Majority(samples="8"), "invalid-value", {"of": "majority", "keyword": "samples", "value": "'8'"}),
        (lambda: pk.extract.Boxed(samples=2), "identical-samples", {"samples": 2, "temperature": 0.0}),
    ],
)
def test_invalid_vote_is_refused(align: Any, code: str, fields: dict[str, object]) -> None:
    with refused(InputError, code, **fields):
        make_chain(align())
