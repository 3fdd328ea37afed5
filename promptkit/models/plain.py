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

from promptkit.models.attention import KeyValues
from promptkit.models.decoding import next_token
from promptkit.models.hidden import hidden_state
from promptkit.models.learned import embedded, table_of, vectors_of
from promptkit.models.writing import outputs_of, texts_of
from promptkit.types import Generate, Output, Read, ReadOutput, Request, Score, ScoreOutput, Tokenizer, Vectors


class PlainForward:
    """Answers requests one padded batch of rows at a time."""

    reuses = False

    def __init__(self, model: Any, *, batch_tokens: int) -> None:
        """`model` is a causal language model of transformers; rows are batched up to `batch_tokens` with padding."""
        self.model = model
        self._embedding = model.get_input_embeddings()
        self._batch_tokens = batch_tokens
        self.dtype: torch.dtype = model.dtype
        self._trims = "logits_to_keep" in inspect.signature(model.forward).parameters

    def prefix(self, ids: tuple[int, ...], vectors: Tensor | None = None) -> KeyValues:
        """Nothing is reused here."""
        return {}

    def embed(self, ids: Sequence[int]) -> Vectors:
        """The rows that the embedding gives these tokens."""
        return vectors_of(self._embedding(torch.tensor(ids, device=self.model.device)))

    def answer(self, requests: Sequence[Request], reuse: int, prefix: KeyValues) -> list[Output]:
        """Whole outputs of the requests; nothing is reused here."""
        vectors = table_of(requests, self.model.device)
        with torch.no_grad():
            return [self._answer(request, vectors) for request in requests if not isinstance(request.verb, Generate)]

    def _answer(self, request: Request, vectors: Tensor | None) -> Output:
        prompt, verb = request.input.ids, request.verb
        if isinstance(verb, Read):
            return self._read(prompt, verb, vectors)
        assert isinstance(verb, Score)
        return ScoreOutput(logprobs=tuple(tuple(row.tolist()) for row in self._scores(prompt, verb, vectors)))

    def write(
        self, requests: Sequence[Request], reuse: int, prefix: KeyValues, *, tokenizer: Tokenizer, ends: frozenset[int]
    ) -> list[Output]:
        """Texts one at a time; every step reads the whole text again."""
        texts, vectors = texts_of(requests), table_of(requests, self.model.device)
        for text in texts:
            prompt = requests[text.request].input.ids
            while text.generation is None:
                row = prompt + tuple(text.ids)
                with torch.no_grad():
                    logits, _ = self._forward([row], vectors, first=len(row) - 1)
                text.add(next_token(logits[0, -1].float(), text), tokenizer, ends)
        return [*outputs_of(texts, len(requests))]

    def scores(self, requests: Sequence[Request], reuse: int, prefix: KeyValues, vectors: Tensor) -> list[list[Tensor]]:
        """As `answer`, for requests to score whose learned vectors are these: differentiable in them, (rows, d_model)."""
        return [self._scores(r.input.ids, r.verb, vectors) for r in requests if isinstance(r.verb, Score)]

    def _scores(self, prompt: tuple[int, ...], verb: Score, vectors: Tensor | None) -> list[Tensor]:
        """Of each continuation, its tokens' log-probabilities."""
        width = len(prompt) + max(len(continuation) for continuation in verb.continuations) - 1
        at_once = max(1, self._batch_tokens // width)
        logprobs = []
        for begin in range(0, len(verb.continuations), at_once):
            group = verb.continuations[begin : begin + at_once]
            rows = [prompt + continuation[:-1] for continuation in group]
            logits, _ = self._forward(rows, vectors, first=len(prompt) - 1)
            for row, continuation in zip(logits, group, strict=True):
                scores = row[: len(continuation)].float().log_softmax(-1)
                logprobs.append(scores.gather(1, torch.tensor(continuation, device=row.device)[:, None])[:, 0])
        return logprobs

    def _read(self, prompt: tuple[int, ...], verb: Read, vectors: Tensor | None) -> ReadOutput:
        logits, hidden = self._forward([prompt], vectors, first=len(prompt) - 1, hidden=verb.hidden_layer is not None)
        scores = logits[0, -1].float().log_softmax(-1)
        best = scores.topk(verb.top_m)
        return ReadOutput(
            logprobs=tuple(scores[list(verb.token_ids)].tolist()),
            top=tuple(zip(best.indices.tolist(), best.values.tolist(), strict=True)),
            hidden=() if verb.hidden_layer is None else hidden_state(verb, hidden[verb.hidden_layer][0]),
        )

    def _forward(
        self, rows: Sequence[tuple[int, ...]], vectors: Tensor | None, *, first: int, hidden: bool = False
    ) -> tuple[Tensor, Any]:
        """Logits from position `first` on, shape (rows, width - first, vocabulary); rows are padded on the right."""
        width = max(len(row) for row in rows)
        ids = torch.zeros((len(rows), width), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = torch.tensor(row)
            mask[index, : len(row)] = 1
        device = self.model.device
        ids = ids.to(device)
        options = {"logits_to_keep": width - first} if self._trims else {}
        standing = {"input_ids": ids} if vectors is None else {"inputs_embeds": embedded(self._embedding, ids, vectors)}
        output = self.model(**standing, attention_mask=mask.to(device), use_cache=False, output_hidden_states=hidden, **options)
        return output.logits if self._trims else output.logits[:, first:], output.hidden_states if hidden else None
