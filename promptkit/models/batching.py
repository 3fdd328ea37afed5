"""Plans which requests are computed together and which tokens they share: a pure function of the requests and settings.

Computation is reused at three levels. Across the run, a chain of shared prefixes (an instruction, then shared demonstrations)
is found from the token ids and computed once. Requests with the same prompt, such as one for label scores and one for hidden
states, are computed together. Within them, the continuations form a trie, so that the prompt is computed once and labels with
the same first tokens share their nodes. This module does not depend on tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypedDict

from promptkit.core.requests import Generate, Read, Request, Score
from promptkit.core.sequences import common_prefix_length

ROOT = -1
GENERATED_PER_COMPUTED = 16
"""Number of generated tokens that count as one computed token: their keys and values are stored, one is computed a step."""
MIN_SHARED = 8
"""Minimum length of a shared prefix in tokens; a shorter one costs more to store than it saves."""


Reads = tuple[tuple[tuple[int, int], ...], ...]
"""For each token of each continuation: (node that predicts it, token)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """The continuations of one request as a trie; only nodes that have children are computed."""

    tokens: tuple[int, ...]
    """The token of each node, parents before children."""
    parents: tuple[int, ...]
    """The index of each node's parent; ROOT is the prompt's last token."""
    depths: tuple[int, ...]
    """The number of tokens from the prompt's end to each node, from 1."""
    reads: Reads
    """The nodes from which each continuation is read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Requests that are computed in one forward pass."""

    requests: tuple[int, ...]
    """Indices into the list of requests."""
    reuse: int
    """Number of tokens of the shared prefix that every request of the batch starts with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The batches of a run, in the order in which they are computed."""

    prefix: tuple[int, ...]
    """The longest shared prefix; a batch reuses its first `Batch.reuse` tokens."""
    batches: tuple[Batch, ...]


class BatchBounds(TypedDict):
    """The limits of a batch, as keywords of `make_plan`."""

    batch_tokens: int
    batch_pairs: int


def make_plan(
    requests: Sequence[Request], *, batch_tokens: int, batch_pairs: int, share: bool, known: tuple[int, ...] = ()
) -> Plan:
    """Groups requests of similar lengths into batches; requests with the same prompt are in the same batch.

    A prompt that exceeds a limit by itself is a batch of its own. Requests to generate have separate batches. A request that
    reads a mean of hidden states reuses no prefix, because it needs the hidden states of the prefix.

    Args:
        requests: The requests of the run.
        batch_tokens: The maximum number of tokens that a batch computes.
        batch_pairs: The maximum number of query-key pairs of a batch.
        share: Whether common tokens are computed once: shared prefixes, and the prompts of several requests.
        known: A prefix that is computed already. It is used if all requests begin with it and share few tokens beyond it.
    """
    prefix, reuse = _reuse(requests, share=share)
    if share and known and len(prefix) < len(known) + MIN_SHARED and _all_begin_with(requests, known):
        prefix, reuse = known, [len(known)] * len(requests)
    prompts = _prompts(requests, reuse, share=share)
    order = sorted(
        prompts, key=lambda prompt: (prompt.generates, prompt.reuse, -prompt.size, prompt.ids, prompt.requests)
    )  # so that the plan does not depend on the order of the requests
    groups: list[list[_Prompt]] = []
    for prompt in order:
        group = groups[-1] if groups else []
        rows = [*group, prompt]
        fits = sum(row.size for row in rows) <= batch_tokens and len(rows) * rows[0].size ** 2 <= batch_pairs
        compatible = (prompt.generates, prompt.reuse) == (rows[0].generates, rows[0].reuse)
        if group and fits and compatible:
            group.append(prompt)
        else:
            groups.append([prompt])
    batches = (Batch(requests=tuple(i for row in rows for i in row.requests), reuse=rows[0].reuse) for rows in groups)
    return Plan(prefix=prefix[: max(reuse, default=0)], batches=tuple(batches))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prompt:
    """A prompt of a plan, with the requests for it that are computed together."""

    ids: tuple[int, ...]
    reuse: int
    """Number of tokens of the shared prefix that it reuses."""
    generates: bool
    """Whether a text is generated."""
    size: int
    """Number of tokens that are computed at once."""
    requests: tuple[int, ...]
    """Indices of the requests."""


def _prompts(requests: Sequence[Request], reuse: Sequence[int], *, share: bool) -> list[_Prompt]:
    """Groups requests by prompt; without `share`, and for generated texts, each request is a group of its own."""
    found: dict[tuple[object, ...], list[int]] = {}
    for index, request in enumerate(requests):
        together = share and not isinstance(request.verb, Generate)
        found.setdefault((request.text.ids, reuse[index], None if together else index), []).append(index)
    return [
        _Prompt(
            ids=requests[indices[0]].text.ids,
            reuse=reuse[indices[0]],
            generates=isinstance(requests[indices[0]].verb, Generate),
            size=_size([requests[index] for index in indices], reuse[indices[0]]),
            requests=tuple(indices),
        )
        for indices in found.values()
    ]


