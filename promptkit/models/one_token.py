"""Scoring by questions of one token each, for engines that generate: at a prompt, how likely are these next tokens?

A label of several tokens is a path in the trie of labels, and each node of the trie is one question; the prompt that all of
them begin with is read once where the engine has a prefix cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from promptkit.core.errors import Unsupported
from promptkit.core.inputs import TextInput
from promptkit.core.requests import Output, Read, ReadOutput, Request, Score, ScoreOutput

Answer = Mapping[int, float]
"""Token -> its log-probability over the whole vocabulary, natural log."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked at one prompt: tokens by name, or the likeliest."""

    input: TextInput
    token_ids: tuple[int, ...] = ()
    top_m: int = 0


def questions_of(requests: Sequence[Request], *, most_ids: int) -> list[Question]:
    """Every question that the requests come to, each once; at most `most_ids` tokens are named by one."""
    return list(dict.fromkeys(one for request in requests for one in _questions(request, most_ids)))


def answer_of(request: Request, answers: Mapping[Question, Answer], *, most_ids: int) -> Output:
    """The output of a request from the answers to its questions."""
    verb, prompt = request.verb, request.input
    held: dict[tuple[TextInput, int], float] = {}
    top: tuple[tuple[int, float], ...] = ()
    for question in _questions(request, most_ids):
        answer = answers[question]
        held |= {(question.input, token): answer[token] for token in question.token_ids}
        if question.top_m:
            top = tuple(sorted(answer.items(), key=lambda pair: (-pair[1], pair[0]))[: question.top_m])
    if isinstance(verb, Read):
        return ReadOutput(logprobs=tuple(held[prompt, token] for token in verb.token_ids), top=top)
    assert isinstance(verb, Score)
    rows = (tuple(held[extended(prompt, path[:depth]), token] for depth, token in enumerate(path)) for path in verb.continuations)
    return ScoreOutput(logprobs=tuple(rows))


def refuse_hidden_states(requests: Sequence[Request], model: str) -> None:
    """Raise Unsupported if a request reads hidden states, which no engine of this kind gives."""
    if any(isinstance(request.verb, Read) and request.verb.hidden_layer is not None for request in requests):
        raise Unsupported(
            f"The model {model} does not return hidden states",
            code="no-hidden-states",
            hint="Use an hf model: the name alone",
            model=model,
        )


def refuse_layers(requests: Sequence[Request], model: str) -> None:
    """Raise Unsupported if a request holds a prefix or edits, which engines take whose layers are in reach alone."""
    if any(request.input.prefixes or request.input.edits for request in requests):
        raise Unsupported(
            f"The model {model} does not support prefixes or edits of hidden states",
            code="no-prefixes-or-edits",
            hint="Use an hf model: the name alone",
            model=model,
        )


def extended(prompt: TextInput, path: Sequence[int]) -> TextInput:
    """The prompt with more tokens behind it."""
    return replace(prompt, ids=(*prompt.ids, *path), spans=())


def _questions(request: Request, most_ids: int) -> Iterator[Question]:
    verb, prompt = request.verb, request.input
    if isinstance(verb, Read):
        yield from _named(prompt, verb.token_ids, most_ids)
        if verb.top_m:
            yield Question(prompt, top_m=verb.top_m)
    elif isinstance(verb, Score):
        wanted: dict[tuple[int, ...], dict[int, None]] = {}
        for path in verb.continuations:
            for depth, token in enumerate(path):
                wanted.setdefault(path[:depth], {})[token] = None
        for path, tokens in wanted.items():
            yield from _named(extended(prompt, path), tuple(tokens), most_ids)


def _named(prompt: TextInput, token_ids: Sequence[int], most_ids: int) -> Iterator[Question]:
    for begin in range(0, len(token_ids), most_ids):
        yield Question(prompt, tuple(token_ids[begin : begin + most_ids]))
