from math import exp, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.align.verbalizer import Verbalizer
from promptkit.core.errors import InputError
from promptkit.core.requests import ScoreOutput
from tests.support.errors import refused

logprobs = st.floats(-30, 0)
token_rows = st.lists(logprobs, min_size=1, max_size=5)
WORDS = {"no": ["bad", "awful", "poor"], "yes": "good", "maybe": ["so", "so so"]}


def output(rows):
    return ScoreOutput(logprobs=tuple(tuple(row) for row in rows))


@given(rows=st.lists(token_rows, min_size=2, max_size=6))
def test_word_score_is_sum_or_mean_of_token_log_probabilities(rows):
    words = {f"label {n}": f"word {n}" for n in range(len(rows))}
    assert Verbalizer(words).align(output(rows)) == pytest.approx([sum(row) for row in rows])
    assert Verbalizer(words, score="mean").align(output(rows)) == pytest.approx([sum(row) / len(row) for row in rows])


@given(rows=st.lists(token_rows, min_size=6, max_size=6))
def test_scores_of_several_words_are_pooled(rows):
    a, b, c, d, e, f = (sum(row) for row in rows)
    pooled = {pool: Verbalizer(WORDS, pool=pool).align(output(rows)) for pool in ("logsumexp", "mean", "max")}
    assert pooled["logsumexp"] == pytest.approx((log(exp(a) + exp(b) + exp(c)), d, log(exp(e) + exp(f))))
    assert pooled["mean"] == pytest.approx(((a + b + c) / 3, d, (e + f) / 2))
    assert pooled["max"] == pytest.approx((max(a, b, c), d, max(e, f)))


def test_word_is_scored_by_all_tokens_not_by_the_first():
    aligned = Verbalizer({"a": "one", "b": "two"}).align(output([[log(0.9), log(0.1)], [log(0.5), log(0.9)]]))
    assert [exp(score) for score in aligned] == pytest.approx([0.09, 0.45])


def test_pooled_scores_are_finite_when_probabilities_underflow():
    assert Verbalizer({"a": ["x", "y"], "b": "z"}).align(output([[-2000.0], [-2000.0], [-2000.0]])) == pytest.approx(
        (-2000 + log(2), -2000.0)
    )


@given(
    rows=st.lists(token_rows, min_size=6, max_size=6),
    order=st.permutations(sorted(WORDS)),
    score=st.sampled_from(["sum", "mean"]),
    pool=st.sampled_from(["logsumexp", "mean", "max"]),
)
def test_permuting_the_labels_permutes_the_scores(rows, order, score, pool):
    declared, permuted = (Verbalizer({n: WORDS[n] for n in names}, score=score, pool=pool) for names in (WORDS, order))
    rows_by_word = dict(zip(declared.words(), rows, strict=True))
    scores = dict(zip(declared.labels, declared.align(output(rows)), strict=True))
    assert permuted.align(output(rows_by_word[word] for word in permuted.words())) == tuple(scores[label] for label in order)


def test_words_are_in_declared_order_and_first_word_is_shown():
    verbalizer = Verbalizer(WORDS)
    assert verbalizer.labels == ("no", "yes", "maybe")
    assert verbalizer.words() == ("bad", "awful", "poor", "good", "so", "so so")
    assert verbalizer.label_words() == {"no": "bad", "yes": "good", "maybe": "so"}


@pytest.mark.parametrize("words", [{"a": "x", "b": "x"}, {"a": ["x", "y"], "b": ["z", "x"]}])
def test_word_shared_by_two_labels_is_refused(words):
    with refused(InputError, "shared-word", word="x", labels=("a", "b")):
        Verbalizer(words)


@pytest.mark.parametrize("words", [{}, {"a": "x"}])
def test_fewer_than_two_labels_are_refused(words):
    with refused(InputError, "too-few-labels", labels=(*words,)):
        Verbalizer(words)


@pytest.mark.parametrize("words", ["", [], ["x", ""]])
def test_label_without_word_is_refused(words):
    with refused(InputError, "missing-word", label="b"):
        Verbalizer({"a": "y", "b": words})


@pytest.mark.parametrize("keywords", [{"score": "median"}, {"pool": "sum"}])
def test_unknown_score_or_pool_is_refused(keywords):
    ((keyword, value),) = keywords.items()
    with refused(InputError, "unknown-name", kind=f"{keyword} of verbalizer", name=value):
        Verbalizer({"a": "x", "b": "y"}, **keywords)


def test_settings_differ_whenever_scores_differ():
    verbalizers = [
        Verbalizer(WORDS),
        Verbalizer(WORDS, score="mean"),
        Verbalizer(WORDS, pool="max"),
        Verbalizer({**WORDS, "yes": "fine"}),
    ]
    settings = [verbalizer.settings() for verbalizer in verbalizers]
    assert all(settings.count(one) == 1 for one in settings)
    assert Verbalizer({"a": "x", "b": "y"}).settings() == Verbalizer({"a": ["x"], "b": ("y",)}).settings()
