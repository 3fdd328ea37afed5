"""Which requests are computed together and what they share: a pure function of the requests and the settings.

Two levels of reuse. One chain of prefixes shared across the run (instruction, then shared demonstrations), found from
the ids alone and computed once; and, within a request, one tree of its continuations, so that labels that begin alike
share their nodes and the prompt is read once for all of them. Knows nothing of tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from promptkit.core.requests import Generate, Read, Request, Score

ROOT = -1
HELD_PER_COMPUTED = 16
"""Tokens of a text being written that count as one: their keys and values are held, and one a step is computed."""
MIN_SHARED = 8
"""A shared prefix of fewer tokens costs more to keep apart than it saves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """The continuations of one request as a trie; only nodes that something follows are computed."""

    tokens: tuple[int, ...]
    """The token of each node, parents before children."""
    parents: tuple[int, ...]
    """The index of each node's parent; ROOT is the prompt's last token."""
    depths: tuple[int, ...]
    """How many tokens each node is behind the prompt, from 1."""
    reads: tuple[tuple[tuple[int, int], ...], ...]
    """For each continuation and token of it: (node that predicts it, token)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Requests computed in one forward."""

    requests: tuple[int, ...]
    """Indices into the request list."""
    reuse: int
    """How many tokens of the shared prefix they all begin with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A run's work."""

    prefix: tuple[int, ...]
    """The longest shared prefix; a batch reuses its first `Batch.reuse` tokens."""
    batches: tuple[Batch, ...]


def make_plan(requests: Sequence[Request], *, batch_tokens: int, batch_pairs: int, share: bool) -> Plan:
    """Batches of at most `batch_tokens` computed tokens and `batch_pairs` query-key pairs, of like lengths.

    A request that is over either bound alone is a batch of its own. Without `share` no prefix is reused, nor by a request
    that reads a mean, which needs the prefix's own hidden states. Requests to generate have batches of their own.
    """
    prompts = [request.input.ids for request in requests]
    spine, cuts = _shared_prefixes([_sharing(request) for request in requests if share and not _means(request)])
    reuse = [0 if _means(request) else _longest_cut(_sharing(request), spine, cuts) for request in requests]
    writes = [isinstance(request.verb, Generate) for request in requests]
    sizes = [_size(request, len(request.input.ids) - kept) for request, kept in zip(requests, reuse, strict=True)]
    order = sorted(range(len(requests)), key=lambda i: (writes[i], reuse[i], -sizes[i], prompts[i], i))
    batches: list[Batch] = []
    current: list[int] = []
    for index in order:
        rows = [*current, index]
        longest = sizes[rows[0]]
        fits = sum(sizes[i] for i in rows) <= batch_tokens and len(rows) * longest**2 <= batch_pairs
        alike = (writes[index], reuse[index]) == (writes[rows[0]], reuse[rows[0]])
        if current and not (fits and alike):
            batches.append(Batch(requests=tuple(current), reuse=reuse[current[0]]))
            current = []
        current.append(index)
    if current:
        batches.append(Batch(requests=tuple(current), reuse=reuse[current[0]]))
    return Plan(prefix=spine[: max(reuse, default=0)], batches=tuple(batches))


def unshared_tokens(request: Request) -> int:
    """How many of its last tokens no prefix may hold: one, or those whose hidden states are changed because they are last."""
    return max([1, *(edit.last for edit in request.input.edits)])


def _sharing(request: Request) -> tuple[int, ...]:
    """The ids that may be shared, and one more."""
    ids = request.input.ids
    return ids[: max(1, len(ids) + 1 - unshared_tokens(request))]


def _means(request: Request) -> bool:
    return isinstance(request.verb, Read) and request.verb.mean_from is not None


def _size(request: Request, own: int) -> int:
    """The tokens computed at once of a request with that many tokens of its own."""
    if isinstance(request.verb, Generate):
        return -(-request.verb.n * (own + request.verb.max_tokens) // HELD_PER_COMPUTED)
    return own + len(tree_of(request).tokens)


def tree_of(request: Request) -> Tree:
    """The tree of the continuations that the request scores; empty for another verb."""
    return tree(request.verb.continuations if isinstance(request.verb, Score) else ())


@lru_cache(maxsize=4096)
def tree(continuations: tuple[tuple[int, ...], ...]) -> Tree:
    """The trie of the continuations' proper prefixes."""
    node_of: dict[tuple[int, ...], int] = {(): ROOT}
    tokens: list[int] = []
    parents: list[int] = []
    depths: list[int] = []
    reads = []
    for continuation in continuations:
        read = []
        for depth, token in enumerate(continuation):
            path = continuation[:depth]
            if path not in node_of:
                node_of[path] = len(tokens)
                tokens.append(path[-1])
                parents.append(node_of[path[:-1]])
                depths.append(depth)
            read.append((node_of[path], token))
        reads.append(tuple(read))
    return Tree(tokens=tuple(tokens), parents=tuple(parents), depths=tuple(depths), reads=tuple(reads))


def _shared_prefixes(prompts: Sequence[tuple[int, ...]]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The chain: a spine of ids, and at most two lengths of it that are worth computing once.

    The spine follows, from the first token, the branch that most prompts take. A cut at length d saves d tokens for
    every prompt that agrees with the spine so far. Every prompt keeps a token of its own to be computed.
    """
    following = sorted(prompts)
    agreeing: list[int] = []
    spine: list[int] = []
    while len(following) > 1:
        depth = len(spine)
        room = min(len(ids) for ids in following) - 1
        stop = max(depth, min(room, _common_prefix(following[0], following[-1])))
        spine += following[0][depth:stop]
        agreeing += [len(following)] * (stop - depth)
        branches: dict[int, list[tuple[int, ...]]] = {}
        for ids in following:
            if len(ids) > stop + 1:
                branches.setdefault(ids[stop], []).append(ids)
        following = max(branches.values(), key=len, default=[])
    if not spine:
        return (), ()
    saved = [length * (count - 1) for length, count in enumerate(agreeing, start=1)]
    longest = max(range(1, len(spine) + 1), key=lambda length: (saved[length - 1], length))
    beyond = agreeing[longest - 1]
    shorter = max(range(1, longest + 1), key=lambda length: (length * (agreeing[length - 1] - beyond), length))
    cuts = {cut for cut in (shorter, longest) if cut >= MIN_SHARED}
    return tuple(spine[:longest]), tuple(sorted(cuts))


def _longest_cut(ids: tuple[int, ...], spine: tuple[int, ...], cuts: tuple[int, ...]) -> int:
    usable = [cut for cut in cuts if cut < len(ids) and ids[:cut] == spine[:cut]]
    return max(usable, default=0)


def _common_prefix(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """How far two sorted prompts agree, and with them all that are sorted between."""
    length = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        length += 1
    return length
