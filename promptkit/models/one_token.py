"""Scoring by queries for a single next token, for engines that only generate.

A label of several tokens is a path in the trie of labels, and each node of the trie is one query. An engine with a prefix
cache reads the prompt that the queries share once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from promptkit.core.inputs import TextInput
from promptkit.core.requests import Output, Read, ReadOutput, Request, Score, ScoreOutput

TokenLogprobs = Mapping[int, float]
"""Token id -> natural-log probability over the whole vocabulary."""


@dataclass(frozen=True, slots=True)
class TokenQuery:
    """Requests log-probabilities of the token after a prompt, either for named tokens or for the most likely ones."""

    input: TextInput
    token_ids: tuple[int, ...] = ()
    """The named tokens; empty for the most likely ones."""
    top_m: int = 0
    """How many of the most likely tokens; 0 for named tokens."""


def queries_of(requests: Sequence[Request], *, max_ids: int) -> list[TokenQuery]:
    """Returns the distinct queries that the requests need; each names at most `max_ids` tokens."""
    return list(dict.fromkeys(query for request in requests for query in _queries(request, max_ids)))


def output_of(request: Request, results: Mapping[TokenQuery, TokenLogprobs], *, max_ids: int) -> Output:
    """Returns the output of a request from the results of its queries."""
    verb, prompt = request.verb, request.input
    logprobs: dict[tuple[TextInput, int], float] = {}
    top: tuple[tuple[int, float], ...] = ()
    for query in _queries(request, max_ids):
        result = results[query]
        logprobs |= {(query.input, token): result[token] for token in query.token_ids}
        if query.top_m:
            top = tuple(sorted(result.items(), key=lambda pair: (-pair[1], pair[0]))[: query.top_m])
    if isinstance(verb, Read):
        return ReadOutput(logprobs=tuple(logprobs[prompt, token] for token in verb.token_ids), top=top)
    assert isinstance(verb, Score)
    return ScoreOutput(
        logprobs=tuple(
            tuple(logprobs[extended(prompt, path[:depth]), token] for depth, token in enumerate(path))
            for path in verb.continuations
        )
    )


def extended(prompt: TextInput, ids: Sequence[int]) -> TextInput:
    """Returns the prompt with more tokens at its end."""
    return replace(prompt, ids=(*prompt.ids, *ids), spans=())


def _queries(request: Request, max_ids: int) -> Iterator[TokenQuery]:
    verb, prompt = request.verb, request.input
    if isinstance(verb, Read):
        yield from _named(prompt, verb.token_ids, max_ids)
        if verb.top_m:
            yield TokenQuery(prompt, top_m=verb.top_m)
    elif isinstance(verb, Score):
        children: dict[tuple[int, ...], dict[int, None]] = {}
        for path in verb.continuations:
            for depth, token in enumerate(path):
                children.setdefault(path[:depth], {})[token] = None
        for path, tokens in children.items():
            yield from _named(extended(prompt, path), tuple(tokens), max_ids)


def _named(prompt: TextInput, token_ids: Sequence[int], max_ids: int) -> Iterator[TokenQuery]:
    for begin in range(0, len(token_ids), max_ids):
        yield TokenQuery(prompt, tuple(token_ids[begin : begin + max_ids]))
