"""Thoughts of reasoning models, which are no part of an answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import promptkit as pk
from promptkit.align.extract.rules import EXTRACTIONS
from promptkit.align.vote import majority
from promptkit.core.thinking import FINAL_RESPONSE, KNOWN, ThoughtMarkers, answer_start, open_thought, without_thoughts

HARMONY_REPLY = (
    "<|channel|>analysis<|message|>So the answer is 6. No.<|end|><|start|>assistant<|channel|>final<|message|>5<|return|>"
)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("5", "5"),
        ("", ""),
        ("<think>6</think>5", "5"),
        ("<think>6</think>7<think>8</think>5", "5"),
        ("6</think>5", "5"),
        ("<think>6", None),
        ("5 <think>6", None),
        ("[THINK]6[/THINK]5", "5"),
        ("[THINK]6", None),
        ("<seed:think>6</seed:think>5", "5"),
        ("◁think▷6◁/think▷5", "5"),
        ("<|START_THINKING|>6<|END_THINKING|><|START_RESPONSE|>5<|END_RESPONSE|>", "5"),
        ("<think>6</think><response>5</response>", "5"),
        ("<|channel>thought\n6<channel|>5", "5"),
        ("<|channel>thought\n6", None),
        (HARMONY_REPLY, "5"),
        ("6<|close|>think<|sep|><|open|>response<|sep|>5<|close|>response<|sep|><|close|>message<|sep|>", "5"),
        ("Here are my reasoning steps:\n6\n[BEGIN FINAL RESPONSE]5[END FINAL RESPONSE]", "5"),
        ("Here are my reasoning steps: 5", "Here are my reasoning steps: 5"),
        ("<|channel|>analysis<|message|>6", None),
        ("<|channel|>commentary<|message|>6<|end|>", None),
        ("<|channel|>final <|constrain|>json<|message|>5", "5"),
        ("analysisThe user asks. So 6.assistantfinal5", "5"),
        ("analysisThe user asks. So 6.", None),
        ("analysis of the text: 5", "analysis of the text: 5"),
        ("if x < 3: think", "if x < 3: think"),
    ],
)
def test_the_answer_follows_the_thoughts(text: str, answer: str | None) -> None:
    assert without_thoughts(text) == answer


@given(st.sampled_from(KNOWN), st.text("ab\n <>[]", max_size=9), st.text("ab\n ", max_size=9))
def test_every_kind_of_marker_is_known(markers: ThoughtMarkers, thought: str, answer: str) -> None:
    text = f"{markers.opening}{thought}{markers.closing}{answer}"
    assert without_thoughts(text) == answer
    assert answer_start(f"{markers.opening}{thought}") is None
    assert open_thought(f"assistant\n{markers.opening}\n") == markers.opening
    assert open_thought(text) == ""


def test_declared_markers_are_read() -> None:
    declared = [ThoughtMarkers("<scratch>", "</scratch>")]
    assert without_thoughts("<scratch>6</scratch>5", declared) == "5"
    assert without_thoughts("<scratch>6", declared) is None
    assert without_thoughts("Here are my reasoning steps: 6", [FINAL_RESPONSE]) is None
    assert open_thought("<scratch>\n", declared) == "<scratch>"


@pytest.mark.parametrize(
    "thought",
    [
        "<think>{}</think>\n\n",
        "[THINK]{}[/THINK]",
        "{}</think>",
        HARMONY_REPLY.partition("So")[0] + "{}" + HARMONY_REPLY.partition("No.")[2].partition("5")[0],
    ],
)
@pytest.mark.parametrize(
    ("name", "wrong", "right", "expected"),
    [
        ("first_line", "Rome", "\n\nParis", "Paris"),
        ("final_answer", "So the answer is Rome.", "The answer is Paris.", "Paris"),
        ("final_number", "so the answer is 6. No: 2+3=5.", "5", "5"),
        ("option", "The answer is (A).", "(B)", "B"),
        ("yes_no", "The answer is no.", "Yes", "yes"),
        ("boxed", "\\boxed{6}", "\\boxed{5}", "5"),
        ("json_field", '{"answer": "6"}', '{"answer": "5"}', "5"),
        ("pattern", "The answer is 6", "The answer is 5", "5"),
    ],
)
def test_every_extraction_reads_what_follows_a_thought(name: str, wrong: str, right: str, expected: str, thought: str) -> None:
    extraction = EXTRACTIONS[name]()
    assert extraction.answer(thought.format(wrong) + right) == expected
    assert extraction.answer(f"<think>{wrong}") is None


def test_a_vote_counts_answers_after_thoughts() -> None:
    texts = ["<think>6</think>5", "<think>7</think>5", "<think>6", "<think>6"]
    answers = [pk.extract.FinalNumber().answer(text) for text in texts]
    assert answers == ["5", "5", None, None]
    assert majority(answers) == 0


def test_an_answer_after_an_empty_thought() -> None:
    assert pk.extract.FirstLine().answer("<think>\n\n</think>\n\nParis") == "Paris"
