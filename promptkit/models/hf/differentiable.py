"""Scores of certain requests as functions of what is learned: the forward that answers requests, with gradients.

What all prompts begin with before anything learned is computed once. Knows nothing of losses or of how parameters make rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor

from promptkit.core.errors import TrainingError
from promptkit.core.hashing import Hasher
from promptkit.core.inputs import Interventions
from promptkit.core.model import Precision
from promptkit.core.requests import Request
from promptkit.models.batching import MIN_SHARED, make_plan, tree_of, unshared_tokens
from promptkit.models.hf.checkpointing import checkpointing
from promptkit.models.hf.packed import PackedForward
from promptkit.models.hf.padded import PaddedForward

TOKENS_AT_ONCE = 8192
"""Of the vocabulary, those whose embeddings are held in float32."""
AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


class TorchScores:
    """Requests to score that all hold the same of what is learned."""

    def __init__(
        self,
        forward: PackedForward | PaddedForward,
        requests: Sequence[Request],
        *,
        batch_tokens: int,
        batch_pairs: int,
        checkpointing: bool,
        precision: Precision,
    ) -> None:
        """At most `batch_tokens` tokens and `batch_pairs` query-key pairs are computed at once."""
        if len({(each.input.vectors, each.input.prefixes, each.input.edits) for each in requests}) > 1:
            raise TrainingError(
                "Requests that are trained together must have the same learned vectors, prefixes and edits",
                code="mixed-interventions",
                hint="Train on each group of such requests separately",
            )
        self._forward, self._requests = forward, requests
        self._checkpointing, self._precision = checkpointing, precision
        self._bounds = {"batch_tokens": batch_tokens, "batch_pairs": batch_pairs}
        frozen = _frozen(requests) if forward.reuses else ()
        self._reuse = len(frozen) if len(frozen) >= MIN_SHARED else 0
        self._prefix = forward.prefix(frozen[: self._reuse])
        self._embedding: Any = forward.model.get_input_embeddings()
        self.device: torch.device = forward.model.device
        self.tokens = [len(each.input.ids) - self._reuse + len(tree_of(each).tokens) for each in requests]

    def batches(self, chosen: Sequence[int]) -> list[list[int]]:
        """The chosen requests in parts of like lengths, each as much as is computed at once."""
        plan = make_plan([self._requests[index] for index in chosen], share=False, **self._bounds)
        return [[chosen[place] for place in batch.requests] for batch in plan.batches]

    def scores(self, chosen: Sequence[int], interventions: Interventions[Tensor]) -> list[list[Tensor]]:
        """Of each chosen request, of each continuation, its tokens' log-probabilities."""
        with ExitStack() as stack:
            if self._checkpointing and torch.is_grad_enabled():
                stack.enter_context(checkpointing(self._forward.model))
            if self._precision != "no":
                stack.enter_context(torch.autocast(self.device.type, AUTOCAST[self._precision]))
            return self._forward.scores([self._requests[index] for index in chosen], self._reuse, self._prefix, interventions)

    def embed(self, ids: Sequence[int]) -> Tensor:
        """What the embedding module gives these tokens, (tokens, d_model)."""
        with torch.no_grad():
            rows: Tensor = self._embedding(torch.tensor(ids, device=self.device)).float()
        return rows

    def projected(self, vectors: Tensor) -> Tensor:
        """The inner product of each vector with each token's embedding, (rows, vocabulary). vectors: (rows, d_model)."""
        ids = torch.arange(self._embedding.num_embeddings, device=self.device)
        with torch.no_grad():
            return torch.cat([vectors @ self._embedding(part).float().T for part in torch.split(ids, TOKENS_AT_ONCE)], dim=1)

    def weights_hash(self) -> str:
        """Of every weight of the model, which is frozen."""
        hasher = Hasher()
        for name, weight in self._forward.model.state_dict().items():
            hasher.update(name)
            hasher.update(weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        return hasher.hexdigest()


def _frozen(requests: Sequence[Request]) -> tuple[int, ...]:
    """The ids that all prompts begin with, before anything that is learned; each keeps a token to be computed."""
    prompts, held = [request.input.ids for request in requests], requests[0].input
    if held.prefixes or any(edit.all_positions or edit.first for edit in held.edits):
        return ()
    first, last = min(prompts), max(prompts)
    length = 0
    room = min(map(len, prompts)) - unshared_tokens(requests[0])
    while length < room and first[length] == last[length] >= 0:
        length += 1
    return first[:length]
