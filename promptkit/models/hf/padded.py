"""The plain forward: a padded row a continuation, the model's own attention, nothing reused.

Right for every causal model of transformers, recurrent ones included, and slow. It serves the models that the packed
forward cannot, and it is what the packed forward is checked against when a model loads.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from promptkit.core.arrays import Array
from promptkit.core.inputs import NO_INTERVENTIONS, Interventions, KVPrefix
from promptkit.core.model import Tokenizer
from promptkit.core.requests import Generate, Output, Read, ReadOutput, Request, Score, ScoreOutput
from promptkit.models.generation import outputs_of, texts_of
from promptkit.models.hf.attention import KeyValues
from promptkit.models.hf.decoding import next_token
from promptkit.models.hf.interventions import edited
from promptkit.models.hf.pooling import hidden_state
from promptkit.models.hf.tensors import array_of, embedded, within_of


class PaddedForward:
    """Answers requests one padded batch of rows at a time."""

    reuses = False

    def __init__(self, model: Any, *, batch_tokens: int) -> None:
        """`model` is a causal language model of transformers; rows are batched up to `batch_tokens` with padding."""
        self.model = model
        self._embedding = model.get_input_embeddings()
        self._batch_tokens = batch_tokens
        self.dtype: torch.dtype = model.dtype
        known = inspect.signature(model.forward).parameters
        self._trims = "logits_to_keep" in known
        self._past = "cache" if "cache" in known else "past_key_values"  # which is what it was before transformers 5.24

    def prefix(self, ids: tuple[int, ...], interventions: Interventions[Tensor] = NO_INTERVENTIONS) -> KeyValues:
        """Nothing is reused here."""
        return {}

    def embed(self, ids: Sequence[int]) -> Array:
        """The rows that the embedding gives these tokens."""
        return array_of(self._embedding(torch.tensor(ids, device=self.model.device)))

    def keys_values(self, ids: Sequence[int]) -> KeyValues:
        """What every layer holds of these tokens, by its number from 0."""
        from transformers import DynamicCache

        cache: Any = DynamicCache()
        with torch.no_grad():
            self.model(torch.tensor([ids], device=self.model.device), use_cache=True, **{self._past: cache})
        return {number: (layer.keys[0], layer.values[0]) for number, layer in enumerate(cache.layers)}

    def answer(self, requests: Sequence[Request], reuse: int, prefix: KeyValues) -> list[Output]:
        """Whole outputs of the requests; nothing is reused here."""
        interventions = within_of(requests, self.model.device)
        with torch.no_grad():
            return [self._answer(request, interventions) for request in requests if not isinstance(request.verb, Generate)]

    def _answer(self, request: Request, interventions: Interventions[Tensor]) -> Output:
        prompt, verb = request.input.ids, request.verb
        if isinstance(verb, Read):
            return self._read(prompt, verb, interventions)
        assert isinstance(verb, Score)
        return ScoreOutput(logprobs=tuple(tuple(row.tolist()) for row in self._scores(prompt, verb, interventions)))

    def write(
        self, requests: Sequence[Request], reuse: int, prefix: KeyValues, *, tokenizer: Tokenizer, ends: frozenset[int]
    ) -> list[Output]:
        """Texts one at a time; every step reads the whole text again."""
        texts, interventions = texts_of(requests), within_of(requests, self.model.device)
        for text in texts:
            prompt = requests[text.request].input.ids
            while text.generation is None:
                row = prompt + tuple(text.ids)
                with torch.no_grad():
                    logits, _ = self._forward([row], interventions, prompt=len(prompt), first=len(row) - 1)
                text.add(next_token(logits[0, -1].float(), text), tokenizer, ends)
        return [*outputs_of(texts, len(requests))]

    def scores(
        self, requests: Sequence[Request], reuse: int, prefix: KeyValues, interventions: Interventions[Tensor]
    ) -> list[list[Tensor]]:
        """As `answer`, for requests to score with this in the place of what they hold: differentiable in its tensors."""
        return [self._scores(r.input.ids, r.verb, interventions) for r in requests if isinstance(r.verb, Score)]

    def _scores(self, prompt: tuple[int, ...], verb: Score, interventions: Interventions[Tensor]) -> list[Tensor]:
        """Of each continuation, its tokens' log-probabilities."""
        width = len(prompt) + max(len(continuation) for continuation in verb.continuations) - 1
        at_once = max(1, self._batch_tokens // width)
        logprobs = []
        for begin in range(0, len(verb.continuations), at_once):
            group = verb.continuations[begin : begin + at_once]
            rows = [prompt + continuation[:-1] for continuation in group]
            logits, _ = self._forward(rows, interventions, prompt=len(prompt), first=len(prompt) - 1)
            for row, continuation in zip(logits, group, strict=True):
                scores = row[: len(continuation)].float().log_softmax(-1)
                logprobs.append(scores.gather(1, torch.tensor(continuation, device=row.device)[:, None])[:, 0])
        return logprobs

    def _read(self, prompt: tuple[int, ...], verb: Read, interventions: Interventions[Tensor]) -> ReadOutput:
        wants, length = verb.hidden_layer is not None, len(prompt)
        logits, hidden = self._forward([prompt], interventions, prompt=length, first=length - 1, hidden=wants)
        scores = logits[0, -1].float().log_softmax(-1)
        best = scores.topk(verb.top_m)
        return ReadOutput(
            logprobs=tuple(scores[list(verb.token_ids)].tolist()),
            top=tuple(zip(best.indices.tolist(), best.values.tolist(), strict=True)),
            hidden=None if verb.hidden_layer is None else hidden_state(verb, hidden[verb.hidden_layer][0]),
        )

    def _forward(
        self,
        rows: Sequence[tuple[int, ...]],
        interventions: Interventions[Tensor],
        *,
        prompt: int,
        first: int,
        hidden: bool = False,
    ) -> tuple[Tensor, Any]:
        """Logits from position `first` on, shape (rows, width - first, vocabulary); rows are padded on the right.

        The first `prompt` tokens of every row are its prompt's.
        """
        width = max(len(row) for row in rows)
        ids = torch.zeros((len(rows), width), dtype=torch.long)
        before = sum(prefix.length for prefix in interventions.prefixes)
        mask = torch.zeros((len(rows), before + width), dtype=torch.long)
        mask[:, :before] = 1
        for index, row in enumerate(rows):
            ids[index, : len(row)] = torch.tensor(row)
            mask[index, before : before + len(row)] = 1
        device = self.model.device
        ids = ids.to(device)
        options = {"logits_to_keep": width - first} if self._trims else {}
        learned = interventions.vectors
        standing = {"input_ids": ids} if learned is None else {"inputs_embeds": embedded(self._embedding, ids, learned)}
        past: dict[str, Any] = {"use_cache": bool(interventions.prefixes)}
        if interventions.prefixes:
            past[self._past] = _held(interventions.prefixes, rows=len(rows), dtype=self.dtype)
        positions = torch.arange(width, device=device).expand(len(rows), -1)
        with edited(self.model, interventions.edits, positions, prompt - 1 - positions):
            output = self.model(**standing, **past, attention_mask=mask.to(device), output_hidden_states=hidden, **options)
        return output.logits if self._trims else output.logits[:, first:], output.hidden_states if hidden else None


def _held(prefixes: Sequence[KVPrefix[Tensor]], *, rows: int, dtype: torch.dtype) -> Any:
    """The prefixes as transformers holds keys and values, the same for every row.

    A forward adds nothing to them, so that each of its layers may be computed again.
    """
    from transformers import DynamicCache

    cache: Any = DynamicCache()
    for prefix in prefixes:
        for layer, *pair in zip(prefix.layers, prefix.keys, prefix.values, strict=True):
            keys, values = (x.to(dtype).expand(rows, *x.shape) for x in pair)
            cache.update(keys, values, layer - 1)

    def followed(keys: Tensor, values: Tensor, layer: int, *_: object, **__: object) -> tuple[Tensor, Tensor]:
        held = cache.layers[layer]
        return torch.cat([held.keys, keys], dim=-2), torch.cat([held.values, values], dim=-2)

    cache.update = followed
    return cache
