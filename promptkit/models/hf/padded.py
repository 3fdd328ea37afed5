"""The padded forward: one padded row for each continuation, with the model's own attention and no reuse.

Correct for every causal model of transformers, recurrent ones included, but slow. It serves the models that the packed forward
does not support, and is the reference that the packed forward is compared with when a model loads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from promptkit.core.interventions import Interventions
from promptkit.core.requests import Generate, Output, Read, ReadOutput, Request, Score, ScoreOutput
from promptkit.models.generation import Writing, outputs_of, texts_of
from promptkit.models.hf.decoding import next_token
from promptkit.models.hf.forward import CausalForward
from promptkit.models.hf.hidden_edits import edited
from promptkit.models.hf.kv_cache import KeyValues
from promptkit.models.hf.layer_states import LayerStates
from promptkit.models.hf.pooling import read_output
from promptkit.models.hf.tensors import interventions_of


class PaddedForward(CausalForward):
    """Answers requests with padded rows."""

    shares_prefixes = False

    def keys_values(self, ids: Sequence[int]) -> KeyValues:
        """Computes the keys and values of a text."""
        return self.causal_lm.keys_values(ids)

    def answer(self, requests: Sequence[Request], reuse: int, prefix: KeyValues) -> list[Output]:
        """Returns the outputs of `Score` and `Read` requests."""
        interventions = interventions_of(requests, self.device)
        with torch.no_grad():
            return [self._answer(request, interventions) for request in requests if not isinstance(request.verb, Generate)]

    def _answer(self, request: Request, interventions: Interventions[Tensor]) -> Output:
        prompt, verb = request.text.ids, request.verb
        if isinstance(verb, Read):
            return self._read(prompt, verb, interventions)
        assert isinstance(verb, Score)
        return ScoreOutput(logprobs=tuple(tuple(row.tolist()) for row in self._score(prompt, verb, interventions)))

    def generate(self, requests: Sequence[Request], reuse: int, prefix: KeyValues, *, writing: Writing) -> list[Output]:
        """Generates one text at a time; every step computes the whole text again."""
        texts, interventions = texts_of(requests, writing.constrain), interventions_of(requests, self.device)
        for text in texts:
            prompt = requests[text.request].text.ids
            while text.generation is None:
                row = prompt + tuple(text.ids)
                with torch.no_grad():
                    logits, _ = self._logits([row], interventions, prompt_length=len(prompt), first=len(row) - 1)
                text.add(next_token(logits[0, -1].float(), text), writing)
        return [*outputs_of(texts, len(requests))]

    def token_logprobs(
        self, requests: Sequence[Request], reuse: int, prefix: KeyValues, interventions: Interventions[Tensor]
    ) -> list[list[Tensor]]:
        """Returns the log-probabilities of each request's continuations; see `Forward.token_logprobs`."""
        return [self._score(r.text.ids, r.verb, interventions) for r in requests if isinstance(r.verb, Score)]

    def _score(self, prompt: tuple[int, ...], verb: Score, interventions: Interventions[Tensor]) -> list[Tensor]:
        """Returns the log-probabilities of each continuation's tokens."""
        width = len(prompt) + max(len(continuation) for continuation in verb.continuations) - 1
        rows_at_once = max(1, self._batch_tokens // width)
        logprobs: dict[int, Tensor] = {}
        for group in self._groups(verb.continuations, rows_at_once):
            rows = [prompt + verb.continuations[index][:-1] for index in group]
            logits, _ = self._logits(rows, interventions, prompt_length=len(prompt), first=len(prompt) - 1)
            for row, index in zip(logits, group, strict=True):
                continuation = verb.continuations[index]
                scores = row[: len(continuation)].float().log_softmax(-1)
                logprobs[index] = scores.gather(1, torch.tensor(continuation, device=row.device)[:, None])[:, 0]
        return [logprobs[index] for index in range(len(verb.continuations))]

    def _groups(self, continuations: Sequence[tuple[int, ...]], rows_at_once: int) -> Iterator[Sequence[int]]:
        """Yields the indices of continuations that are computed together: of one length, if the model depends on it."""
        by_length: dict[int, list[int]] = {}
        for index, continuation in enumerate(continuations):
            by_length.setdefault(len(continuation) if self.causal_lm.depends_on_length else 0, []).append(index)
        for indices in by_length.values():
            for begin in range(0, len(indices), rows_at_once):
                yield indices[begin : begin + rows_at_once]

    def _read(self, prompt: tuple[int, ...], verb: Read, interventions: Interventions[Tensor]) -> ReadOutput:
        length = len(prompt)
        logits, layers = self._logits(
            [prompt], interventions, prompt_length=length, first=length - 1, all_layers=verb.hidden_layer is not None
        )
        states = None if verb.hidden_layer is None or layers is None else layers[verb.hidden_layer]
        return read_output(verb, logits[0, -1].float().log_softmax(-1), states, self.causal_lm.state_width)

    def _logits(
        self,
        rows: Sequence[tuple[int, ...]],
        interventions: Interventions[Tensor],
        *,
        prompt_length: int,
        first: int,
        all_layers: bool = False,
    ) -> tuple[Tensor, LayerStates | None]:
        """Pads rows on the right and runs them through the model, with edits; see `CausalLM.logits`.

        The first `prompt_length` tokens of every row are its prompt.
        """
        learned_tokens = sum(prefix.length for prefix in interventions.prefixes)
        ids, mask = _padded(rows, learned_tokens)
        positions = torch.arange(ids.shape[1], device=self.device).expand(len(rows), -1)
        with edited(self.causal_lm, interventions.edits, positions, prompt_length - 1 - positions):
            return self.causal_lm.logits(
                ids.to(self.device), mask.to(self.device), interventions, first=first, all_layers=all_layers
            )


def _padded(rows: Sequence[tuple[int, ...]], learned_tokens: int) -> tuple[Tensor, Tensor]:
    """Returns token ids, padded with 0, (rows, width); and the mask of what is not padding, (rows, learned tokens + width)."""
    width = max(len(row) for row in rows)
    ids = torch.zeros((len(rows), width), dtype=torch.long)
    mask = torch.zeros((len(rows), learned_tokens + width), dtype=torch.long)
    mask[:, :learned_tokens] = 1
    for index, row in enumerate(rows):
        ids[index, : len(row)] = torch.tensor(row)
        mask[index, learned_tokens : learned_tokens + len(row)] = 1
    return ids, mask
