"""The packed forward: a batch of requests as one row of tokens over the run's shared prefix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

from promptkit.core.interventions import NO_INTERVENTIONS, Interventions
from promptkit.core.requests import Output, Read, ReadOutput, Request, Score, ScoreOutput
from promptkit.models.batching import ROOT, Reads, continuations_of, tree, tree_of
from promptkit.models.generation import Writing
from promptkit.models.hf.causal_lm import CausalLM
from promptkit.models.hf.decoding import Decoding, generate
from promptkit.models.hf.forward import CausalForward
from promptkit.models.hf.hidden_edits import edited
from promptkit.models.hf.kv_cache import KeyValues, extend
from promptkit.models.hf.layer_states import LayerStates
from promptkit.models.hf.lm_head import LMHead
from promptkit.models.hf.packed_row import PackedRow, pack
from promptkit.models.hf.pooling import hidden_state
from promptkit.models.hf.tensors import interventions_of


class PackedForward(CausalForward):
    """Answers requests with packed rows; see `promptkit.models.hf.attention`."""

    shares_prefixes = True

    def __init__(self, causal_lm: CausalLM, head: LMHead, *, batch_tokens: int) -> None:
        """The attention implementation of `causal_lm` must be set to `promptkit.models.hf.attention.ATTENTION`."""
        super().__init__(causal_lm, batch_tokens=batch_tokens)
        self._head = head
        self.windows: dict[int, int | None] = {}
        """The sliding window that each layer applied, for the check at load."""

    def prefill(self, ids: tuple[int, ...], interventions: Interventions[Tensor] = NO_INTERVENTIONS) -> KeyValues:
        """Computes the keys and values of a shared prefix, `batch_tokens` tokens at a time."""
        prefix: KeyValues = {}
        for begin in range(0, len(ids), self._batch_tokens):
            row = pack(
                [ids[begin : begin + self._batch_tokens]],
                [tree(())],
                prefix=prefix,
                reuse=begin,
                device=self.device,
                interventions=interventions,
                store=True,
                unfinished=True,
            )
            with torch.no_grad():
                self._hidden_states(row)
            prefix = extend(prefix, row.stored)
        return prefix

    def keys_values(self, ids: Sequence[int]) -> KeyValues:
        """Computes the keys and values of a text."""
        return self.prefill(tuple(ids))

    def answer(self, requests: Sequence[Request], reuse: int, prefix: KeyValues) -> list[Output]:
        """Returns the outputs of `Score` and `Read` requests."""
        reads = [request.verb for request in requests if isinstance(request.verb, Read)]
        needs_layers = any(read.hidden_layer is not None for read in reads)
        top_m = max((read.top_m for read in reads), default=0)
        with torch.no_grad():
            groups = _by_prompt(requests)
            grouped = [[requests[index] for index in group] for group in groups]
            batch = self._pack(grouped, reuse, prefix, interventions_of(requests, self.device))
            last, layers = self._hidden_states(batch.row, all_layers=needs_layers)
            logprobs, top, top_ids = self._logprobs(last, batch, top_m)
        answers = _Answers(
            batch=batch,
            logprobs=logprobs.tolist(),
            top=top.tolist(),
            top_ids=top_ids.tolist(),
            layers=layers,
            d_model=self.causal_lm.state_width,
        )
        outputs = {index: answers.output(number, requests[index]) for number, index in enumerate(chain.from_iterable(groups))}
        return [outputs[index] for index in range(len(requests))]

    def token_logprobs(
        self, requests: Sequence[Request], reuse: int, prefix: KeyValues, interventions: Interventions[Tensor]
    ) -> list[list[Tensor]]:
        """Returns the log-probabilities of each request's continuations; see `Forward.token_logprobs`."""
        batch = self._pack([[request] for request in requests], reuse, prefix, interventions)  # heads differ between requests
        last, _ = self._hidden_states(batch.row)
        logprobs, _, _ = self._logprobs(last, batch, 0)
        return [
            [logprobs[[line for line, _ in cells], [column for _, column in cells]] for cells in batch.continuations(number)]
            for number in range(len(requests))
        ]

    def generate(self, requests: Sequence[Request], reuse: int, prefix: KeyValues, *, writing: Writing) -> list[Output]:
        """Returns the outputs of `Generate` requests."""
        decoding = Decoding(
            hidden_states=lambda row: self._hidden_states(row)[0],
            head=self._head,
            prefix=prefix,
            reuse=reuse,
            interventions=interventions_of(requests, self.device),
            device=self.device,
            batch_tokens=self._batch_tokens,
        )
        with torch.no_grad():
            return [*generate(decoding, requests, writing)]

    def _pack(
        self, groups: Sequence[Sequence[Request]], reuse: int, prefix: KeyValues, interventions: Interventions[Tensor]
    ) -> _PackedRequests:
        """Packs groups of requests, each of which has one prompt that is computed once; they are numbered in this order."""
        row = pack(
            [group[0].text.ids[reuse:] for group in groups],
            [tree_of(group) for group in groups],
            prefix=prefix,
            reuse=reuse,
            device=self.device,
            interventions=interventions,
        )
        requests = [request for group in groups for request in group]
        numbers = [prompt for prompt, group in enumerate(groups) for _ in group]
        reads = [_reads(request, group) for group in groups for request in group]
        needed: dict[int, dict[int, None]] = {}
        for request, prompt, nodes in zip(requests, numbers, reads, strict=True):
            for index, tokens in _targets(request, nodes, prompt, row).items():
                needed.setdefault(index, {}).update(dict.fromkeys(tokens))
        targets = {index: tuple(tokens) for index, tokens in needed.items()}
        return _PackedRequests(
            row=row,
            prompts=numbers,
            reads=reads,
            targets=targets,
            lines={index: line for line, index in enumerate(targets)},
            cells={
                (index, token): (line, column)
                for line, (index, tokens) in enumerate(targets.items())
                for column, token in enumerate(tokens)
            },
        )

    def _hidden_states(self, row: PackedRow, *, all_layers: bool = False) -> tuple[Tensor, LayerStates | None]:
        """Computes `CausalLM.hidden_states` with the row's edits."""
        with edited(self.causal_lm, row.interventions.edits, row.positions[None], row.tokens_after[None]):
            states = self.causal_lm.hidden_states(row, all_layers=all_layers)
        self.windows |= row.windows
        return states

    def _logprobs(self, last: Tensor, batch: _PackedRequests, top_m: int) -> tuple[Tensor, Tensor, Tensor]:
        """Computes `LMHead.logprobs`, with a line for each entry of `batch.targets`, padded with token 0."""
        tokens = torch.zeros((len(batch.targets), max(map(len, batch.targets.values()), default=0)), dtype=torch.long)
        for line, ids in enumerate(batch.targets.values()):
            tokens[line, : len(ids)] = torch.tensor(ids, dtype=torch.long)
        states = last[torch.tensor([*batch.targets], device=self.device, dtype=torch.long)]
        return self._head.logprobs(states, tokens.to(self.device), top_m)


