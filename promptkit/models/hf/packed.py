"""The packed forward: a batch of requests as one row of tokens over the run's shared prefix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from promptkit.core.arrays import Array
from promptkit.core.inputs import NO_INTERVENTIONS, Interventions
from promptkit.core.model import Tokenizer
from promptkit.core.requests import Output, Read, ReadOutput, Request, ScoreOutput
from promptkit.models.batching import ROOT, Tree, tree, tree_of
from promptkit.models.hf.attention import KeyValues, Layout, extend, lay_out
from promptkit.models.hf.decoding import write
from promptkit.models.hf.interventions import edited
from promptkit.models.hf.lm_head import Head
from promptkit.models.hf.pooling import hidden_state
from promptkit.models.hf.tensors import array_of, embedded, within_of


class PackedForward:
    """Answers requests by packed rows over one shared prefix."""

    reuses = True

    def __init__(self, model: Any, head: Head, *, batch_tokens: int) -> None:
        """`model` is a causal language model whose attention implementation is set to `ATTENTION`."""
        self.model = model
        self._decoder = model.get_decoder()
        self._embedding = model.get_input_embeddings()
        self._device = model.device
        self.dtype: torch.dtype = model.dtype
        self._head = head
        self._batch_tokens = batch_tokens
        self.windows: dict[int, int | None] = {}

    def prefix(self, ids: tuple[int, ...], interventions: Interventions[Tensor] = NO_INTERVENTIONS) -> KeyValues:
        """The keys and values of the shared prefix, `batch_tokens` tokens at a time; `within` as `Layout` has it."""
        prefix: KeyValues = {}
        for begin in range(0, len(ids), self._batch_tokens):
            layout = lay_out(
                [ids[begin : begin + self._batch_tokens]],
                [tree(())],
                prefix=prefix,
                reuse=begin,
                device=self._device,
                interventions=interventions,
                keep=True,
                unfinished=True,
            )
            with torch.no_grad():
                self._states(layout)
            prefix = extend(prefix, layout.kept)
        return prefix

    def embed(self, ids: Sequence[int]) -> Array:
        """The rows that the embedding gives these tokens."""
        return array_of(self._embedding(torch.tensor(ids, device=self._device)))

    def keys_values(self, ids: Sequence[int]) -> KeyValues:
        """What every layer holds of these tokens, by its number from 0."""
        return self.prefix(tuple(ids))

    def answer(self, requests: Sequence[Request], reuse: int, prefix: KeyValues) -> list[Output]:
        """Outputs of requests to score or read that all begin with the first `reuse` tokens that `prefix` was made of."""
        layers = {r.verb.hidden_layer for r in requests if isinstance(r.verb, Read) and r.verb.hidden_layer is not None}
        top_m = max((r.verb.top_m for r in requests if isinstance(r.verb, Read)), default=0)
        with torch.no_grad():
            row = self._row(requests, reuse, prefix, within_of(requests, self._device))
            last, hidden = self._states(row.layout, hidden=bool(layers))
            logprobs, best, best_ids = (x.tolist() for x in self._logprobs(last, row, top_m))
        outputs: list[Output] = []
        line = 0
        for prompt, (request, nodes, reads) in enumerate(zip(requests, row.trees, row.wanted, strict=True)):
            of_place = {
                place: dict(zip(wanted, logprobs[line + i], strict=False)) for i, (place, wanted) in enumerate(reads.items())
            }
            end = row.layout.index(prompt, ROOT)
            if isinstance(request.verb, Read):
                top = [*zip(best_ids[line], best[line], strict=True)] if reads else []
                own = slice(row.layout.starts[prompt], end + 1)
                outputs.append(_read(request.verb, of_place.get(end, {}), top, hidden, own))
            else:
                scored = (tuple(of_place[place][token] for place, token in read) for read in _places(row, prompt, nodes))
                outputs.append(ScoreOutput(logprobs=tuple(scored)))
            line += len(reads)
        return outputs

    def scores(
        self, requests: Sequence[Request], reuse: int, prefix: KeyValues, interventions: Interventions[Tensor]
    ) -> list[list[Tensor]]:
        """As `answer`, for requests to score with this in the place of what they hold: differentiable in its tensors."""
        row = self._row(requests, reuse, prefix, interventions)
        last, _ = self._states(row.layout)
        logprobs, _, _ = self._logprobs(last, row, 0)
        asked = [(place, tokens) for reads in row.wanted for place, tokens in reads.items()]
        at = {(place, token): (line, column) for line, (place, ids) in enumerate(asked) for column, token in enumerate(ids)}
        found = []
        for prompt, nodes in enumerate(row.trees):
            pairs = ([at[each] for each in read] for read in _places(row, prompt, nodes))
            found.append([logprobs[[line for line, _ in read], [column for _, column in read]] for read in pairs])
        return found

    def _row(self, requests: Sequence[Request], reuse: int, prefix: KeyValues, interventions: Interventions[Tensor]) -> _Row:
        """The requests as one row, and what is wanted of it."""
        trees = [tree_of(request) for request in requests]
        prompts = [request.input.ids[reuse:] for request in requests]
        layout = lay_out(prompts, trees, prefix=prefix, reuse=reuse, device=self._device, interventions=interventions)
        pairs = enumerate(zip(requests, trees, strict=True))
        return _Row(
            layout=layout, trees=trees, wanted=[_wanted(request, nodes, place, layout) for place, (request, nodes) in pairs]
        )

    def _logprobs(self, last: Tensor, row: _Row, top_m: int) -> tuple[Tensor, Tensor, Tensor]:
        """See `Head.logprobs`: a line for each wanted place of the row."""
        wanted = [(place, tokens) for reads in row.wanted for place, tokens in reads.items()]
        tokens = torch.zeros((len(wanted), max((len(ids) for _, ids in wanted), default=0)), dtype=torch.long)
        for line, (_, ids) in enumerate(wanted):
            tokens[line, : len(ids)] = torch.tensor(ids, dtype=torch.long)
        states = last[torch.tensor([place for place, _ in wanted], device=self._device, dtype=torch.long)]
        return self._head.logprobs(states, tokens.to(self._device), top_m)

    def write(
        self, requests: Sequence[Request], reuse: int, prefix: KeyValues, *, tokenizer: Tokenizer, ends: frozenset[int]
    ) -> list[Output]:
        """As `answer`, for requests to generate; a text ends at any token of `ends`."""
        with torch.no_grad():
            return [
                *write(
                    lambda layout: self._states(layout)[0],
                    self._head,
                    requests,
                    reuse,
                    prefix,
                    tokenizer=tokenizer,
                    ends=ends,
                    batch_tokens=self._batch_tokens,
                    device=self._device,
                )
            ]

    def _states(self, layout: Layout, *, hidden: bool = False) -> tuple[Tensor, Any]:
        """Last hidden states, shape (T, d_model), and those of every layer if asked for."""
        standing = (
            {"input_ids": layout.ids[None]}
            if layout.interventions.vectors is None
            else {"inputs_embeds": embedded(self._embedding, layout.ids, layout.interventions.vectors)[None]}
        )
        positions = layout.before + layout.positions[None]
        with edited(self._decoder, layout.interventions.edits, layout.positions[None], layout.behind[None]):
            output = self._decoder(
                **standing, position_ids=positions, use_cache=False, output_hidden_states=hidden, packed=layout
            )
        self.windows |= layout.windows
        return output.last_hidden_state[0], output.hidden_states if hidden else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """Requests as one row."""

    layout: Layout
    trees: Sequence[Tree]
    """Of each request."""
    wanted: Sequence[dict[int, tuple[int, ...]]]
    """Of each request: place in the row -> the tokens whose log-probabilities are wanted there."""


def _places(row: _Row, prompt: int, nodes: Tree) -> Iterator[list[tuple[int, int]]]:
    """Of each continuation of a prompt: the place that predicts each token, and the token."""
    for read in nodes.reads:
        yield [(row.layout.index(prompt, node), token) for node, token in read]


def _wanted(request: Request, nodes: Tree, prompt: int, layout: Layout) -> dict[int, tuple[int, ...]]:
    """Place in the row -> the tokens whose log-probabilities are wanted there."""
    if isinstance(request.verb, Read):
        heard = bool(request.verb.token_ids) or request.verb.top_m > 0
        return {layout.index(prompt, ROOT): request.verb.token_ids} if heard else {}
    wanted: dict[int, dict[int, None]] = {}
    for read in nodes.reads:
        for node, token in read:
            wanted.setdefault(layout.index(prompt, node), {})[token] = None
    return {place: tuple(tokens) for place, tokens in wanted.items()}


def _read(verb: Read, logprobs: dict[int, float], top: list[tuple[int, float]], hidden: Any, own: slice) -> ReadOutput:
    return ReadOutput(
        logprobs=tuple(logprobs[token] for token in verb.token_ids),
        top=tuple(top[: verb.top_m]),
        hidden=None if verb.hidden_layer is None else hidden_state(verb, hidden[verb.hidden_layer][0, own]),
    )