def unshared_tokens(request: Request) -> int:
    """Returns how many of the last tokens cannot be part of a shared prefix: one, or those that edits of last tokens change."""
    return max([1, *(edit.last for edit in request.interventions.edits)])


def _reuse(requests: Sequence[Request], *, share: bool) -> tuple[tuple[int, ...], list[int]]:
    """Returns the longest shared prefix, and how many of its tokens each request reuses."""
    spine, cuts = _shared_prefixes([_shareable_ids(request) for request in requests if share and not _reads_mean(request)])
    reuse = [0 if _reads_mean(request) else _longest_cut(_shareable_ids(request), spine, cuts) for request in requests]
    return spine, reuse


def _all_begin_with(requests: Sequence[Request], known: tuple[int, ...]) -> bool:
    """Returns whether all requests can reuse a prefix."""
    shareable = [() if _reads_mean(request) else _shareable_ids(request) for request in requests]
    return all(len(ids) > len(known) and ids[: len(known)] == known for ids in shareable)


def _shareable_ids(request: Request) -> tuple[int, ...]:
    """Returns the ids that can be shared, and the next one, which is always computed."""
    ids = request.text.ids
    return ids[: max(1, len(ids) + 1 - unshared_tokens(request))]


def _reads_mean(request: Request) -> bool:
    return isinstance(request.verb, Read) and request.verb.mean_from is not None


def _size(requests: Sequence[Request], reuse: int) -> int:
    """Returns how many tokens of requests with the same prompt are computed at once."""
    verb, unshared = requests[0].verb, len(requests[0].text.ids) - reuse
    if isinstance(verb, Generate):
        return -(-verb.n * (unshared + verb.max_tokens) // GENERATED_PER_COMPUTED)
    return unshared + len(tree_of(requests).tokens)


def tree_of(requests: Sequence[Request]) -> Tree:
    """Returns the trie of all continuations that requests with the same prompt score; empty for other verbs."""
    return tree(continuations_of(requests))


def continuations_of(requests: Sequence[Request]) -> tuple[tuple[int, ...], ...]:
    """Returns all continuations that requests with the same prompt score, without repetitions and in one order."""
    scored = {request.verb.continuations for request in requests if isinstance(request.verb, Score)}
    if len(scored) == 1:
        return next(iter(scored))
    return tuple(sorted({continuation for continuations in scored for continuation in continuations}))


@lru_cache(maxsize=4096)
def tree(continuations: tuple[tuple[int, ...], ...]) -> Tree:
    """Returns the trie of the continuations' proper prefixes."""
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
    """Returns the ids that prompts share, and at most two lengths of it that are worth computing once.

    A prefix of length d saves d tokens for each prompt that shares it. Every prompt keeps at least one token to compute.
    """
    spine, sharing = _majority_path(prompts)
    if not spine:
        return (), ()
    saved = [length * (count - 1) for length, count in enumerate(sharing, start=1)]
    longest = max(range(1, len(spine) + 1), key=lambda length: (saved[length - 1], length))
    beyond = sharing[longest - 1]
    shorter = max(range(1, longest + 1), key=lambda length: (length * (sharing[length - 1] - beyond), length))
    cuts = {cut for cut in (shorter, longest) if cut >= MIN_SHARED}
    return tuple(spine[:longest]), tuple(sorted(cuts))


def _majority_path(prompts: Sequence[tuple[int, ...]]) -> tuple[list[int], list[int]]:
    """Follows the branch that most prompts take: its ids, and for each of them the number of prompts that share it."""
    following = sorted(prompts)
    sharing: list[int] = []
    spine: list[int] = []
    while len(following) > 1:
        depth = len(spine)
        shortest = min(len(ids) for ids in following) - 1
        stop = max(depth, min(shortest, common_prefix_length(following[0], following[-1])))
        spine += following[0][depth:stop]
        sharing += [len(following)] * (stop - depth)
        branches: dict[int, list[tuple[int, ...]]] = {}
        for ids in following:
            if len(ids) > stop + 1:
                branches.setdefault(ids[stop], []).append(ids)
        following = max(branches.values(), key=len, default=[])
    return spine, sharing


def _longest_cut(ids: tuple[int, ...], spine: tuple[int, ...], cuts: tuple[int, ...]) -> int:
    usable = [cut for cut in cuts if cut < len(ids) and ids[:cut] == spine[:cut]]
    return max(usable, default=0)
