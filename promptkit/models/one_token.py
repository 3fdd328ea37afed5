"""Scoring by queries for a single next token, for engines that only generate.

A label of several tokens is a path in the trie of labels, and each node of the trie is one query. An engine with a prefix
cache reads the prompt that the queries share once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from promptkit.core.inputs import TextInput
from promptkit.core.requests import Output, Prepared, Read, ReadOutput, Request, Score, ScoreOutput

TokenLogprobs = Mapping[int, float]
"""Token id -> natural-log probability over the whole vocabulary."""


@dataclass(frozen=True, slots=True)
class TokenQuery:
    """Requests log-probabilities of the token after a prompt, either for named tokens or for the most likely ones."""

    prepared: Prepared
    token_ids: tuple[int, ...] = ()
    """The named tokens; empty for the most likely ones."""
    top_m: int = 0
    """How many of the most likely tokens; 0 for named tokens."""


def queries_of(requests: Sequence[Request], *, max_ids: int) -> list[TokenQuery]:
    """Returns the distinct queries that the requests need; each names at most `max_ids` tokens."""
    return list(dict.fromkeys(query for request in requests for query in _queries(request, max_ids)))


def output_of(request: Request, results: Mapping[TokenQuery, TokenLogprobs], *, max_ids: int) -> Output:
    """Returns the output of a request from the results of its queries."""
    verb, prepared = request.verb, request.prepared
    logprobs: dict[tuple[Prepared, int], float] = {}
    top: tuple[tuple[int, float], ...] = ()
    for query in _queries(request, max_ids):
        result = results[query]
        logprobs |= {(query.prepared, token): result[token] for token in query.token_ids}
        if query.top_m:
            top = tuple(sorted(result.items(), key=lambda pair: (-pair[1], pair[0]))[: query.top_m])
    if isinstance(verb, Read):
        return ReadOutput(logprobs=tuple(logprobs[prepared, token] for token in verb.token_ids), top=top)
    assert isinstance(verb, Score)
    return ScoreOutput(
        logprobs=tuple(
            tuple(logprobs[extended(prepared, path[:depth]), token] for depth, token in enumerate(path))
            for path in verb.continuations
        )
    )


def extended(prepared: Prepared, ids: Sequence[int]) -> Prepared:
    """Returns a copy with more tokens at the end of the prompt."""
    return replace(prepared, input=TextInput(ids=(*prepared.text.ids, *ids)))


def _queries(request: Request, max_ids: int) -> Iterator[TokenQuery]:
    verb, prepared = request.verb, request.prepared
    if isinstance(verb, Read):
        yield from _named(prepared, verb.token_ids, max_ids)
        if verb.top_m:
            yield TokenQuery(prepared, top_m=verb.top_m)
    elif isinstance(verb, Score):
        children: dict[tuple[int, ...], dict[int, None]] = {}
        for path in verb.continuations:
            for depth, token in enumerate(path):
                children.setdefault(path[:depth], {})[token] = None
        for path, tokens in children.items():
            yield from _named(extended(prepared, path), tuple(tokens), max_ids)


def _named(prepared: Prepared, token_ids: Sequence[int], max_ids: int) -> Iterator[TokenQuery]:
    for begin in range(0, len(token_ids), max_ids):
        yield TokenQuery(prepared, tuple(token_ids[begin : begin + max_ids]))