@dataclass(frozen=True, slots=True, kw_only=True)
class _PackedRequests:
    """Requests as one row, and which log-probabilities they need of it."""

    row: PackedRow
    prompts: Sequence[int]
    """The number of each request's prompt in the row; requests with the same prompt share it."""
    reads: Sequence[Reads]
    """For each request and each token of its continuations, the node of the tree that predicts it, and the token."""
    targets: dict[int, tuple[int, ...]]
    """Row index -> the tokens whose log-probabilities are needed there; empty if only the most likely ones are."""

    lines: dict[int, int]
    """Row index -> its line in the log-probabilities, which have one for each of the targets."""
    cells: dict[tuple[int, int], tuple[int, int]]
    """(Row index, token) -> line and column of its log-probability."""

    def continuations(self, request: int) -> Iterator[list[tuple[int, int]]]:
        """Yields, for each continuation of a request, the line and column of the log-probability of each of its tokens."""
        for read in self.reads[request]:
            yield [self.cells[self.row.index(self.prompts[request], node), token] for node, token in read]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answers:
    """The results of a forward pass for a batch of requests."""

    batch: _PackedRequests
    logprobs: list[list[float]]
    """A line for each of the batch's targets."""
    top: list[list[float]]
    """The log-probabilities of the most likely tokens, a line for each of the batch's targets."""
    top_ids: list[list[int]]
    """The ids of the most likely tokens."""
    layers: LayerStates | None
    """The hidden states of each layer, shape (1, T, d_model); None if no request reads them."""
    d_model: int
    """The width of the hidden states."""

    def output(self, number: int, request: Request) -> Output:
        """Returns the output of one request."""
        if isinstance(request.verb, Read):
            return self._read(self.batch.prompts[number], request.verb)
        cells = self.batch.continuations(number)
        return ScoreOutput(
            logprobs=tuple(
                tuple(self.logprobs[line][column] for line, column in cells_of_continuation) for cells_of_continuation in cells
            )
        )

    def _read(self, prompt: int, verb: Read) -> ReadOutput:
        logprobs: list[float] = []
        top: list[tuple[int, float]] = []
        index = self.batch.row.index(prompt, ROOT)
        line = self.batch.lines.get(index)
        if line is not None:
            logprobs = [self.logprobs[line][self.batch.cells[index, token][1]] for token in verb.token_ids]
            top = [*zip(self.top_ids[line], self.top[line], strict=True)][: verb.top_m]
        tokens = self.batch.row.prompt_slice(prompt)
        hidden = None
        if verb.hidden_layer is not None and self.layers is not None:
            hidden = hidden_state(verb, self.layers[verb.hidden_layer][..., tokens, :], self.d_model)
        return ReadOutput(logprobs=tuple(logprobs), top=tuple(top), hidden=hidden)


def _by_prompt(requests: Sequence[Request]) -> list[list[int]]:
    """Returns the indices of the requests of each prompt."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, request in enumerate(requests):
        groups.setdefault(request.text.ids, []).append(index)
    return [*groups.values()]


def _reads(request: Request, group: Sequence[Request]) -> Reads:
    """Returns the nodes and tokens of a request's continuations in the tree of all continuations of its group."""
    if not isinstance(request.verb, Score):
        return ()
    nodes = dict(zip(continuations_of(group), tree_of(group).reads, strict=True))
    return tuple(nodes[continuation] for continuation in request.verb.continuations)


def _targets(request: Request, reads: Reads, prompt: int, row: PackedRow) -> dict[int, tuple[int, ...]]:
    """Returns row index -> the tokens whose log-probabilities a request needs there."""
    if isinstance(request.verb, Read):
        needs_logprobs = bool(request.verb.token_ids) or request.verb.top_m > 0
        return {row.index(prompt, ROOT): request.verb.token_ids} if needs_logprobs else {}
    targets: dict[int, dict[int, None]] = {}
    for read in reads:
        for node, token in read:
            targets.setdefault(row.index(prompt, node), {})[token] = None
    return {index: tuple(tokens) for index, tokens in targets.items()}
