"""The label that a reply decides for: scripts without spaces, negation, and conclusions among several labels."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.core.named_labels import named_label

SENTIMENT = ("positive", "negative")


@pytest.mark.parametrize(
    ("reply", "labels", "expected"),
    [
        ("positive", SENTIMENT, "positive"),
        ("Positive.", SENTIMENT, "positive"),
        ("The sentiment is negative.", SENTIMENT, "negative"),
        ("It is not positive.", SENTIMENT, None),
        ("It isn't positive.", SENTIMENT, None),
        ("It isn’t positive", SENTIMENT, None),
        ("Between positive and negative, I would choose **negative**", SENTIMENT, "negative"),
        ("positive, not negative", SENTIMENT, "positive"),
        ("It is not positive but negative.", SENTIMENT, "negative"),
        ("not positive, negative", SENTIMENT, "negative"),
        ("neither positive nor negative", SENTIMENT, None),
        ("It is not positive or negative.", SENTIMENT, None),
        ("I would say positive or negative.", SENTIMENT, None),
        ("Positive or negative? Negative.", SENTIMENT, "negative"),
        ("Positive. The reviewer mentions negative aspects of the plot.", SENTIMENT, "positive"),
        ("positive\n\nExplanation: although it has negative parts", SENTIMENT, "positive"),
        ("It has positive and negative aspects. Overall, it is positive.", SENTIMENT, "positive"),
        ("The review mentions positive food and negative service.", SENTIMENT, None),
        ("**Positive aspects**: food. **Negative aspects**: service. Overall negative.", SENTIMENT, "negative"),
        ("more negative than positive", SENTIMENT, "negative"),
        ("Positive rather than negative", SENTIMENT, "positive"),
        ("The answer is negative, because nothing is positive.", SENTIMENT, "negative"),
        ("_positive_", SENTIMENT, "positive"),
        ("The sentiment is __negative__.", SENTIMENT, "negative"),
        ("***positive***", SENTIMENT, "positive"),
        ("Between positive and negative, it reads as _negative_.", SENTIMENT, "negative"),
        ("Not _positive_ but _negative_.", SENTIMENT, "negative"),
        ("a_positive_case", SENTIMENT, None),
        ("positive_negative", SENTIMENT, None),
        ("_not_entailment_", ("entailment", "not_entailment"), "not_entailment"),
        ("nonpositive", SENTIMENT, None),
        ("It is not only positive, it is great", SENTIMENT, "positive"),
        ("I do not think that this is a positive review.", SENTIMENT, None),
        ("The tone is positive and the sentiment is not negative", SENTIMENT, "positive"),
        ("This is not positive and the sentiment is negative.", SENTIMENT, "negative"),
        ('{"label": "negative"}', SENTIMENT, "negative"),
        ("<think>maybe positive</think>negative", SENTIMENT, "negative"),
        ("<think>positive", SENTIMENT, None),
        ("", SENTIMENT, None),
        ("maybe", SENTIMENT, None),
        ("Positive is not the right label.", SENTIMENT, None),
        ("It is not negative; it is positive.", SENTIMENT, "positive"),
        ("肯定的です", ("否定的", "肯定的"), "肯定的"),
        ("不是正面", ("负面", "正面"), None),
        ("这条评论是正面的", ("负面", "正面"), "正面"),
        ("这条评论不是负面的，而是正面的。", ("负面", "正面"), "正面"),
        ("不是负面而是正面", ("负面", "正面"), "正面"),
        ("非常正面", ("负面", "正面"), "正面"),
        ("并非正面", ("负面", "正面"), None),
        ("正面还是负面？我选择负面。", ("负面", "正面"), "负面"),
        ("正面和负面都有", ("负面", "正面"), None),
        ("这个网站不安全", ("安全", "危险"), None),
        ("不安全", ("安全", "不安全"), "不安全"),
        ("このレビューはポジティブです。", ("ネガティブ", "ポジティブ"), "ポジティブ"),
        ("ポジティブではありません。", ("ネガティブ", "ポジティブ"), None),
        ("この意見は肯定的ではない。", ("否定的", "肯定的"), None),
        ("ポジティブではなく、ネガティブです。", ("ネガティブ", "ポジティブ"), "ネガティブ"),
        ("รีวิวนี้เป็นเชิงบวก", ("เชิงลบ", "เชิงบวก"), "เชิงบวก"),
        ("รีวิวนี้ไม่ใช่เชิงบวก", ("เชิงลบ", "เชิงบวก"), None),
        ("ไม่ใช่เชิงลบ แต่เป็นเชิงบวก", ("เชิงลบ", "เชิงบวก"), "เชิงบวก"),
        ("긍정입니다.", ("부정", "긍정"), "긍정"),
        ("긍정이 아닙니다.", ("부정", "긍정"), None),
        ("nicht positiv", ("negativ", "positiv"), None),
        ("Das ist positiv.", ("negativ", "positiv"), "positiv"),
        ("n'est pas positif", ("négatif", "positif"), None),
        ("not entailment", ("entailment", "not_entailment"), "not_entailment"),
        ("entailment", ("entailment", "not_entailment"), "entailment"),
        ("No, it is not.", ("yes", "no"), "no"),
        ("Yes, since there is no doubt.", ("yes", "no"), "yes"),
        ("Yes.", ("yes", "no"), "yes"),
        ("Label: world news", ("world", "world news"), "world news"),
        ("The text is about Sports, not Business.", ("World", "Sports", "Business"), "Sports"),
        ("World, Sports or Business?", ("World", "Sports", "Business"), None),
        ("C++", ("C", "C++"), "C++"),
        ("ＰＯＳＩＴＩＶＥ", SENTIMENT, "positive"),
        ("Polish", ("polish", "Polish"), "Polish"),
        ("negative. Not positive.", SENTIMENT, "negative"),
        ("I can't say it's positive.", SENTIMENT, None),
        ("The review is positive\nThe review is negative\n", SENTIMENT, None),
        ("Sentiment: Positive\nReason: there is nothing negative in it.", SENTIMENT, "positive"),
        ("positive/negative", SENTIMENT, None),
        ("The review is negative overall, with some positive remarks.", SENTIMENT, None),
        ("Not good.", ("good", "not good", "bad"), "not good"),
        ("goodness", ("good", "not good", "bad"), None),
    ],
)
def test_the_label_of_a_reply(reply: str, labels: Sequence[str], expected: str | None) -> None:
    index = named_label(reply, labels)
    assert (None if index is None else labels[index]) == expected


LABELS = ("positive", "negative", "mixed", "正面", "负面", "ポジティブ", "เชิงบวก", "긍정", "C++", "not good", "good")
frames = st.sampled_from(
    ["{}", "**{}**", "{}.", " {}\n", '"{}"', "Label: {}", "The answer is {}.", "- {}", "<think>x</think>\n\n{}"]
)


@given(st.sampled_from(LABELS), frames)
def test_a_single_label_is_found_in_any_frame(label: str, frame: str) -> None:
    assert named_label(frame.format(label), LABELS) == LABELS.index(label)


@given(
    st.sampled_from(SENTIMENT),
    st.sampled_from(["It is not {}.", "I would not call it {}.", "It isn't {}", "never {}", "non {}"]),
)
def test_a_negated_label_is_no_answer(label: str, frame: str) -> None:
    assert named_label(frame.format(label), SENTIMENT) is None


@given(
    st.permutations(SENTIMENT),
    st.sampled_from([" or ", " and ", "/", ", ", " vs. "]),
    st.sampled_from(["{}", "It is {}.", "I say {}"]),
)
def test_labels_named_together_are_no_answer(labels: Sequence[str], joining: str, frame: str) -> None:
    assert named_label(frame.format(joining.join(labels)), SENTIMENT) is None


@given(st.permutations(SENTIMENT), st.sampled_from(["Between {} and {}, I choose {last}.", "{} or {}? Overall, it is {last}"]))
def test_the_conclusion_among_labels_is_the_answer(labels: Sequence[str], frame: str) -> None:
    for last in labels:
        assert named_label(frame.format(*labels, last=last), SENTIMENT) == SENTIMENT.index(last)


@given(st.text(), st.lists(st.text(min_size=1), min_size=1, max_size=4))
def test_any_reply_names_a_label_or_none(reply: str, labels: list[str]) -> None:
    index = named_label(reply, labels)
    assert index is None or 0 <= index < len(labels)
