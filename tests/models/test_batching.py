"""Tests of the batch plan and of the tree of continuations."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from promptkit.core.inputs import TextInput
from promptkit.core.requests import Read, Request, Score
from promptkit.models.batching import ROOT, continuations_of, make_plan, tree, tree_of

ids = st.lists(st.integers(0, 5), min_size=1, max_size=30).map(tuple)
words = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=4).map(tuple), min_size=1, max_size=5).map(tuple)


def requests_of(prompts: list[tuple[int, ...]]) -> list[Request]:
    return [Request(input=TextInput(ids=prompt), verb=Read(top_m=1)) for prompt in prompts]


@given(st.lists(ids, max_size=30), st.integers(1, 60), st.booleans())
def test_every_request_is_in_one_batch_and_starts_with_the_prefix_that_it_reuses(
    prompts: list[tuple[int, ...]], budget: int, share: bool
) -> None:
    plan = make_plan(requests_of(prompts), batch_tokens=budget, batch_pairs=10**6, share=share)
    assert sorted(i for batch in plan.batches for i in batch.requests) == list(range(len(prompts)))
    for batch in plan.batches:
        together = [prompts[i] for i in batch.requests]
        computed = [len(prompt) - batch.reuse for prompt in (dict.fromkeys(together) if share else together)]
        assert all(prompts[i][: batch.reuse] == plan.prefix[: batch.reuse] for i in batch.requests)
        assert min(computed) >= 1
        assert len(computed) == 1 or sum(computed) <= budget
        assert share or batch.reuse == 0


@given(st.lists(ids, min_size=2, max_size=20), st.randoms(use_true_random=False))
def test_the_plan_does_not_depend_on_the_order_of_the_requests(prompts: list[tuple[int, ...]], shuffle: random.Random) -> None:
    def reuse_of(prompts: list[tuple[int, ...]]) -> list[tuple[int, list[tuple[int, ...]]]]:
        plan = make_plan(requests_of(prompts), batch_tokens=40, batch_pairs=10**6, share=True)
        return [(batch.reuse, [prompts[i] for i in batch.requests]) for batch in plan.batches]

    shuffled = prompts[:]
    shuffle.shuffle(shuffled)
    assert reuse_of(prompts) == reuse_of(shuffled)


def test_shared_demonstrations_are_reused_and_an_item_with_fewer_of_them_still_shares_the_instruction() -> None:
    instruction, demonstrations = tuple(range(100, 120)), tuple(range(200, 260))
    prompts = [instruction + demonstrations + (i, i, i) for i in range(1, 11)]
    prompts.append(instruction + demonstrations[:30] + (7, 8, 9))
    plan = make_plan(requests_of(prompts), batch_tokens=1000, batch_pairs=10**6, share=True)
    reuse = {i: batch.reuse for batch in plan.batches for i in batch.requests}
    assert plan.prefix == instruction + demonstrations
    assert {reuse[i] for i in range(10)} == {80}
    assert reuse[10] == 50


def test_different_demonstrations_for_each_item_share_the_instruction() -> None:
    draw = random.Random(0)
    instruction = tuple(range(100, 120))
    prompts = [instruction + tuple(draw.randrange(10**6) for _ in range(50)) for _ in range(8)]
    plan = make_plan(requests_of(prompts), batch_tokens=1000, batch_pairs=10**6, share=True)
    assert plan.prefix == instruction
    assert {batch.reuse for batch in plan.batches} == {20}


def test_a_request_that_reads_a_mean_reuses_no_prefix() -> None:
    prompts = [(*range(100, 140), i, i) for i in range(1, 7)]
    requests = requests_of(prompts)
    requests[0] = requests[3] = Request(input=requests[0].input, verb=Read(hidden_layer=1, mean_from=1))
    plan = make_plan(requests, batch_tokens=1000, batch_pairs=10**6, share=True)
    assert {i: batch.reuse for batch in plan.batches for i in batch.requests} == {0: 0, 3: 0, 1: 40, 2: 40, 4: 40, 5: 40}


@given(words)
def test_the_tree_contains_every_continuation(continuations: tuple[tuple[int, ...], ...]) -> None:
    nodes = tree(continuations)

    def path(node: int) -> tuple[int, ...]:
        return () if node == ROOT else (*path(nodes.parents[node]), nodes.tokens[node])

    for continuation, read in zip(continuations, nodes.reads, strict=True):
        assert [(path(node), token) for node, token in read] == [
            (continuation[:depth], token) for depth, token in enumerate(continuation)
        ]
    assert len({path(node) for node in range(len(nodes.tokens))}) == len(nodes.tokens)
    assert all(len(path(node)) == depth for node, depth in enumerate(nodes.depths))


def test_labels_with_the_same_first_tokens_share_nodes() -> None:
    nodes = tree(((1, 2, 3), (1, 2, 4), (1, 5), (6,)))
    assert nodes.tokens == (1, 2)


@given(words)
def test_the_tree_has_no_more_nodes_than_the_labels_have_tokens_before_their_last(
    continuations: tuple[tuple[int, ...], ...],
) -> None:
    request = Request(input=TextInput(ids=(1,)), verb=Score(continuations=continuations))
    assert isinstance(request.verb, Score)
    assert len(tree(request.verb.continuations).tokens) <= sum(len(c) - 1 for c in continuations)


VERBS = (Read(top_m=1), Read(token_ids=(1,)), Score(continuations=((1,), (2, 3))), Score(continuations=((2, 3), (2, 4))))


@given(st.lists(st.tuples(ids, st.sampled_from(VERBS)), min_size=1, max_size=20), st.integers(1, 60))
def test_requests_with_the_same_prompt_are_in_the_same_batch(
    pairs: list[tuple[tuple[int, ...], Read | Score]], budget: int
) -> None:
    requests = [Request(input=TextInput(ids=prompt), verb=verb) for prompt, verb in pairs]
    plan = make_plan(requests, batch_tokens=budget, batch_pairs=10**6, share=True)
    batch_of = {i: number for number, batch in enumerate(plan.batches) for i in batch.requests}
    assert sorted(batch_of) == list(range(len(pairs)))
    assert all(
        batch_of[i] == batch_of[j] for i, first in enumerate(pairs) for j, other in enumerate(pairs) if first[0] == other[0]
    )
    for batch in plan.batches:
        by_prompt = {pairs[i][0]: [requests[j] for j in batch.requests if pairs[j][0] == pairs[i][0]] for i in batch.requests}
        sizes = [len(prompt) - batch.reuse + len(tree_of(found).tokens) for prompt, found in by_prompt.items()]
        assert len(sizes) == 1 or sum(sizes) <= budget


@given(words, words)
def test_the_continuations_of_several_requests_are_each_counted_once(
    first: tuple[tuple[int, ...], ...], other: tuple[tuple[int, ...], ...]
) -> None:
    requests = [Request(input=TextInput(ids=(1,)), verb=Score(continuations=continuations)) for continuations in (first, other)]
    joint = continuations_of([*requests, Request(input=TextInput(ids=(1,)), verb=Read(top_m=1))])
    assert joint == (first if first == other else tuple(sorted({*first, *other})))
    assert continuations_of(requests[::-1]) == joint
