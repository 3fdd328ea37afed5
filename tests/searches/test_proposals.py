"""Tests of proposed instructions: the prompts and the parsing of generated texts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest

from promptkit.core.errors import Unsupported
from promptkit.core.model import TextCard
from promptkit.core.requests import Generate, GenerateOutput, Generation, Output, Request
from promptkit.models.client import CachedModel
from promptkit.models.fake import ByteTokenizer
from promptkit.models.registry import load
from promptkit.searches.proposals import PAIRS, SAMPLES, SHOWN, Proposer, extract_instruction
from tests.support.errors import refused

PAIR = {f"id{number}": f"Input: in {number}\nOutput: out {number}" for number in range(30)}


class Writer:
    """Answers every request with numbered texts and records the requests."""

    def __init__(self, card: TextCard) -> None:
        self.card = card
        self.queries: list[tuple[str, Generate]] = []

    def __call__(self, requests: Sequence[Request]) -> list[Output]:
        outputs: list[Output] = []
        for request in requests:
            assert isinstance(request.verb, Generate)
            self.queries.append((ByteTokenizer().decode(request.input.ids), request.verb))
            texts = [
                Generation(ids=(1,), text=f" write {len(self.queries)}-{n}.\nMore", ended="stop") for n in range(request.verb.n)
            ]
            outputs.append(GenerateOutput(generations=tuple(texts)))
        return outputs


@pytest.fixture
def writer(make_card: Any) -> Writer:
    return Writer(make_card())


def proposer(ask: Any, **options: Any) -> Proposer:
    return Proposer(ask=ask, **{"pairs": PAIR, "chat": False, "seed": 0, **options})


def shown(prompt: str) -> set[str]:
    return set(re.findall(r"Input: in \d+\nOutput: out \d+", prompt))


@pytest.mark.parametrize(
    ("count", "shares"), [(1, [1]), (SAMPLES, [SAMPLES]), (SAMPLES + 1, [3, 2]), (3 * SAMPLES, [SAMPLES] * 3)]
)
def test_ape_draws_several_sets_of_pairs_and_several_samples_for_each(writer: Writer, count: int, shares: list[int]) -> None:
    texts = proposer(writer).from_pairs(count)
    assert [verb.n for _, verb in writer.queries] == shares
    assert texts == [f"Write {number}-{n}." for number, share in enumerate(shares, start=1) for n in range(share)]
    sets = [frozenset(shown(prompt)) for prompt, _ in writer.queries]
    assert len(set(sets)) == len(sets)
    assert all(len(item) == PAIRS and item <= set(PAIR.values()) for item in sets)
    assert len({verb.seed for _, verb in writer.queries}) == len(shares)
    assert all(verb.temperature > 0 for _, verb in writer.queries)


def test_prompts_depend_on_the_seed_and_not_on_the_order_of_the_pool(make_card: Any) -> None:
    def prompts(**options: Any) -> list[Any]:
        ask = Writer(make_card())
        proposer(ask, **options).from_pairs(8)
        return ask.queries

    assert prompts(pairs=dict(reversed(PAIR.items()))) == prompts()
    assert prompts(seed=1) != prompts()


def test_opro_shows_the_best_instructions_with_the_best_last(writer: Writer) -> None:
    accuracies = {f"try {number}": (number * 7 % 31) / 31 for number in range(31)}
    texts = proposer(writer).from_history(accuracies, 5, 0)
    ((prompt, verb),) = writer.queries
    history = [(text, int(score)) for text, score in re.findall(r"Instruction: (try \d+)\nScore: (\d+)\n", prompt)]
    assert history == [
        (text, round(100 * share)) for text, share in sorted(accuracies.items(), key=lambda item: item[1])[-SHOWN:]
    ]
    assert len(shown(prompt)) == PAIRS
    assert (verb.n, len(texts)) == (5, 5)
    proposer(writer).from_history(accuracies, 5, 1)
    assert shown(writer.queries[1][0]) != shown(prompt)


def test_a_chat_model_is_prompted_in_a_user_turn(writer: Writer) -> None:
    proposer(writer, chat=True).from_pairs(1)
    ((prompt, _),) = writer.queries
    assert prompt.startswith("<bos><turn>user\nI gave a friend")
    assert prompt.endswith("<end>\n<turn>assistant\n")


def test_a_model_without_a_chat_template_is_refused(make_card: Any) -> None:
    class Bare(ByteTokenizer):
        def chat(self, turns: Any, options: Any) -> Any:
            return None

    with refused(Unsupported, "no-chat-template", turns=("user",)):
        proposer(Writer(make_card(Bare())), chat=True).from_pairs(1)


def test_proposals_are_deterministic(make_card: Any) -> None:
    assert proposer(CachedModel(load("fake"))).from_pairs(6) == proposer(CachedModel(load("fake"))).from_pairs(6)


@pytest.mark.parametrize(
    ("text", "ended", "instruction"),
    [
        (" write the opposite of the word.\n\nInput: x", "stop", "Write the opposite of the word."),
        (" write it. Then go home. And", "length", "Write it."),
        ("\n\n count to 1.5 and stop", "end", "Count to 1.5 and stop"),
        (' "say yes!"', "end", "Say yes!"),
        ("[Name the animal.]", "end", "Name the animal."),
        (" write the opposite of the", "length", None),
        (" write the opposite\nof the", "length", "Write the opposite"),
        ("  \n ", "end", None),
        (" 1. 2. 3.", "end", None),
        ("", "end", None),
    ],
)
def test_the_first_sentence_of_a_text_is_extracted(text: str, ended: Any, instruction: str | None) -> None:
    assert extract_instruction(Generation(ids=(1,), text=text, ended=ended)) == instruction
